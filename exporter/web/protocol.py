"""HTTP/1.1 on one connection: uvicorn's h11 protocol with the deadlines that it lacks.

Never waits for a client longer than its limits say: not for a header that trickles in, not for
the next request, not for a reader that does not read.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from exporter.web.connections import ConnectionTable, Slot, WebLimits

# Its warnings are about what strangers send; its errors are ours.
_logger: Final = logging.getLogger("exporter.web.protocol")
_logger.setLevel(logging.ERROR)


class BoundedProtocol(H11Protocol):
    """One connection.

    `slot` and `raw` are given where the connection was entered into the table before, for TLS:
    `raw` is the transport below it.
    """

    def __init__(
        self,
        *,
        config: Config,
        server_state: ServerState,
        table: ConnectionTable,
        limits: WebLimits,
        slot: Slot | None = None,
        raw: asyncio.WriteTransport | None = None,
    ) -> None:
        super().__init__(config, server_state, {}, asyncio.get_running_loop())
        self.logger = _logger
        self._table = table
        self._limits = limits
        self._slot = slot
        self._raw = raw
        self._deadline: asyncio.TimerHandle | None = None
        self._awaits_header = True
        self._heard = False
        self._is_first = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        if self._slot is None:
            self._slot = self._table.enter(transport.abort)
        if self._slot is None:
            self.transport = transport
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        super().connection_made(transport)
        self._set_deadline(self._limits.header_s, self._header_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        if self._slot is not None:
            self._slot.leave()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        if self._awaits_header and not self._heard:
            self._heard = True
            # The first request's deadline runs since the connection was made.
            if not self._is_first:
                self._set_deadline(self._limits.header_s, self._header_is_late)
        super().data_received(data)
        self._note_request()

    def on_response_complete(self) -> None:
        self._awaits_header, self._heard, self._is_first = True, False, False
        if self._slot is not None:
            self._slot.rest()
        super().on_response_complete()
        self._note_request()

    def shutdown(self) -> None:
        # A connection whose client sent nonsense is in no state to say goodbye.
        with contextlib.suppress(h11.LocalProtocolError):
            super().shutdown()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the status says enough
        """Answer what is no request with the status that the parser recommends, and close."""
        if self._is_answering():
            self.transport.abort()
            return
        fault = sys.exception()
        status = fault.error_status_hint if isinstance(fault, h11.RemoteProtocolError) else 0
        self._refuse(HTTPStatus(status or HTTPStatus.BAD_REQUEST))

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.is_closing():
            self.transport.abort()

    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _note_request(self) -> None:
        """Begin the answer's deadline if a header has been completed."""
        if not self._awaits_header or not self._is_answering():
            return
        self._awaits_header = False
        if self._slot is not None:
            self._slot.work()
        self._set_deadline(self._limits.response_s, self._response_is_late)

    def _header_is_late(self) -> None:
        self._deadline = None
        if self._heard:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.abort()

    def _response_is_late(self) -> None:
        self._deadline = None
        unsent = self.transport.get_write_buffer_size()
        if self._raw is not None:
            unsent += self._raw.get_write_buffer_size()
        if unsent or not self._awaits_header:
            self.transport.abort()

    def _refuse(self, status: HTTPStatus) -> None:
        """Say why in one piece and close; a client that does not take even that is cut off."""
        body = f"{status.phrase}\n".encode()
        self.transport.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "content-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\n"
            "connection: close\r\n\r\n".encode()
            + body
        )
        self._unset_keepalive_if_required()
        self.transport.close()
        self._set_deadline(self._limits.header_s, self.transport.abort)

    def _set_deadline(self, seconds: float, late: Callable[[], None]) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, late)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
