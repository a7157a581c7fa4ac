"""What a sender is, and how the one that the settings ask for is opened.

The libraries of a protocol are imported only when that protocol is chosen.
"""

from collections.abc import Callable
from typing import Protocol

from exporter.clock import Clock
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.outcome import Outcome


class Sender(Protocol):
    """Sends encoded requests to one destination, each exactly once."""

    @property
    def destination(self) -> str:
        """The destination in words, without credentials."""

    async def send(self, payload: bytes) -> Outcome:
        """Send one encoded ExportTraceServiceRequest; raises nothing but CancelledError."""

    async def aclose(self) -> None:
        """Close the connections."""


def open_sender(endpoint: OtlpEndpoint, *, clock: Clock) -> Sender:
    """A sender to this destination; must be called inside the event loop that will use it.

    Raises DeliveryError when its certificates cannot be used.
    """
    if endpoint.protocol == "grpc":
        # gRPC's library takes 13 MiB of memory.
        from exporter.delivery.grpc_sender import GrpcSender  # noqa: PLC0415 - only where used

        return GrpcSender(endpoint)
    from exporter.delivery.http_sender import HttpSender  # noqa: PLC0415 - only where used

    return HttpSender(endpoint, clock=clock)


def open_console(write: Callable[[str], object]) -> Sender:
    """A sender that writes every trace as a line of OTLP JSON."""
    from exporter.delivery.console_sender import ConsoleSender  # noqa: PLC0415 - only where used

    return ConsoleSender(write)
