"""What a pattern of files says: where it leads, and which of the files that it matches it asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from pkb.errors import SettingError

HALF_WRITTEN = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".filepart", ".swp", ".bak", ".crc", "~")
EXPERIMENTS = (".yaml", ".yml")  # they lie beside the log that they describe


def is_remote(pattern: str) -> bool:
    """Whether it names a file system, such as s3://bucket/logs/*.parquet."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", pattern) is not None


def refuse_credentials(pattern: str) -> None:
    """SettingError if the address of a file system holds a name or a password; settings are written down."""
    scheme, _, rest = pattern.partition("://")
    if "@" in rest.partition("/")[0] or re.search(r"(?i)[?&][^=&]*(key|secret|token|password)[^=&]*=", rest):
        raise SettingError(
            f"files={scheme}://...: holds credentials; put them into the environment, such as AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY"
        )


def out_of_sight(below: Sequence[str], asked: Sequence[str]) -> bool:
    """Whether wildcards alone lead to a file that is hidden or half written; a pattern may ask for it by its name.

    Both are paths in parts, of the file and of the pattern.
    """
    for part in below:
        hidden = (part[0] == "." and part != "..") or (part[0] == "_" and "=" not in part)  # Spark's rule
        if hidden and not any(part == name or (name[0] == part[0] and fnmatchcase(part, name)) for name in asked):
            return True
    endings = [ending for ending in (*HALF_WRITTEN, *EXPERIMENTS) if below[-1].endswith(ending)]
    return bool(endings) and not asked[-1].endswith(tuple(endings))
