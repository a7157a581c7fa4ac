"""TLS in front of the HTTP protocol, with a context that may change between two connections.

Never lets a handshake wait longer than a header may, nor outside the table of connections: an
unfinished handshake holds a quarter of a megabyte.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from exporter.web.connections import ConnectionTable, Slot
from exporter.web.protocol import BoundedProtocol

# How long the client may take to say goodbye.
_SHUTDOWN_S: Final = 2.0

MakeProtocol = Callable[[Slot, asyncio.WriteTransport], BoundedProtocol]


class TlsDoor(asyncio.Protocol):
    """A new connection: enters it into the table, shakes hands, hands over to HTTP.

    `settings` gives the context and the allowed names (None: any) at the time of the connection;
    `tasks` holds what is under way.
    """

    def __init__(
        self,
        *,
        table: ConnectionTable,
        settings: Callable[[], tuple[ssl.SSLContext, frozenset[str] | None]],
        handshake_s: float,
        make_protocol: MakeProtocol,
        tasks: set[asyncio.Task[None]],
    ) -> None:
        self._table = table
        self._settings = settings
        self._handshake_s = handshake_s
        self._make_protocol = make_protocol
        self._tasks = tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("TLS needs a stream")
        # What the client says first is for the handshake.
        transport.pause_reading()
        # All that is unsent is to be seen in the TLS layer's own buffer.
        transport.set_write_buffer_limits(high=0)
        slot = self._table.enter(transport.abort)
        if slot is None:
            transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._shake_hands(transport, slot))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, raw: asyncio.Transport, slot: Slot) -> None:
        relay = _Relay()
        handed_over = False
        try:
            context, allowed_names = self._settings()
            secured = await asyncio.get_running_loop().start_tls(
                raw,
                relay,
                context,
                server_side=True,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
            # None, or lost since: the client or the table was quicker.
            if secured is None or relay.lost or raw.is_closing():
                return
            certificate = secured.get_extra_info("peercert")
            if allowed_names is not None and allowed_names.isdisjoint(names_of(certificate)):
                return
            relay.hand_over(secured, self._make_protocol(slot, raw))
            handed_over = True
        except (OSError, EOFError):
            # A port scanner, plain HTTP, a foreign certificate: the client's affair.
            return
        finally:
            if not handed_over:
                slot.leave()
                raw.abort()


class _Relay(asyncio.Protocol):
    """Keeps what arrives between the end of the handshake and the hand-over."""

    def __init__(self) -> None:
        self.lost = False
        self._received: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self._received.append(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.lost = True

    def hand_over(self, transport: asyncio.Transport, protocol: BoundedProtocol) -> None:
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._received:
            protocol.data_received(b"".join(self._received))


def names_of(certificate: Mapping[str, Any] | None) -> Iterable[str]:
    """The subject alternative names of a certificate: DNS, e-mail, URI, and IP as Go writes it."""
    for kind, value in (certificate or {}).get("subjectAltName", ()):
        if kind == "IP Address":
            yield str(ipaddress.ip_address(value))
        elif kind in {"DNS", "email", "URI"}:
            yield value
