"""The simulated Conduit behind httpx, without sockets: for tests and simulated days.

Fails with the exceptions of httpx's own transport.
"""

from collections.abc import AsyncIterator
from random import Random
from typing import Final, NoReturn

import httpx

from exporter.clock import Clock
from exporter.simulator.conduit import SimulatedConduit
from tests.simulation.faults import BrokenResponse, Failure

_NO_TIMEOUT_S: Final = 24 * 3600.0  # without a timeout, a silent peer is waited for this long


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
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        latency_s = self._rng.uniform(*self._latency_s) if self._latency_s[1] else 0.0
        if latency_s:
            await self._clock.sleep(latency_s / 2)
        # httpx's headers find names in any case, so they serve as they are.
        response = self._conduit.handle(request.method, path, query, request.headers)
        failure = response.failure if isinstance(response, BrokenResponse) else None
        if failure is not None and not response.body:
            await self._fail(failure, request)
        if latency_s:
            await self._clock.sleep(latency_s / 2)
        length = len(response.body) + (failure is not None)
        return httpx.Response(
            response.status,
            headers={"content-length": str(length), **response.headers},
            stream=_Body(response.body, is_cut=failure is not None),
            extensions={"http_version": b"HTTP/1.1"},
            request=request,
        )

    async def _fail(self, failure: Failure, request: httpx.Request) -> NoReturn:
        match failure:
            case Failure.CONNECT_ERROR:
                raise httpx.ConnectError("All connection attempts failed", request=request)
            case Failure.READ_TIMEOUT:
                timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
                await self._clock.sleep(timeouts.get("read") or _NO_TIMEOUT_S)
                raise httpx.ReadTimeout("", request=request)
            case Failure.DISCONNECT:
                raise httpx.RemoteProtocolError(
                    "Server disconnected without sending a response.", request=request
                )


class _Body(httpx.AsyncByteStream):
    """A body; one that is cut short ends as httpx's own does."""

    def __init__(self, body: bytes, *, is_cut: bool) -> None:
        self._body = body
        self._is_cut = is_cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
        if self._is_cut:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete body")
