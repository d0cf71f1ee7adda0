"""Which files are the log: those of certain names, or those that a pattern matches.

What a pattern matches but is hidden, half written, or a log or run of our own is none of them.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path

from pkb.errors import DataError
from simulator.stream.addresses import is_remote, out_of_sight
from simulator.stream.packed import PACKED
from simulator.stream.remote import FETCHED, fetched
from simulator.stream.settings import StreamSettings

MOST_TOLD = 5  # names in a message


def named_files(root: str, names: Sequence[str]) -> tuple[Path, ...]:
    """The files of these names in `root`, or none of them.

    DataError if some are there and one is not, or if one is not but a packed file is.
    """
    files = tuple(Path(root) / name for name in names) if root else ()
    absent = [file for file in files if not file.is_file()]
    if not absent:
        return files
    if packed := sorted(file.name for file in Path(root).glob("*") if file.name.endswith(PACKED)):
        raise DataError(f"{absent[0]}: no such file; packed files are not read, unpack {', '.join(packed)} there")
    if len(absent) == len(files):
        return ()
    raise DataError(f"{absent[0]}: no such file; this source is {', '.join(names)}")


def optional_file(root: str, name: str) -> tuple[Path, ...]:
    """The file of this name in `root`, or nothing; DataError if something else has the name."""
    file = Path(root) / name
    if not file.exists() and not file.is_symlink():
        return ()
    if not file.is_file():
        raise DataError(f"{file}: is no file, and no link to one; put the file there, or take this away")
    return (file,)


def numbered_files(root: str, pattern: str) -> tuple[Path, ...]:
    """The files in `root` of this name with wildcards, sorted; DataError if one is a link to nothing."""
    found = sorted(Path(root).glob(pattern)) if root else []
    for file in found:
        _check_link(file)
    return tuple(file for file in found if file.is_file())


def matching_files(stream: StreamSettings) -> tuple[Path, ...]:
    """The files that `stream.table.files` matches, each once, whatever links lead to it: pattern by pattern, sorted.

    DataError if one is a link to nothing, if one of several patterns matches nothing, or if a file is of two domains.
    """
    return tuple(file for file, _ in _found(stream))


def domains_of(stream: StreamSettings) -> dict[Path, str]:
    """The domain of each file; of none where `stream.table.files` names no domains."""
    return {file: domain for file, domain in _found(stream) if domain}


def _found(stream: StreamSettings) -> list[tuple[Path, str]]:
    """The files and their domains."""
    found: dict[tuple[int, int], tuple[Path, str]] = {}
    several = len(stream.table.patterns) > 1
    for domain, patterns in stream.table.by_domain.items():
        for pattern in patterns:
            files = fetched(pattern, Path(stream.data)) if is_remote(pattern) else _local(pattern, stream)
            if not files and several:
                raise DataError(f"stream.table.files: {pattern!r} matches no file; take it out of the list, or mend it")
            for file in files:
                first = found.setdefault((file.stat().st_dev, file.stat().st_ino), (file, domain))
                if first[1] != domain:
                    raise DataError(f"{file}: is of two domains of stream.table.files, {first[1]} and {domain}")
    return list(found.values())


def _local(pattern: str, stream: StreamSettings) -> list[Path]:
    """The files that a pattern matches below `stream.root`, or from the top of the file system on."""
    ours, files = cache(partial(_ours, Path(stream.data).resolve())), []
    for file in _matched(stream.root, pattern):
        _check_link(file)
        if not file.is_file() or any(map(ours, file.resolve().parents)):
            continue
        if not out_of_sight(Path(os.path.relpath(file, stream.root or "/")).parts, Path(pattern).parts):
            files.append(file)
    return files


def _check_link(file: Path) -> None:
    if file.is_symlink() and not file.exists():
        raise DataError(f"{file}: no such file; it is a link to {file.readlink()}")


def lies_there(stream: StreamSettings) -> str:
    """What there is where no file of the log was found, for a message."""
    patterns = [pattern for pattern in stream.table.patterns if not is_remote(pattern)]
    if not patterns:
        return ""
    matched = (file for pattern in patterns for file in _matched(stream.root, pattern))
    if stream.source == "table" and (left_out := [str(file) for file in matched if file.is_file()]):
        return f"; what is hidden, half written, or the simulator's own is left out: {_told(left_out)}"
    if not (stream.root or folder_of(stream).parts):
        return ""
    folder, written = _fixed_part(stream), f"{stream.root} {' '.join(patterns)}"
    unfilled = r"; write ${oc.env:NAME} for $NAME" if re.search(r"\$\w", written) else ""
    if not folder.exists():
        return f"; there is no {folder}{unfilled}"
    if not folder.is_dir():
        return f"; {folder} is a file: set stream.root to its folder"
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in folder.iterdir())
    return f"; in {folder} {'lie ' + _told(names) if names else 'lies nothing'}"


def _matched(root: str, pattern: str) -> Iterator[Path]:
    if not pattern or pattern.endswith("/") or not (root or Path(pattern).is_absolute()):
        return
    if os.path.lexists(Path(root) / pattern):  # a name, whatever characters it has
        yield Path(root) / pattern
    else:
        whole = Path(root) / pattern if Path(pattern).is_absolute() else Path(pattern)
        yield from sorted(set(_below(Path(whole.anchor or root), whole.parts[1 if whole.anchor else 0 :])))


def _below(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """What these parts of a pattern lead to; `**` leads through no links, which may go round in circles.

    Unlike `Path.glob` it takes any pattern: two stars within a name, a bracket that nothing closes.
    """
    if not parts:
        yield folder
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _below(folder, rest or ("*",))
    elif not glob.has_magic(part):
        if os.path.lexists(folder / part):
            yield from _below(folder / part, rest)
        return
    if not folder.is_dir():
        return
    for child in folder.iterdir():
        if part == "**" and child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
            yield from _below(child, parts)
        elif part != "**" and fnmatchcase(child.name, part) and (part[0] == "." or child.name[0] != "."):
            yield from _below(child, rest)


def _ours(data: Path, folder: Path) -> bool:
    """Whether a folder is a run, a log that an ingest has written or was writing, or that of copies."""
    return (
        all((folder / name).is_file() for name in ("experiment.json", "environment.json"))
        or all((folder / name).is_file() for name in ("schema.json", "manifest.json"))
        or folder == data / FETCHED
        or (folder.parent == data and re.fullmatch(r".+-[0-9a-f]{8}\.partial", folder.name) is not None)
    )


def folder_of(stream: StreamSettings) -> Path:
    """The folder that a log of one's own is called after: the root, or where a path of its own leads, the first one."""
    first = stream.table.patterns[0]
    return _fixed_part(stream) if Path(first).is_absolute() or is_remote(first) else Path(stream.root)


def _fixed_part(stream: StreamSettings) -> Path:
    """The folder below which the pattern begins to have wildcards."""
    folder = Path(stream.root)
    pattern = stream.table.patterns[0]
    path = pattern.partition("?")[0] if is_remote(pattern) else pattern
    for part in Path(path).parts[:-1] if stream.source == "table" else ():
        if glob.has_magic(part):
            break
        folder /= part
    return folder


def _told(names: list[str]) -> str:
    more = f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
    return ", ".join("".join(c if c.isprintable() else "?" for c in name) for name in names[:MOST_TOLD]) + more
