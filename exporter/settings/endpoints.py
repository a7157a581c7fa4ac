"""The text of one setting about a service that is called: its URL, and the headers it wants.

Parsers as in `values`. Nothing is connected to, and no text that may hold a password is repeated.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from pydantic import HttpUrl, SecretStr, ValidationError

from exporter.settings.values import parse_pairs, parse_text, shown

_FORM: Final = "http(s)://host[:port][/path]"
# pydantic repairs an address that lacks its slashes; that is not what was meant.
_HAS_HOST: Final = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)
_TRACES_PATH: Final = "/v1/traces"
# A token of RFC 9110, as far as gRPC allows it too.
_HEADER_NAME: Final = re.compile(r"[a-z0-9._-]+")
# These describe the message itself, which is the sender's business.
_RESERVED_HEADER: Final = re.compile(
    "connection|content-(encoding|length|type)|grpc-.*|host|te|trailer|transfer-encoding|upgrade"
)


class OtlpTarget(NamedTuple):
    """Where traces are sent: `address` is the URL for http/protobuf, the channel's target for grpc.

    Its query may hold a key; `destination`, which names it to people, is without.
    """

    address: SecretStr
    destination: str
    secure: bool


def parse_url(text: str) -> str:
    """An http or https URL in its normal form."""
    try:
        url = HttpUrl(text) if _HAS_HOST.fullmatch(text) else None
    except ValidationError:
        url = None
    if url is None:
        # Raised out here and without a cause: pydantic's own error carries the URL.
        raise ValueError(f"is no web URL; allowed: {_FORM}")
    return str(url)


def parse_base_url(text: str) -> str:
    """The API's address in one form for each address, since the ledger is tied to it."""
    base_url = parse_url(text).rstrip("/")
    url = urlsplit(base_url)
    if "@" in url.netloc:
        raise ValueError("holds a user or password; the token has a setting of its own")
    if {"?", "#"} & set(base_url):
        raise ValueError(f"holds a query or a fragment; allowed: {_FORM}")
    if url.path.endswith("/v1"):
        raise ValueError(f"{shown(base_url)} ends in /v1, which the exporter adds itself")
    return base_url


def parse_otlp_target(
    text: str, *, protocol: str = "http/protobuf", insecure: bool = False, is_base: bool = True
) -> OtlpTarget:
    """The trace backend as the OpenTelemetry specification reads its address.

    Over HTTP the path of traces is added to a base for all signals. Over gRPC the scheme decides
    about TLS, and `insecure` only where there is none.
    """
    is_grpc = protocol == "grpc"
    if is_grpc and not text.lower().startswith(("http://", "https://")):
        # gRPC's own naming: host:port, dns:///..., unix:...
        if "@" in text or " " in parse_text(text):
            raise ValueError("is neither a URL nor a gRPC target")
        destination = f"{text} ({'plain' if insecure else 'TLS'})"
        return OtlpTarget(SecretStr(text), destination, secure=not insecure)
    url = urlsplit(parse_url(text))
    if "@" in url.netloc:
        raise ValueError(
            "holds a user or password; they belong into OTEL_EXPORTER_OTLP_HEADERS, "
            "for instance authorization=Basic%20..."
        )
    secure = url.scheme == "https"
    if is_grpc:
        if url.path != "/":
            raise ValueError(
                "has a path, and gRPC has none; leave it out, "
                "or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
            )
        address = url.netloc if url.port else f"{url.netloc}:{443 if secure else 80}"
        return OtlpTarget(SecretStr(address), f"{url.scheme}://{address}", secure=secure)
    path = url.path.rstrip("/") + _TRACES_PATH if is_base else url.path
    address = urlunsplit(url._replace(path=path, fragment=""))
    return OtlpTarget(SecretStr(address), address.partition("?")[0], secure=secure)


def parse_headers(text: str) -> tuple[tuple[str, SecretStr], ...]:
    """Headers as `parse_pairs` reads them, names in lower case; no value is ever shown."""
    headers: dict[str, SecretStr] = {}
    for key, value in parse_pairs(parse_text(text)):
        name = key.lower()
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("holds a name that no header has (a comma in a value is %2C)")
        if _RESERVED_HEADER.fullmatch(name):
            raise ValueError(f"{name} is set by the exporter itself")
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the value of {name} has characters that no header has")
        # Spaces around a value are none of it, and no HTTP library sends them.
        headers[name] = SecretStr(value.strip())
    return tuple(headers.items())
