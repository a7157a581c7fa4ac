"""The simulated Conduit behind httpx, without sockets: for tests and simulated days.

Fails the way httpx's own transport does: the same exceptions at the same moments, after waiting as
long as the request's timeouts say.
"""

from collections.abc import AsyncIterator
from random import Random
from typing import Final, NoReturn

import httpx

from exporter.clock import Clock
from exporter.demo.answers import Failure, SimResponse
from exporter.demo.conduit import SimulatedConduit

_PATIENCE_S: Final = 24 * 3600.0  # without a timeout, a silent peer is waited for this long


class SimulatedTransport(httpx.AsyncBaseTransport):
    """Sends requests to a `SimulatedConduit`; each takes between the two latencies, evenly spread.

    Half of the latency passes before the request is read, so data changes under way.
    """

    def __init__(
        self,
        conduit: SimulatedConduit,
        *,
        clock: Clock,
        rng: Random,
        latency_s: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self._conduit = conduit
        self._clock = clock
        self._rng = rng
        self._latency_s = latency_s

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeouts = request.extensions.get("timeout", {})
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        latency_s = self._rng.uniform(*self._latency_s) if self._latency_s[1] else 0.0
        if latency_s:
            await self._clock.sleep(latency_s / 2)
        asked_ns = self._clock.now_ns()
        # httpx's headers find names in any case, so they serve as they are.
        response = self._conduit.handle(request.method, path, query, request.headers)
        if response.failure is not None and response.stream is None and not response.body:
            await self._fail(response.failure, timeouts, request)
        if latency_s or response.latency_s:
            patience_s = timeouts.get("read") or _PATIENCE_S
            if latency_s / 2 + response.latency_s > patience_s:
                self._conduit.asked.note_lost(response, asked_ns)
                await self._fail(Failure.READ_TIMEOUT, timeouts, request)
            await self._clock.sleep(latency_s / 2 + response.latency_s)
        headers = response.headers
        if response.stream is None and "content-length" not in headers:
            headers = {**headers, "content-length": str(len(response.body))}
        return httpx.Response(
            response.status,
            headers=headers,
            stream=_Body(self, response, timeouts, request),
            extensions={"http_version": b"HTTP/1.1"},
            request=request,
        )

    async def _fail(
        self, failure: Failure, timeouts: dict[str, float | None], request: httpx.Request
    ) -> NoReturn:
        match failure:
            case Failure.CONNECT_ERROR:
                raise httpx.ConnectError("All connection attempts failed", request=request)
            case Failure.CONNECT_TIMEOUT:
                await self._clock.sleep(timeouts.get("connect") or _PATIENCE_S)
                raise httpx.ConnectTimeout("", request=request)
            case Failure.READ_TIMEOUT:
                await self._clock.sleep(timeouts.get("read") or _PATIENCE_S)
                raise httpx.ReadTimeout("", request=request)
            case Failure.DISCONNECT:
                raise httpx.RemoteProtocolError(
                    "Server disconnected without sending a response.", request=request
                )


class _Body(httpx.AsyncByteStream):
    """A body that ends where its content-length says, or goes wrong there."""

    def __init__(
        self,
        transport: SimulatedTransport,
        response: SimResponse,
        timeouts: dict[str, float | None],
        request: httpx.Request,
    ) -> None:
        self._transport = transport
        self._response = response
        self._timeouts = timeouts
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        response = self._response
        claimed = response.headers.get("content-length")
        left = None if claimed is None else int(claimed)
        for chunk in response.chunks():
            if left is not None and len(chunk) >= left:
                yield chunk[:left]
                return
            if left is not None:
                left -= len(chunk)
            yield chunk
        if response.failure is Failure.READ_TIMEOUT:
            await self._transport._fail(  # noqa: SLF001 - one class in two parts
                response.failure, self._timeouts, self._request
            )
        if response.failure is not None or left:
            raise httpx.RemoteProtocolError(
                "peer closed connection without sending complete message body",
                request=self._request,
            )
