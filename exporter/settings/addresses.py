"""The text of one setting as an address: where to listen, whom to call, where to remember.

Parsers as in `values`: ValueError says what is wrong and what is allowed, and no text that may hold
a password is quoted. No I/O: no name is looked up and no file.
"""

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from exporter.settings.values import CONTROL, quoted

_LARGEST_PORT: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NOT_IN_HOST: Final = re.compile(r"[\s/?#@:\x00-\x1f\x7f]")
_NOT_IN_URL: Final = re.compile(r"[\s\x00-\x1f\x7f<>\"\\]")


class ListenAddress(NamedTuple):
    """Where the web server listens; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> ListenAddress:
    """`host:port`, `[IPv6]:port`, or `:port` for every address of the machine."""
    allowed = "host:port, such as 0.0.0.0:10464, 127.0.0.1:10464 or [::]:10464"
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        well_formed = _is_ipv6(host)
    else:
        well_formed = _NOT_IN_HOST.search(host) is None
    digits = port.isascii() and port.isdigit() and len(port) <= len(str(_LARGEST_PORT))
    if not colon or not well_formed or not digits:
        raise ValueError(f"{quoted(text)} is no address to listen on; allowed: {allowed}")
    if int(port) > _LARGEST_PORT:
        raise ValueError(f"{quoted(text)} has a port above {_LARGEST_PORT}; allowed: {allowed}")
    return ListenAddress(host or "0.0.0.0", int(port))  # noqa: S104 - `:port` asks for just that


def parse_base_url(text: str) -> str:
    """The API's address, in one form for each address: the ledger is tied to it."""
    allowed = "http(s)://host[:port][/prefix]"
    if _NOT_IN_URL.search(text):
        raise ValueError(f"holds a character that no URL has; allowed: {allowed}")
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise ValueError(f"is no URL; allowed: {allowed}") from None
    if "@" in text:
        raise ValueError(
            f"holds a user or password; allowed: {allowed}, the token has its own setting"
        )
    if url.scheme not in _DEFAULT_PORTS or not host:
        raise ValueError(f"{quoted(text)} is no URL of the web; allowed: {allowed}")
    if "?" in text or "#" in text:
        raise ValueError(f"holds a query or a fragment; allowed: {allowed}")
    path = url.path.rstrip("/")
    if path.endswith("/v1"):
        raise ValueError(
            f"{quoted(text)} ends in /v1, which the exporter adds itself; leave it out"
        )
    name = f"[{host}]" if ":" in host else host
    shown_port = "" if port is None or port == _DEFAULT_PORTS[url.scheme] else f":{port}"
    return f"{url.scheme}://{name}{shown_port}{path}"


def parse_ledger_url(text: str) -> str:
    """The ledger's address; may hold a password, so at most its scheme is quoted."""
    allowed = "sqlite:///PATH or postgresql://USER@HOST/DATABASE"
    if "://" not in text:
        raise ValueError(f"is no URL; allowed: {allowed} (sqlite:////var/... for a full path)")
    scheme, _, rest = text.partition("://")
    if scheme == "sqlite":
        if not rest.startswith("/"):
            raise ValueError("needs three slashes: sqlite:///PATH, and four before a full path")
        if rest[1:] in ("", ":memory:"):
            raise ValueError(f"names no file, and a ledger must last; allowed: {allowed}")
        if "?" in rest or CONTROL.search(rest):
            raise ValueError(f"takes no options or control characters; allowed: {allowed}")
        return text
    if scheme == "postgresql":
        try:
            url = urlsplit(text)
            _ = url.port
        except ValueError:
            raise ValueError(f"is no URL of PostgreSQL; allowed: {allowed}") from None
        if not url.path.strip("/"):
            raise ValueError(f"names no database; allowed: {allowed}")
        return text
    raise ValueError(f"has the unknown scheme {quoted(scheme)}; allowed: {allowed}")


def parse_trace_link(text: str) -> str:
    """The address of a trace's page, `{trace_id}` standing for the id."""
    allowed = "an http(s) URL that holds {trace_id}"
    if not text.startswith(("http://", "https://", "/")) or _NOT_IN_URL.search(text):
        raise ValueError(f"{quoted(text)} is no URL of the web; allowed: {allowed}")
    rest = text.replace("{trace_id}", "")
    if rest == text:
        raise ValueError(f"{quoted(text)} does not hold {{trace_id}}; allowed: {allowed}")
    if "{" in rest or "}" in rest:
        raise ValueError(f"{quoted(text)} holds another placeholder; allowed: {allowed}")
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
