"""The text of one setting as an address: where to listen, where to remember, where to look.

Parsers as in `values`. No I/O: no name is looked up and no file, and no text that may hold a
password is repeated.
"""

import ipaddress
import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from exporter.settings.values import parse_text, shown

_LISTEN_FORMS: Final = "host:port, such as 0.0.0.0:10464, 127.0.0.1:10464 or [::]:10464"
_SQLITE: Final = "sqlite:///"


class ListenAddress(NamedTuple):
    """Where the web server listens; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> ListenAddress:
    """`host:port`, `[IPv6]:port`, or `:port` for every address of the machine."""
    try:
        url = urlsplit(f"//{text}")
        port = url.port
    except ValueError:
        port = None
    if port is None or url.netloc != text or "@" in text:
        raise ValueError(f"{shown(text)} is no address to listen on; allowed: {_LISTEN_FORMS}")
    return ListenAddress(url.hostname or "0.0.0.0", port)  # noqa: S104 - `:port` asks for just that


def parse_ledger_path(text: str) -> Path:
    """The file of `sqlite:///PATH`."""
    path = parse_text(text).removeprefix(_SQLITE)
    if path in (text, "", ":memory:") or "?" in path:
        raise ValueError(
            "is no file's address; allowed: sqlite:///PATH, with a fourth slash before a full path"
        )
    return Path(path)


def parse_trace_link(text: str) -> str:
    """The address of a trace's page, `{trace_id}` standing for the id."""
    rest = text.replace("{trace_id}", "")
    of_the_web = text.startswith(("http://", "https://", "/")) and not re.search(
        r"[\s<>\"\\]", parse_text(text)
    )
    if not of_the_web or rest == text or "{" in rest or "}" in rest:
        raise ValueError(
            f"{shown(text)} is no link to a trace; allowed: an http(s) URL that holds {{trace_id}}"
        )
    return text


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this very machine."""
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
