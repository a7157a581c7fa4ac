"""Where traces go, as plain values; `secrets` are what no log may show of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

Protocol = Literal["http/protobuf", "grpc"]

CERTIFICATES_HINT: Final = (
    "check OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE "
    "and OTEL_EXPORTER_OTLP_CLIENT_KEY"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpEndpoint:
    """The destination of traces.

    `target` is the URL of the request for http/protobuf, and for grpc what the channel is opened
    to. `destination` names it to people, without query or credentials.
    """

    protocol: Protocol = "http/protobuf"
    target: str = field(default="http://localhost:4318/v1/traces", repr=False)
    destination: str = "http://localhost:4318/v1/traces"
    secure: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout_s: float = 10.0
    gzip: bool = False
    ca_file: Path | None = None
    client_certificate_file: Path | None = None
    client_key_file: Path | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What an answer must not bring into a log: header values, and the credentials in them."""
        values = [value for _, value in self.headers]
        return tuple(values + [value.split()[-1] for value in values if " " in value])
