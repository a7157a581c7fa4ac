"""Where traces go: the OTEL_EXPORTER_OTLP_* settings as the OpenTelemetry specification reads them.

It opens no file and no connection. A TRACES_ form wins over the general one, an empty value counts
as unset. Header values and credentials appear in no message and no repr.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from pydantic import HttpUrl, TypeAdapter, ValidationError

from exporter.errors import ConfigError

Protocol = Literal["http/protobuf", "grpc"]

CERTIFICATES_HINT: Final = (
    "check OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE "
    "and OTEL_EXPORTER_OTLP_CLIENT_KEY"
)

_GENERAL: Final = "OTEL_EXPORTER_OTLP_"
_SIGNAL: Final = "OTEL_EXPORTER_OTLP_TRACES_"
_TRACES_PATH: Final = "/v1/traces"
_DEFAULT_HTTP: Final = "http://localhost:4318"
_DEFAULT_GRPC: Final = "http://localhost:4317"
_USUAL_PORTS: Final[dict[int | None, Protocol]] = {4317: "grpc", 4318: "http/protobuf"}

# The specification counts in milliseconds. Some libraries read seconds, so a number that only
# makes sense as seconds is refused instead of cutting every request short.
_TIMEOUTS_MS: Final = range(100, 600_001)

_URL: Final = TypeAdapter(HttpUrl)
# pydantic repairs an address that lacks its slashes; that is not what was meant.
_HAS_HOST: Final = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)
# A token of RFC 9110; gRPC allows fewer characters.
_HEADER_NAMES: Final[dict[Protocol, re.Pattern[str]]] = {
    "http/protobuf": re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+"),
    "grpc": re.compile(r"[a-z0-9._-]+"),
}
# These describe the message itself, which is the sender's business.
_RESERVED_NAMES: Final = re.compile(
    "connection|content-(encoding|length|type)|grpc-.*|host|te|trailer|transfer-encoding|upgrade"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpEndpoint:
    """A resolved destination.

    `target` is the URL of the request for http/protobuf, and for grpc what the channel is opened
    to. `destination` names it to people, without query or credentials. `warnings` are about
    settings that work but are rarely meant.
    """

    protocol: Protocol = "http/protobuf"
    target: str = field(default=_DEFAULT_HTTP + _TRACES_PATH, repr=False)
    destination: str = _DEFAULT_HTTP + _TRACES_PATH
    secure: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout_s: float = 10.0
    gzip: bool = False
    ca_file: Path | None = None
    client_certificate_file: Path | None = None
    client_key_file: Path | None = None
    warnings: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What an answer must not bring into a log: header values, and the credentials in them."""
        values = [value for _, value in self.headers]
        return tuple(values + [value.split()[-1] for value in values if " " in value])


def resolve_endpoint(values: Mapping[str, str]) -> OtlpEndpoint:
    """The destination that the settings name; raises ConfigError with every problem of them."""
    options = _Options(values)
    protocol_name = options.choice("PROTOCOL", "http/protobuf", "grpc", default="http/protobuf")
    protocol: Protocol = "grpc" if protocol_name == "grpc" else "http/protobuf"
    target, destination, secure = _target(options, protocol)
    headers = _headers(options, _HEADER_NAMES[protocol])
    timeout_ms = _timeout_ms(options)
    compression = options.choice("COMPRESSION", "gzip", "none", default="none")
    ca_file = options.path("CERTIFICATE")
    certificate_file, key_file = options.path("CLIENT_CERTIFICATE"), options.path("CLIENT_KEY")
    if (certificate_file is None) != (key_file is None):
        pair = ("CLIENT_CERTIFICATE", "CLIENT_KEY")
        given, missing = pair if key_file is None else pair[::-1]
        options.problems.append(
            f"{options.name(given)} needs {_GENERAL}{missing} beside it: "
            "a client certificate and its key go together"
        )
    if options.problems:
        raise ConfigError(options.problems)
    if not secure and (ca_file or certificate_file):
        options.warnings.append(f"the connection to {destination} is plain: certificates unused")
    if not secure and headers and not _is_local(destination):
        options.warnings.append(
            f"headers go to {destination} unencrypted; an https endpoint would protect them"
        )
    return OtlpEndpoint(
        protocol=protocol,
        target=target,
        destination=destination,
        secure=secure,
        headers=headers,
        timeout_s=timeout_ms / 1000,
        gzip=compression == "gzip",
        ca_file=ca_file,
        client_certificate_file=certificate_file,
        client_key_file=key_file,
        warnings=tuple(options.warnings),
    )


