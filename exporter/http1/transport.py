"""The transport: opens connections, keeps them for the next request, and maps what goes wrong.

Between httpx's types and one `Connection` an exchange. It knows no redirects, cookies, proxies or
retries. Of a request's timeouts it keeps those of waiting for a connection and of connecting; a
deadline for each read would end no answer that drips, so the caller bounds the whole exchange.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Final

import httpx

from exporter.http1.connection import Connection

_Origin = tuple[str, str, int | None]

_DEFAULT_PORT: Final = {"http": 80, "https": 443}
# RFC 8305, section 8: how long the first address of a name is tried before the second as well.
_NEXT_ADDRESS_S: Final = 0.25
# What an orderly goodbye may take before the connection is just dropped.
_FAREWELL_S: Final = 1.0


class Http1Transport(httpx.AsyncBaseTransport):
    """Keeps up to `max_connections` busy at once; further requests wait for one of them.

    A connection that has been idle for `keepalive_s` seconds is not used again. Raises httpx's
    exceptions and no others, except when cancelled.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None,
        max_connections: int,
        keepalive_s: float,
    ) -> None:
        """Without `tls` only http URLs can be asked for."""
        self._tls = tls
        if tls is not None:
            tls.set_alpn_protocols(["http/1.1"])
        self._keepalive_s = keepalive_s
        self._turns = asyncio.Semaphore(max_connections)
        # The one used last is used next, so that those in excess grow old.
        self._idle: dict[_Origin, deque[tuple[float, Connection]]] = {}
        self._busy: set[Connection] = set()
        self._is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response's stream must be closed, as httpx demands."""
        url = request.url
        # Not `url.host`, which is for people: another name may come of it on the way back.
        origin = (url.scheme, url.raw_host.decode("ascii"), url.port)
        timeouts: Mapping[str, float | None] = request.extensions.get("timeout", {})
        await self._turn(timeouts.get("pool"))
        connection: Connection | None = None
        try:
            connection = self._idle_connection(origin)
            if connection is None:
                connection = await self._connect(origin, timeouts.get("connect"))
            self._busy.add(connection)
            self._refuse_if_closed()
            await connection.send(request)
            head = await connection.response()
            return httpx.Response(
                head.status_code,
                headers=list(head.headers),
                stream=_Body(self, origin, connection),
                extensions={
                    "http_version": b"HTTP/" + head.http_version,
                    "reason_phrase": head.reason,
                },
            )
        except BaseException:  # whoever gives up an exchange, cancelled or not, gives back its turn
            self._release(origin, connection, dropped=True)
            raise

    async def aclose(self) -> None:
        """Close every connection; requests under way fail."""
        self._is_closed = True
        for connection in self._busy:
            connection.drop()
        idle = [connection for kept in self._idle.values() for _, connection in kept]
        self._idle.clear()
        closing = [asyncio.create_task(connection.close()) for connection in idle]
        if not closing:
            return
        try:
            await asyncio.wait(closing, timeout=_FAREWELL_S)
        finally:
            for connection in idle:
                connection.drop()
        await asyncio.gather(*closing)

    def release(self, origin: _Origin, connection: Connection) -> None:
        """Take back a connection whose response was read, or given up."""
        self._release(origin, connection, dropped=False)

    async def _turn(self, timeout_s: float | None) -> None:
        if not self._turns.locked():
            await self._turns.acquire()
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._turns.acquire()
        except TimeoutError as exc:
            raise httpx.PoolTimeout("All connections are busy") from exc

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise httpx.ConnectError("The connections were closed")

    def _release(self, origin: _Origin, connection: Connection | None, *, dropped: bool) -> None:
        self._turns.release()
        if connection is None:
            return
        self._busy.discard(connection)
        if dropped or self._is_closed:
            connection.drop()
        elif connection.finish():
            kept = self._idle.setdefault(origin, deque())
            kept.append((asyncio.get_running_loop().time(), connection))

    def _idle_connection(self, origin: _Origin) -> Connection | None:
        kept = self._idle.get(origin)
        if not kept:
            return None
        oldest_s = asyncio.get_running_loop().time() - self._keepalive_s
        while kept and kept[0][0] < oldest_s:
            kept.popleft()[1].drop()
        while kept:
            _, connection = kept.pop()
            if connection.is_quiet():
                return connection
            connection.drop()
        return None

    async def _connect(self, origin: _Origin, timeout_s: float | None) -> Connection:
        scheme, host, port = origin
        if scheme not in _DEFAULT_PORT or (scheme == "https" and self._tls is None):
            raise httpx.UnsupportedProtocol(f"{scheme} is not spoken here")
        try:
            async with asyncio.timeout(timeout_s):
                _, connection = await asyncio.get_running_loop().create_connection(
                    Connection,
                    host,
                    _DEFAULT_PORT[scheme] if port is None else port,
                    ssl=self._tls if scheme == "https" else None,
                    happy_eyeballs_delay=_NEXT_ADDRESS_S,
                )
        except TimeoutError as exc:
            raise httpx.ConnectTimeout("No connection in time") from exc
        except Exception as exc:  # OSError, ValueError for a bad name, IndexError of the race
            raise httpx.ConnectError(str(exc)) from exc
        return connection


class _Body(httpx.AsyncByteStream):
    """A response's body; gives the connection back when it is closed, read or not."""

    def __init__(self, transport: Http1Transport, origin: _Origin, connection: Connection) -> None:
        self._transport = transport
        self._origin = origin
        self._connection: Connection | None = connection
        self._is_complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._connection is not None and not self._is_complete:
            data = await self._connection.data()
            if data is None:
                self._is_complete = True
                return
            yield data

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport.release(self._origin, connection)
