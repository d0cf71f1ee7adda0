"""Where a server listens, and where it is asked."""

from __future__ import annotations

import os
import socket

from pkb.errors import SettingError
from simulator.serve.settings import ServeSettings


def free_port(settings: ServeSettings) -> int:
    """Give `serve.port`, or a free one where that is 0; SettingError if nothing can listen there."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.create_server((settings.host, settings.port), family=family) as listener:
            port: int = listener.getsockname()[1]
            return port
    except OSError as error:
        raise SettingError(
            f"serve.port={settings.port}: cannot listen there on {settings.host} ({error.strerror}); "
            "choose another port, or 0 for a free one"
        ) from None


def refuse_open_pages() -> None:
    """SettingError if Ray Serve is told to use HAProxy, whose own pages no setting keeps on this machine."""
    if os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1":
        raise SettingError(
            "$RAY_SERVE_ENABLE_HA_PROXY: Ray's HAProxy shows its statistics and metrics to whoever asks, on all"
            " interfaces (ports 8404 and 9101), whatever host is set; unset it"
        )


def reachable(host: str) -> str:
    """What to ask for a server that listens on `host`."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"
    return f"[{host}]" if ":" in host else host