class _Options:
    """The settings by what stands behind their prefix, and what is wrong with them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def name(self, option: str) -> str:
        """The variable that the value of an option comes from."""
        signal = _SIGNAL + option
        return signal if self._values.get(signal, "").strip() else _GENERAL + option

    def text(self, option: str) -> str:
        return self._values.get(self.name(option), "").strip()

    def path(self, option: str) -> Path | None:
        text = self.text(option)
        return Path(text) if text else None

    def choice(self, option: str, first: str, second: str, *, default: str) -> str:
        text = self.text(option).lower() or default
        if text not in (first, second):
            shown = f"{text[:60]!a} is not supported"
            self.refuse(option, f"{shown}; allowed are {first} and {second}")
        return text

    def refuse(self, option: str, problem: str) -> None:
        self.problems.append(f"{self.name(option)}: {problem}")


def _target(options: _Options, protocol: Protocol) -> tuple[str, str, bool]:
    """What to connect to, its name for people, and whether by TLS."""
    is_grpc = protocol == "grpc"
    text = options.text("ENDPOINT") or (_DEFAULT_GRPC if is_grpc else _DEFAULT_HTTP)
    if is_grpc and not text.lower().startswith(("http://", "https://")):
        return _grpc_name(options, text)
    url = _parse_url(options, text)
    if url is None:
        return "", "", False
    if _USUAL_PORTS.get(url.port, protocol) != protocol:
        options.warnings.append(
            f"{options.name('ENDPOINT')}: {url.port} is usually the port of "
            f"{_USUAL_PORTS[url.port]}, but {_GENERAL}PROTOCOL is {protocol}"
        )
    secure = url.scheme == "https"
    if is_grpc:
        if url.path != "/":
            problem = "gRPC has no paths; leave the path out, or set"
            options.refuse("ENDPOINT", f"{problem} {_GENERAL}PROTOCOL=http/protobuf")
        address = url.netloc if url.port else f"{url.netloc}:{443 if secure else 80}"
        return address, f"{url.scheme}://{address}", secure
    path = url.path
    if options.name("ENDPOINT") == f"{_GENERAL}ENDPOINT":
        # It is a base for all signals; the endpoint for traces is taken as it is.
        path = path.rstrip("/") + _TRACES_PATH
    destination = urlunsplit((url.scheme, url.netloc, path, "", ""))
    return destination + (f"?{url.query}" if url.query else ""), destination, secure


def _grpc_name(options: _Options, text: str) -> tuple[str, str, bool]:
    """A target in gRPC's own naming (`host:port`, `dns:///...`, `unix:...`)."""
    if "@" in text or not text.isprintable() or " " in text:
        options.refuse("ENDPOINT", "this is neither a URL nor a gRPC target")
    secure = options.choice("INSECURE", "true", "false", default="false") != "true"
    return text, f"{text} ({'TLS' if secure else 'plain'})", secure


def _parse_url(options: _Options, text: str) -> SplitResult | None:
    """The URL, None and a problem where it cannot be used; the problem does not repeat it."""
    try:
        url = urlsplit(str(_URL.validate_python(text))) if _HAS_HOST.fullmatch(text) else None
    except ValidationError:
        url = None
    if url is None:
        problem = f"this is not an http or https URL with a host, such as {_DEFAULT_HTTP}"
    elif "@" in url.netloc:
        problem = (
            "credentials do not belong into the URL; "
            f"put them into {_GENERAL}HEADERS, for instance authorization=Basic%20..."
        )
    else:
        return url
    options.refuse("ENDPOINT", problem)
    return None


def _headers(options: _Options, allowed: re.Pattern[str]) -> tuple[tuple[str, str], ...]:
    """`name=value` pairs with percent-encoded values; the last of a name counts."""
    headers: dict[str, str] = {}
    for number, item in enumerate(options.text("HEADERS").split(","), start=1):
        if not item.strip():
            continue
        key, equals, value = item.partition("=")
        # Spaces around a value are none of it, and no HTTP library sends them.
        key, value = unquote(key).strip().lower(), unquote(value).strip()
        if not equals or not allowed.fullmatch(key):
            what = "is not name=value with a name that is allowed (a comma in a value is %2C)"
            options.refuse("HEADERS", f"entry {number} {what}")
        elif _RESERVED_NAMES.fullmatch(key):
            options.refuse("HEADERS", f"{key} is set by the exporter itself")
        elif not (value.isascii() and value.isprintable()):
            options.refuse("HEADERS", f"the value of {key} has characters no header has")
        headers[key] = value
    return tuple(headers.items())


def _timeout_ms(options: _Options) -> int:
    text = options.text("TIMEOUT") or "10000"
    if not re.fullmatch("[0-9]{1,9}", text):
        problem = "is not a whole number of milliseconds, such as 10000"
    elif int(text) not in _TIMEOUTS_MS:
        problem = "is out of range: milliseconds from 100 to 600000, 10000 for 10 s"
    else:
        return int(text)
    options.refuse("TIMEOUT", f"{text[:60]!a} {problem}")
    return 0


def _is_local(destination: str) -> bool:
    """Whether it is this machine, so that nobody listens on the way."""
    address = destination.partition(" ")[0]
    hostname = urlsplit(address if "://" in address else f"//{address}").hostname
    return address.startswith("unix:") or hostname in ("localhost", "127.0.0.1", "::1")
