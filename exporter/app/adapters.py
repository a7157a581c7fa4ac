"""What the settings make of the world outside: ledger, client, trace backend, and what is read."""

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import httpx

from exporter.clock import Clock
from exporter.conduit.client import ConduitClient
from exporter.conduit.token import TokenSource
from exporter.convert.trace import ConvertOptions
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.senders import ConsoleSender, Sender, open_sender
from exporter.http_client import TlsFiles
from exporter.ledger.file import LedgerFile
from exporter.ledger.ledger import Ledger
from exporter.metrics.instruments import Instruments
from exporter.settings.model import Settings
from exporter.sync.discovery import Scope


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


def open_ledger(settings: Settings, *, now_ns: int, today: Callable[[], date]) -> Ledger:
    """The ledger of the settings. Raises LedgerError."""
    file = LedgerFile(settings.ledger_path, base_url=settings.base_url, now_ns=now_ns)
    return Ledger(file, today=today)


def has_ledger(settings: Settings) -> bool:
    """Whether something is there to be opened; otherwise `open_ledger` would make a new one."""
    path = settings.ledger_path
    if path.is_file() and not path.stat().st_size:
        # Beside a log that is not empty, it is a damaged one.
        wal = Path(f"{path}-wal")
        return wal.exists() and wal.stat().st_size > 0
    return path.exists()


def open_client(
    settings: Settings,
    *,
    clock: Clock,
    instruments: Instruments | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> ConduitClient:
    """A client of the Conduit API. Raises ConfigError."""
    return ConduitClient(
        base_url=settings.base_url,
        token=token_source(settings),
        clock=clock,
        observe=(lambda _endpoint, _code, _s: None)
        if instruments is None
        else instruments.api_request,
        proxy=None if settings.proxy is None else settings.proxy.get_secret_value(),
        ca_file=settings.ca_file,
        transport=transport,
    )


def token_source(settings: Settings) -> TokenSource:
    """Where the token comes from; raises ConfigError for an unusable one."""
    if settings.api_token is not None:
        return TokenSource(text=settings.api_token.get_secret_value())
    return TokenSource(path=settings.api_token_file)


def scope_of(settings: Settings) -> Scope:
    """What the settings ask to be read."""
    return Scope(agents=settings.agents, runs=settings.runs, lookback_s=settings.lookback_s)


def convert_options(settings: Settings) -> ConvertOptions:
    """What the settings decide about traces."""
    host, port = settings.conduit_server
    return ConvertOptions(
        service_name=settings.service_name,
        resource_attributes=settings.resource_attributes,
        tool_timing=settings.tool_timing,
        capture_content=settings.capture_content,
        redact_patterns=settings.redact_patterns,
        server_address=host,
        server_port=port,
    )
