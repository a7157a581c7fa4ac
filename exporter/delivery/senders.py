"""What a sender is, the one that writes to a stream, and how the one of the settings is opened.

The libraries of a protocol are imported only when that protocol is chosen.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from exporter.clock import Clock
from exporter.convert.otlp import payload_to_otlp_json
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.outcome import Accepted, Invalid, Outcome, Unavailable
from exporter.errors import ConfigError, quote

_FILES_HINT: Final = (
    "check OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE "
    "and OTEL_EXPORTER_OTLP_CLIENT_KEY"
)


class Sender(Protocol):
    """Sends encoded requests to one destination, each exactly once."""

    @property
    def destination(self) -> str:
        """The destination in words, without credentials."""

    async def send(self, payload: bytes) -> Outcome:
        """Send one encoded ExportTraceServiceRequest, which may be empty."""

    async def aclose(self) -> None:
        """Close the connections; a request under way fails."""


class ConsoleSender:
    """Hands each trace to `write` as one line of OTLP JSON, ASCII, as OTLP's file exporters do."""

    destination = "the console"

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    async def send(self, payload: bytes) -> Outcome:
        """Write the traces of one request, in order; after a failure all come again."""
        try:
            document = payload_to_otlp_json(payload)
        except DecodeError:
            return Invalid("these bytes are no OTLP request")
        try:
            # The encoder gives each trace a ResourceSpans of its own, and merging keeps them apart.
            for one in document.get("resourceSpans", ()):
                line = json.dumps({"resourceSpans": [one]}, separators=(",", ":"))
                # In a thread: a pipe that nobody reads stops delivery alone.
                await asyncio.to_thread(self._write, f"{line}\n")
        except (OSError, ValueError) as exc:  # ValueError: the stream is closed
            return Unavailable(f"nothing can be written: {quote(str(exc))}", answered=False)
        return Accepted()

    async def aclose(self) -> None:
        """Nothing to close: the stream belongs to whoever handed in `write`."""


def open_sender(endpoint: OtlpEndpoint, *, clock: Clock) -> Sender:
    """A sender to this destination; must be called inside the event loop that will use it.

    Raises ConfigError when its certificates cannot be used.
    """
    try:
        if endpoint.protocol == "grpc":
            # gRPC's library takes 13 MiB of memory.
            from exporter.delivery.grpc_sender import GrpcSender  # noqa: PLC0415 - only where used

            return GrpcSender(endpoint)
        from exporter.delivery.http_sender import HttpSender  # noqa: PLC0415 - only where used

        return HttpSender(endpoint, clock=clock)
    except ConfigError as exc:
        raise ConfigError([f"{exc} ({_FILES_HINT})"]) from exc
