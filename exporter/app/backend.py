"""Opens the way to the trace backend that the settings ask for."""

from functools import partial

from exporter.clock import Clock
from exporter.delivery.endpoint import OtlpEndpoint, resolve_endpoint
from exporter.delivery.senders import Sender, open_console, open_sender
from exporter.settings.model import Settings


def endpoint_of(settings: Settings) -> OtlpEndpoint:
    """The OTLP destination. Raises ConfigError where its settings make no sense together."""
    return resolve_endpoint(settings.otlp_environment())


def warnings_of(settings: Settings) -> tuple[str, ...]:
    """What works, but should be known at every start."""
    if settings.traces_exporter != "otlp":
        return settings.warnings
    return settings.warnings + endpoint_of(settings).warnings


def open_backend(settings: Settings, *, clock: Clock) -> Sender | None:
    """A sender, inside the loop that will use it; None where no traces are wanted.

    Raises ConfigError and DeliveryError for settings that cannot work.
    """
    if settings.traces_exporter == "none":
        return None
    if settings.traces_exporter == "console":
        # Flushed line by line: what is acknowledged must not lie in a buffer.
        return open_console(partial(print, end="", flush=True))
    return open_sender(endpoint_of(settings), clock=clock)
