"""One HTTP/1.1 connection, one exchange at a time: h11 holds the protocol, asyncio the socket.

It bounds what waits in memory, not how long anything takes: whoever calls sets the deadline, and a
connection whose exchange was given up is to be dropped.
"""

import asyncio
import select
from typing import Any, Final, cast

import h11
import httpx

# A head larger than this is not one that an API sends; RFC 9112 leaves the limit to the reader.
_MOST_HEAD_BYTES: Final = 64 * 1024
# With so much unread the socket is left alone until somebody asks for more.
_MOST_UNREAD_BYTES: Final = 256 * 1024

_SILENT: Final = "The server closed the connection without an answer"


class Connection(asyncio.Protocol):
    """Sends requests and gives the parts of their answers; what is closed stays closed."""

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD_BYTES)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._closed = self._loop.create_future()
        self._ended = False
        # Why it ended, where that was not the orderly way.
        self._fault: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        # The last request's headers, and the same as h11 has checked them.
        self._headers: tuple[list[tuple[bytes, bytes]], Any] = [], []
        self._is_full = False
        self._is_paused = False
        self._unread_bytes = 0
        self._is_resting = False

    def is_quiet(self) -> bool:
        """Whether another exchange may begin on it: open, and nothing came since the last one.

        The socket itself is asked, for what the event loop has not come to read yet.
        """
        if self._ended or self._transport is None:
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    async def send(self, request: httpx.Request) -> None:
        """Send a request, whose headers must frame its body.

        Raises httpx.LocalProtocolError for what HTTP does not allow, and httpx.WriteError where the
        connection broke and the server has said nothing.
        """
        try:
            self._write(self._head(request))
            async for chunk in cast("httpx.AsyncByteStream", request.stream):
                if chunk:
                    self._write(h11.Data(chunk))
                    await self._room()
            self._write(h11.EndOfMessage())
        except h11.LocalProtocolError as exc:
            raise httpx.LocalProtocolError(str(exc)) from exc
        except httpx.WriteError:
            # A server may answer before it has read all, and hang up: what it said is worth more.
            if not self._unread_bytes:
                raise

    def _head(self, request: httpx.Request) -> h11.Request:
        raw = request.headers.raw
        known, checked = self._headers
        head = h11.Request(
            method=request.method,
            target=request.url.raw_path,
            headers=checked if raw == known else raw,
        )
        self._headers = raw, head.headers
        return head

    async def response(self) -> h11.Response:
        """The answer's status and headers; raises what `data` raises."""
        while True:
            event = await self._event()
            if type(event) is h11.Response:
                return event
            if type(event) is not h11.InformationalResponse:
                raise httpx.RemoteProtocolError(_SILENT)

    async def data(self) -> bytes | None:
        """The next piece of the answer's body, None at its end.

        Raises httpx.RemoteProtocolError where the other side breaks HTTP or ends too soon,
        httpx.ReadError where the network does.
        """
        event = await self._event()
        return bytes(event.data) if type(event) is h11.Data else None

    def finish(self) -> bool:
        """End the exchange; whether another may follow. If not, the connection is dropped."""
        both_done = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE
        if both_done and not self._ended and not self._h11.trailing_data[0]:
            self._h11.start_next_cycle()
            self._is_resting = True
            self._listen()
            return True
        self.drop()
        return False

    def drop(self) -> None:
        """Close at once, whatever is under way."""
        if self._fault is None:
            self._fault = ConnectionAbortedError("The connection was closed by this program")
        self._ended = True
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close in order, with TLS's farewell."""
        self._ended = True
        if self._transport is not None:
            self._transport.close()
            await asyncio.shield(self._closed)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """For asyncio: connected, and secure where that was asked for."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """For asyncio: bytes came."""
        if self._is_resting:
            # Nobody asked: it would be taken for the next answer.
            self.drop()
            return
        self._h11.receive_data(data)
        self._unread_bytes += len(data)
        if self._unread_bytes > _MOST_UNREAD_BYTES and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> None:
        """For asyncio, which closes the connection next: no more bytes will come."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """For asyncio: closed, or broken by `exc`."""
        if self._fault is None:
            self._fault = exc
        self._end()
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """For asyncio: too much waits to be sent."""
        self._is_full = True

    def resume_writing(self) -> None:
        """For asyncio: there is room again."""
        self._is_full = False
        _wake(self._writer)

    def _end(self) -> None:
        self._ended = True
        if self._fault is None:
            # Only an orderly end completes a body that lasts until the connection closes. TLS's
            # farewell is not insisted on, as many leave it out: JSON that was cut does not parse.
            self._h11.receive_data(b"")
        _wake(self._reader)
        _wake(self._writer)

    def _write(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if self._ended or self._transport is None:
            raise httpx.WriteError(str(self._fault or _SILENT)) from self._fault
        self._is_resting = False
        if data:
            self._transport.write(data)

    async def _room(self) -> None:
        while self._is_full and not self._ended:
            self._writer = self._loop.create_future()
            await self._writer

    async def _event(self) -> h11.Event:
        while True:
            has_answered = self._h11.their_state is not h11.SEND_RESPONSE or self._unread_bytes
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as exc:
                raise httpx.RemoteProtocolError(str(exc) if has_answered else _SILENT) from exc
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:  # after 101 Switching Protocols
                raise httpx.RemoteProtocolError("The server speaks a protocol nobody asked for")
            if self._fault is not None:
                raise httpx.ReadError(str(self._fault)) from self._fault
            await self._more()

    def _listen(self) -> None:
        self._unread_bytes = 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    async def _more(self) -> None:
        self._listen()
        self._reader = self._loop.create_future()
        await self._reader


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
