"""Where traces go: the OTEL_EXPORTER_OTLP_* settings as the OpenTelemetry specification reads them.

It opens no file and no connection. A TRACES_ form wins over the general one, an empty value counts
as unset. Header values and credentials appear in no message and no repr.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from pydantic import Field, HttpUrl, TypeAdapter, ValidationError

from exporter.errors import ConfigError

Protocol = Literal["http/protobuf", "grpc"]

CERTIFICATES_HINT: Final = (
    "check OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE "
    "and OTEL_EXPORTER_OTLP_CLIENT_KEY"
)

_GENERAL: Final = "OTEL_EXPORTER_OTLP_"
_SIGNAL: Final = "OTEL_EXPORTER_OTLP_TRACES_"
_TRACES_PATH: Final = "v1/traces"
_DEFAULT_HTTP: Final = "http://localhost:4318"
_DEFAULT_GRPC: Final = "http://localhost:4317"
_HTTP_PORT: Final = 4318
_GRPC_PORT: Final = 4317

_URL: Final = TypeAdapter(HttpUrl)
_PROTOCOLS: Final = TypeAdapter(Protocol)
_COMPRESSIONS: Final = TypeAdapter(Literal["none", "gzip"])
_BOOLEANS: Final = TypeAdapter(Literal["true", "false"])
# The specification counts in milliseconds. Some libraries read seconds, so a number that only
# makes sense as seconds is refused instead of cutting every request short.
_MILLISECONDS: Final = TypeAdapter(Annotated[int, Field(ge=100, le=600_000)])

# pydantic repairs an address that lacks its slashes; that is not what was meant.
_HAS_HOST: Final = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)
# A token of RFC 9110; gRPC allows fewer characters.
_HEADER_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_METADATA_NAME: Final = re.compile(r"[a-z0-9._-]+")
# These describe the message itself, which is the sender's business.
_RESERVED_NAME: Final = re.compile(
    r":.*|grpc-.*|connection|content-(encoding|length|type)|host|te|trailer|transfer-encoding|"
    "upgrade"
)
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpEndpoint:
    """A resolved destination.

    `target` is the URL of the request for http/protobuf, and for grpc what the channel is opened
    to. `destination` names it to people, without query or credentials. `warnings` are about
    settings that work but are rarely meant.
    """

    protocol: Protocol = "http/protobuf"
    target: str = field(default=f"{_DEFAULT_HTTP}/{_TRACES_PATH}", repr=False)
    destination: str = f"{_DEFAULT_HTTP}/{_TRACES_PATH}"
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
    protocol: Protocol = options.value(
        "PROTOCOL", _PROTOCOLS, default="http/protobuf", allowed="http/protobuf, grpc"
    )
    read_target = _grpc_target if protocol == "grpc" else _http_target
    target, destination, secure = read_target(options)
    headers = _headers(options, protocol)
    ca_file, certificate_file, key_file = _files(options)
    if not secure and (ca_file or certificate_file):
        options.warnings.append(f"the connection to {destination} is plain: certificates unused")
    if headers and not secure and not _is_local(destination):
        options.warnings.append(
            f"headers go to {destination} unencrypted; an https endpoint would protect them"
        )
    timeout_ms = options.value(
        "TIMEOUT",
        _MILLISECONDS,
        default=10_000,
        allowed="milliseconds from 100 to 600000, 10000 for 10 s",
    )
    compression = options.value("COMPRESSION", _COMPRESSIONS, default="none", allowed="gzip, none")
    if options.problems:
        raise ConfigError(options.problems)
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

    def text(self, option: str) -> str:
        return self._values.get(self.name(option), "").strip()

    def name(self, option: str) -> str:
        """The variable that the value of an option comes from."""
        signal = _SIGNAL + option
        return signal if self._values.get(signal, "").strip() else _GENERAL + option

    def value(self, option: str, kind: TypeAdapter[Any], *, default: Any, allowed: str) -> Any:
        text = self.text(option)
        if not text:
            return default
        try:
            return kind.validate_python(text.lower())
        except ValidationError:
            self.add_problem(option, f"{text[:60]!a} is not allowed; allowed: {allowed}")
            return default

    def add_problem(self, option: str, problem: str) -> None:
        self.problems.append(f"{self.name(option)}: {problem}")


def _http_target(options: _Options) -> tuple[str, str, bool]:
    url = _parse_url(options, options.text("ENDPOINT") or _DEFAULT_HTTP)
    if url is None:
        return "", "", False
    # The general endpoint is a base for all signals; the one for traces is taken as it is.
    is_base = options.name("ENDPOINT") == _GENERAL + "ENDPOINT"
    path = f"{url.path.rstrip('/')}/{_TRACES_PATH}" if is_base else url.path
    if url.port == _GRPC_PORT:
        options.warnings.append(
            f"{options.name('ENDPOINT')}: {_GRPC_PORT} is usually the port of gRPC; over "
            f"http/protobuf it is {_HTTP_PORT} (or set {_GENERAL}PROTOCOL=grpc)"
        )
    target = urlunsplit((url.scheme, url.netloc, path, url.query, ""))
    destination = urlunsplit((url.scheme, url.netloc, path, "", ""))
    return target, destination, url.scheme == "https"


def _grpc_target(options: _Options) -> tuple[str, str, bool]:
    text = options.text("ENDPOINT") or _DEFAULT_GRPC
    if not text.lower().startswith(("http://", "https://")):
        return _grpc_name(options, text)
    url = _parse_url(options, text)
    if url is None:
        return "", "", False
    if url.path != "/":
        options.add_problem(
            "ENDPOINT",
            f"gRPC has no paths; leave the path out, or set {_GENERAL}PROTOCOL=http/protobuf",
        )
    if url.port == _HTTP_PORT:
        options.warnings.append(
            f"{options.name('ENDPOINT')}: {_HTTP_PORT} is usually the port of http/protobuf; over "
            f"gRPC it is {_GRPC_PORT} (or set {_GENERAL}PROTOCOL=http/protobuf)"
        )
    is_secure = url.scheme == "https"
    port = "" if url.port else f":{443 if is_secure else 80}"
    return f"{url.netloc}{port}", f"{url.scheme}://{url.netloc}{port}", is_secure


def _grpc_name(options: _Options, text: str) -> tuple[str, str, bool]:
    """A target in gRPC's own naming (`host:port`, `dns:///...`, `unix:...`)."""
    if "@" in text or not text.isprintable() or " " in text:
        options.add_problem("ENDPOINT", "this is neither a URL nor a gRPC target")
        return "", "", False
    is_insecure = options.value("INSECURE", _BOOLEANS, default="false", allowed="true, false")
    secure = is_insecure == "false"
    return text, f"{text} ({'TLS' if secure else 'plain'})", secure


