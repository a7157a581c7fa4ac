"""Where traces go, as plain values; `secrets` are what no log may show of it."""

from dataclasses import dataclass, field
from typing import Literal

from exporter.errors import url_secrets
from exporter.http_client import TlsFiles

Protocol = Literal["http/protobuf", "grpc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpEndpoint:
    """The destination of traces.

    `target` is the URL of the request for http/protobuf, and for grpc what the channel is opened
    to. `destination` names it to people, without query or credentials. Without `tls` in the clear.
    """

    protocol: Protocol = "http/protobuf"
    target: str = field(default="http://localhost:4318/v1/traces", repr=False)
    destination: str = "http://localhost:4318/v1/traces"
    tls: TlsFiles | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout_s: float = 10.0
    gzip: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """What an answer must not bring into a log: header values, credentials in them, queries."""
        values = [value for _, value in self.headers]
        values += [value.split()[-1] for value in values if " " in value]
        return (*values, *url_secrets(self.target))
