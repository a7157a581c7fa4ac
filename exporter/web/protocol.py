"""Connections: how many there may be, how long one may take, and TLS in front of them.

Adds to uvicorn's h11 protocol what it lacks: a deadline for a request and its answer, so that
neither a header that trickles in nor a client that does not read holds a connection, and a bound
at which the connection that was answered least recently gives way to a new one.
"""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

# How long a client may take to end TLS.
_TLS_SHUTDOWN_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WebLimits:
    """What one client, and all of them together, may take."""

    # Well above what scrapes and browsers need, well below 1,024 files.
    connections: int = 128
    # From the first byte of a request (or the connection) until its whole answer is taken.
    exchange_s: float = 20.0
    # Longer than the usual scrape intervals: a scraper keeps its connection.
    keep_alive_s: int = 75
    header_bytes: int = 16 * 1024
    target_bytes: int = 2048
    # How long answers under way may take when the server stops.
    drain_s: float = 2.0


class ConnectionTable:
    """Open connections, the one that was answered least recently first."""

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._transports: dict[asyncio.Transport, None] = {}

    def __len__(self) -> int:
        return len(self._transports)

    def add(self, transport: asyncio.Transport) -> None:
        """Take in a new connection; at the bound the first one is aborted."""
        if len(self._transports) >= self._max_connections:
            first = next(iter(self._transports))
            self.remove(first)
            first.abort()
        self._transports[transport] = None

    def renew(self, transport: asyncio.Transport) -> None:
        """Put a connection that was answered behind all others."""
        if transport in self._transports:
            del self._transports[transport]
            self._transports[transport] = None

    def remove(self, transport: asyncio.Transport) -> None:
        """Forget a connection; more than once does nothing."""
        self._transports.pop(transport, None)

    def abort_all(self) -> None:
        """End every connection at once, whatever is unsent."""
        for transport in list(self._transports):
            transport.abort()


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 on one connection. `raw` is its TCP transport, below TLS where there is TLS."""

    def __init__(
        self, *, raw: asyncio.Transport, table: ConnectionTable, limits: WebLimits, **parts: Any
    ) -> None:
        super().__init__(**parts)
        self._raw = raw
        self._table = table
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._in_exchange = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._begin_exchange()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        self._table.remove(self._raw)
        super().connection_lost(exc)
        # uvicorn leaves its timer running where the connection was reset.
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        if not self._in_exchange:
            self._begin_exchange()
        super().data_received(data)

    def on_response_complete(self) -> None:
        # The deadline goes on: what is unsent is still to be taken by the client.
        self._in_exchange = False
        self._table.renew(self._raw)
        super().on_response_complete()
        if self._is_answering():
            # A pipelined request.
            self._begin_exchange()

    def shutdown(self) -> None:
        # A connection whose client sent nonsense is in no state to say goodbye.
        with contextlib.suppress(h11.LocalProtocolError):
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the status says enough
        """Refuse what is no request with the status that the parser recommends, and close."""
        if self._is_answering():
            self.transport.abort()
            return
        fault = sys.exception()
        hint = fault.error_status_hint if isinstance(fault, h11.RemoteProtocolError) else 0
        status = HTTPStatus(hint or HTTPStatus.BAD_REQUEST)
        body = f"{status.phrase}\n"
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "content-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\n"
            f"connection: close\r\n\r\n{body}".encode()
        )
        self.transport.close()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _begin_exchange(self) -> None:
        self._in_exchange = True
        self._clear_deadline()
        self._deadline = self.loop.call_later(self._limits.exchange_s, self._end_late_exchange)

    def _end_late_exchange(self) -> None:
        unsent = self.transport.get_write_buffer_size() + self._raw.get_write_buffer_size()
        if self._in_exchange or unsent:
            self.transport.abort()

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Door(asyncio.Protocol):
    """A new connection: takes its place in the table, speaks TLS if asked to, then HTTP.

    The place comes before the handshake, since an unfinished one holds a quarter of a megabyte.
    `context` gives the TLS context of a connection that begins now, None for plain HTTP; `tasks`
    holds the handshakes under way.
    """

    def __init__(
        self,
        *,
        make_protocol: Callable[[asyncio.Transport], BoundedProtocol],
        context: Callable[[], ssl.SSLContext | None],
        table: ConnectionTable,
        handshake_s: float,
        tasks: set[asyncio.Task[None]],
    ) -> None:
        self._make_protocol = make_protocol
        self._context = context
        self._table = table
        self._handshake_s = handshake_s
        self._tasks = tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it listens on TCP alone
        self._table.add(transport)
        context = self._context()
        if context is None:
            _hand_over(transport, self._make_protocol(transport))
            return
        # What the client says first is for the handshake.
        transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._shake_hands(transport, context))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, raw: asyncio.Transport, context: ssl.SSLContext) -> None:
        relay = _Relay()
        try:
            secured = await asyncio.get_running_loop().start_tls(
                raw,
                relay,
                context,
                server_side=True,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_S,
            )
        except OSError:
            # A port scanner, plain HTTP, a foreign certificate: the client's affair.
            secured = None
        if secured is None or relay.lost or raw.is_closing():
            self._table.remove(raw)
            raw.abort()
            return
        protocol = self._make_protocol(raw)
        _hand_over(secured, protocol)
        if relay.received:
            protocol.data_received(bytes(relay.received))


class _Relay(asyncio.Protocol):
    """Keeps what arrives between the end of the handshake and the hand-over."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.lost = True


def _hand_over(transport: asyncio.Transport, protocol: BoundedProtocol) -> None:
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