def _parse_url(options: _Options, text: str) -> SplitResult | None:
    """The URL, None and a problem where it cannot be used; the problem does not repeat it."""
    try:
        url = urlsplit(str(_URL.validate_python(text))) if _HAS_HOST.fullmatch(text) else None
    except ValidationError:
        url = None
    if url is None:
        options.add_problem(
            "ENDPOINT", f"this is not an http or https URL with a host, such as {_DEFAULT_HTTP}"
        )
    elif "@" in url.netloc:
        options.add_problem(
            "ENDPOINT",
            "credentials do not belong into the URL; "
            f"put them into {_GENERAL}HEADERS, for instance authorization=Basic%20...",
        )
        return None
    return url


def _headers(options: _Options, protocol: Protocol) -> tuple[tuple[str, str], ...]:
    """`name=value` pairs with percent-encoded values; the last of a name counts."""
    headers: dict[str, str] = {}
    for number, item in enumerate(options.text("HEADERS").split(","), start=1):
        if not item.strip():
            continue
        key, equals, value = item.partition("=")
        # Spaces around a value are none of it, and no HTTP library sends them.
        key, value = unquote(key).strip().lower(), unquote(value).strip()
        problem = None
        if not equals or not _HEADER_NAME.fullmatch(key):
            problem = f"entry {number} is not name=value (a comma in a value is %2C)"
        elif _RESERVED_NAME.fullmatch(key):
            problem = f"{key} is set by the exporter itself"
        elif protocol == "grpc" and not _METADATA_NAME.fullmatch(key):
            problem = f"{key[:60]!a} is no name that gRPC allows"
        elif not (value.isascii() and value.isprintable()):
            problem = f"the value of {key} has characters no header has"
        if problem:
            options.add_problem("HEADERS", problem)
        headers[key] = value
    return tuple(headers.items())


def _files(options: _Options) -> tuple[Path | None, Path | None, Path | None]:
    """The files of the authorities, of the client's certificate and of its key."""
    names = ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY")
    ca_file, certificate_file, key_file = (
        Path(text) if (text := options.text(name)) else None for name in names
    )
    for present, given, missing, other in (
        ("CLIENT_CERTIFICATE", certificate_file, "CLIENT_KEY", key_file),
        ("CLIENT_KEY", key_file, "CLIENT_CERTIFICATE", certificate_file),
    ):
        if given and not other:
            options.problems.append(
                f"{options.name(present)} needs {_GENERAL}{missing} beside it: "
                "a client certificate and its key go together"
            )
    return ca_file, certificate_file, key_file


def _is_local(destination: str) -> bool:
    """Whether it is this machine, so that nobody listens on the way."""
    if destination.startswith("unix:"):
        return True
    address = destination.partition(" ")[0]
    return urlsplit(address if "://" in address else f"//{address}").hostname in _LOOPBACK
