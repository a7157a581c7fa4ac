"""Opens the way to the trace backend that the settings ask for."""

from functools import partial

from exporter.clock import Clock
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.senders import ConsoleSender, Sender, open_sender
from exporter.http_client import TlsFiles
from exporter.settings.model import Settings


def open_backend(settings: Settings, *, clock: Clock) -> Sender | None:
    """A sender, inside the loop that will use it; None where no traces are wanted.

    Raises ConfigError for certificates that cannot be used.
    """
    if settings.traces_exporter == "none":
        return None
    if settings.traces_exporter == "console":
        # Flushed line by line: what is acknowledged must not lie in a buffer.
        return ConsoleSender(partial(print, end="", flush=True))
    return open_sender(endpoint_of(settings), clock=clock)


def endpoint_of(settings: Settings) -> OtlpEndpoint:
    """The destination of traces by OTLP."""
    target = settings.otlp_target
    return OtlpEndpoint(
        protocol=settings.otlp_protocol,
        target=target.address.get_secret_value(),
        destination=target.destination,
        tls=None
        if not target.secure
        else TlsFiles(
            ca=settings.otlp_certificate,
            client_certificate=settings.otlp_client_certificate,
            client_key=settings.otlp_client_key,
        ),
        headers=tuple((name, text.get_secret_value()) for name, text in settings.otlp_headers),
        timeout_s=settings.otlp_timeout_ms / 1000,
        gzip=settings.otlp_compression == "gzip",
    )
