"""Where traces go: the OTEL_EXPORTER_OTLP_* settings as the OpenTelemetry specification reads them.

Pure: it opens no file and no connection. A TRACES_ form wins over the general one, an empty value
counts as unset. Header values and credentials appear in no message and no repr.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from exporter.errors import ConfigError

Protocol = Literal["http/protobuf", "grpc"]

DEFAULT_TIMEOUT_S: Final = 10.0

_GENERAL: Final = "OTEL_EXPORTER_OTLP_"
_SIGNAL: Final = "OTEL_EXPORTER_OTLP_TRACES_"
_TRACES_PATH: Final = "v1/traces"
_DEFAULT_HTTP: Final = "http://localhost:4318"
_DEFAULT_GRPC: Final = "http://localhost:4317"
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318
_URL_PORTS: Final = {"http": 80, "https": 443}

# The specification counts in milliseconds. Some libraries read seconds, so a number that only
# makes sense as seconds is refused instead of cutting every request short.
_LEAST_TIMEOUT_MS: Final = 100
_MOST_TIMEOUT_MS: Final = 600_000

# The characters of a token, RFC 9110.
_NAME_CHARACTERS: Final = frozenset(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
# gRPC allows fewer.
_METADATA_CHARACTERS: Final = frozenset("-._0123456789abcdefghijklmnopqrstuvwxyz")
# These describe the message itself, which is the sender's business.
_RESERVED_HEADERS: Final = frozenset(
    (
        *("connection", "content-encoding", "content-length", "content-type", "host", "te"),
        *("trailer", "transfer-encoding", "upgrade"),
    )
)
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))


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
    timeout_s: float = DEFAULT_TIMEOUT_S
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
    return _Resolution(values).endpoint()


class _Resolution:
    """One reading of the settings, and the problems met in it."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._problems: list[str] = []
        self._warnings: list[str] = []

    def endpoint(self) -> OtlpEndpoint:
        protocol = self._protocol()
        target, destination, secure = (
            self._http_target() if protocol == "http/protobuf" else self._grpc_target()
        )
        headers = self._headers(
            _NAME_CHARACTERS if protocol == "http/protobuf" else _METADATA_CHARACTERS
        )
        ca_file = self._file("CERTIFICATE")
        certificate_file = self._file("CLIENT_CERTIFICATE")
        key_file = self._file("CLIENT_KEY")
        if (certificate_file is None) != (key_file is None):
            missing = "CLIENT_KEY" if key_file is None else "CLIENT_CERTIFICATE"
            present = "CLIENT_CERTIFICATE" if key_file is None else "CLIENT_KEY"
            self._problems.append(
                f"{self._name(present)} needs {_GENERAL}{missing} beside it: "
                "a client certificate and its key go together"
            )
        if not secure and (ca_file or certificate_file):
            self._warnings.append(f"the connection to {destination} is plain: certificates unused")
        if headers and not secure and not _is_near(destination):
            self._warnings.append(
                f"headers go to {destination} unencrypted; an https endpoint would protect them"
            )
        resolved = OtlpEndpoint(
            protocol=protocol,
            target=target,
            destination=destination,
            secure=secure,
            headers=headers,
            timeout_s=self._timeout_s(),
            gzip=self._gzip(),
            ca_file=ca_file,
            client_certificate_file=certificate_file,
            client_key_file=key_file,
            warnings=tuple(self._warnings),
        )
        if self._problems:
            raise ConfigError(self._problems)
        return resolved

    def _get(self, option: str) -> str:
        for prefix in (_SIGNAL, _GENERAL):
            value = self._values.get(prefix + option, "").strip()
            if value:
                return value
        return ""

    def _name(self, option: str) -> str:
        """The variable that the value of an option came from."""
        signal = _SIGNAL + option
        return signal if self._values.get(signal, "").strip() else _GENERAL + option

    def _protocol(self) -> Protocol:
        text = self._get("PROTOCOL").lower()
        if text == "grpc":
            return "grpc"
        if text not in ("", "http/protobuf"):
            self._problems.append(
                f"{self._name('PROTOCOL')}: {_shown(text)} is not supported; "
                "allowed are http/protobuf and grpc"
            )
        return "http/protobuf"

    def _http_target(self) -> tuple[str, str, bool]:
        text = self._get("ENDPOINT") or _DEFAULT_HTTP
        name = self._name("ENDPOINT")
        url = self._parse_url(name, text)
        if url is None:
            return "", "", False
        # The general endpoint is a base for all signals; the one for traces is taken as it is.
        path = url.path or "/"
        if name != _SIGNAL + "ENDPOINT":
            path = f"{path.rstrip('/')}/{_TRACES_PATH}"
        if url.port == _GRPC_PORT:
            self._warnings.append(
                f"{name}: {_GRPC_PORT} is usually the port of gRPC; over http/protobuf it is "
                f"{_HTTP_PORT} (or set {_GENERAL}PROTOCOL=grpc)"
            )
        target = urlunsplit((url.scheme, url.netloc, path, url.query, ""))
        return target, urlunsplit((url.scheme, url.netloc, path, "", "")), url.scheme == "https"

    def _grpc_target(self) -> tuple[str, str, bool]:
        text = self._get("ENDPOINT") or _DEFAULT_GRPC
        name = self._name("ENDPOINT")
        if not text.lower().startswith(("http://", "https://")):
            return self._grpc_name(name, text)
        url = self._parse_url(name, text)
        if url is None:
            return "", "", False
        if url.path not in ("", "/"):
            self._problems.append(
                f"{name}: gRPC has no paths, but {_shown(url.path)} is one; "
                f"leave it out, or set {_GENERAL}PROTOCOL=http/protobuf"
            )
        if url.port == _HTTP_PORT:
            self._warnings.append(
                f"{name}: {_HTTP_PORT} is usually the port of http/protobuf; over gRPC it is "
                f"{_GRPC_PORT} (or set {_GENERAL}PROTOCOL=http/protobuf)"
            )
        port = "" if url.port is not None else f":{_URL_PORTS[url.scheme]}"
        target = f"{url.netloc}{port}"
        return target, f"{url.scheme}://{target}", url.scheme == "https"

    def _grpc_name(self, name: str, text: str) -> tuple[str, str, bool]:
        """A target in gRPC's own naming (`host:port`, `dns:///...`, `unix:...`)."""
        if "@" in text or not text.isprintable() or " " in text:
            self._problems.append(f"{name}: this is neither a URL nor a gRPC target")
            return "", "", False
        insecure = self._get("INSECURE").lower()
        if insecure not in ("", "true", "false"):
            self._problems.append(f"{self._name('INSECURE')}: allowed are true and false")
        secure = insecure != "true"
        return text, f"{text} ({'TLS' if secure else 'plain'})", secure

    def _parse_url(self, name: str, text: str) -> SplitResult | None:
        """The URL, None and a problem where it cannot be used; the problem does not repeat it."""
        try:
            url = urlsplit(text)
            usable = url.scheme in _URL_PORTS and bool(url.hostname) and url.port != 0
        except ValueError:
            usable = False
        if not usable or not text.isascii() or not text.isprintable() or " " in text:
            self._problems.append(
                f"{name}: this is not an http or https URL with a host, such as {_DEFAULT_HTTP}"
            )
            return None
        if url.username is not None or url.password is not None:
            self._problems.append(
                f"{name}: credentials do not belong into the URL; "
                f"put them into {_GENERAL}HEADERS, for instance authorization=Basic%20..."
            )
            return None
        return url

    def _headers(self, allowed: frozenset[str]) -> tuple[tuple[str, str], ...]:
        """`name=value` pairs with percent-encoded values; the last of a name counts."""
        name = self._name("HEADERS")
        headers: dict[str, str] = {}
        for number, item in enumerate(self._get("HEADERS").split(","), start=1):
            if not item.strip():
                continue
            key, equals, value = item.partition("=")
            # Spaces around a value are none of it, and no HTTP library sends them.
            key, value = unquote(key).strip().lower(), unquote(value).strip()
            if not equals or not key or not _NAME_CHARACTERS.issuperset(key):
                self._problems.append(
                    f"{name}: entry {number} is not name=value (a comma in a value is %2C)"
                )
            elif key in _RESERVED_HEADERS or key.startswith((":", "grpc-")):
                self._problems.append(f"{name}: {key} is set by the exporter itself")
            elif not allowed.issuperset(key):
                self._problems.append(f"{name}: {_shown(key)} is no name that gRPC allows")
            elif not (value.isascii() and value.isprintable()):
                self._problems.append(f"{name}: the value of {key} has characters no header has")
            else:
                headers[key] = value
        return tuple(headers.items())

    def _timeout_s(self) -> float:
        text = self._get("TIMEOUT")
        if not text:
            return DEFAULT_TIMEOUT_S
        name = self._name("TIMEOUT")
        if not (text.isascii() and text.isdigit()):
            self._problems.append(
                f"{name}: {_shown(text)} is not a whole number of milliseconds, such as 10000"
            )
            return DEFAULT_TIMEOUT_S
        milliseconds = int(text[:20])
        if not _LEAST_TIMEOUT_MS <= milliseconds <= _MOST_TIMEOUT_MS:
            meant = f"; {text} s would be {text}000" if milliseconds < _LEAST_TIMEOUT_MS else ""
            self._problems.append(
                f"{name}: {_shown(text)} ms is out of range, "
                f"allowed are {_LEAST_TIMEOUT_MS} to {_MOST_TIMEOUT_MS} milliseconds{meant}"
            )
        return milliseconds / 1000

    def _gzip(self) -> bool:
        text = self._get("COMPRESSION").lower()
        if text not in ("", "none", "gzip"):
            self._problems.append(
                f"{self._name('COMPRESSION')}: {_shown(text)} is not supported; "
                "allowed are gzip and none"
            )
        return text == "gzip"

    def _file(self, option: str) -> Path | None:
        text = self._get(option)
        return Path(text) if text else None


def _shown(text: str) -> str:
    """A setting's value in a message: quoted, escaped, short."""
    return ascii(text[:60])


def _is_near(destination: str) -> bool:
    """Whether it is this machine, so that nobody listens on the way."""
    if destination.startswith("unix:"):
        return True
    address = destination.partition(" ")[0]
    return urlsplit(address if "://" in address else f"//{address}").hostname in _LOOPBACK
