"""The text of one setting as an address: where to listen, whom to call, where to remember.

Parsers as in `values`. No I/O: no name is looked up and no file, and no text that may hold a
password is repeated.
"""

import ipaddress
import re
from pathlib import Path
from typing import Final, NamedTuple

from exporter.settings.values import parse_text, shown

_MAX_PORT: Final = 65_535
_LISTEN_FORMS: Final = "host:port, such as 0.0.0.0:10464, 127.0.0.1:10464 or [::]:10464"
_NOT_IN_HOST: Final = re.compile(r"[\s/?#@:\[\]\x00-\x1f\x7f]")
_SQLITE: Final = "sqlite:///"


class ListenAddress(NamedTuple):
    """Where the web server listens; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> ListenAddress:
    """`host:port`, `[IPv6]:port`, or `:port` for every address of the machine."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        well_formed = _is_ipv6(host)
    else:
        well_formed = _NOT_IN_HOST.search(host) is None
    if not (colon and well_formed and port.isascii() and port.isdigit()):
        raise ValueError(f"{shown(text)} is no address to listen on; allowed: {_LISTEN_FORMS}")
    if len(port) > len(str(_MAX_PORT)) or int(port) > _MAX_PORT:
        raise ValueError(f"{shown(text)} has a port above {_MAX_PORT}; allowed: {_LISTEN_FORMS}")
    return ListenAddress(host or "0.0.0.0", int(port))  # noqa: S104 - `:port` asks for just that


def parse_ledger_path(text: str) -> Path:
    """The file of `sqlite:///PATH`."""
    allowed = "sqlite:///PATH, with a fourth slash before a full path"
    scheme = parse_text(text).partition("://")[0]
    if scheme in ("postgresql", "postgres"):
        raise ValueError(f"is a PostgreSQL database, which is not supported; allowed: {allowed}")
    path = text.removeprefix(_SQLITE)
    if path == text:
        raise ValueError(f"is no ledger's address; allowed: {allowed}")
    if path in ("", ":memory:") or "?" in path:
        raise ValueError(f"names no file, and a ledger must last; allowed: {allowed}")
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


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
