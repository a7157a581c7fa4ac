"""OTLP over HTTP with protobuf bodies: one POST for each request, never redirected or proxied.

It speaks to httpx's transport seam: cookies, redirects, environment proxies and authentication
flows of a full HTTP client are not wanted. Nothing is retried here.
"""

import asyncio
import zlib
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Any, Final, cast

import httpx

from exporter import __version__
from exporter.clock import Clock
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.outcome import (
    MOST_ANSWER_BYTES,
    Outcome,
    Unavailable,
    outcome_of_http,
    outcome_of_no_answer,
)
from exporter.delivery.tls import tls_context
from exporter.errors import DeliveryError, quote

_KEEPALIVE_S: Final = 55.0
_CONNECTIONS: Final = 2
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
# Compressing is done in pieces of a millisecond or so: the event loop is shared with everybody.
_PIECE_BYTES: Final = 64 * 1024
# Connecting gets a little less than the whole time: a machine that does not answer must not look
# like one that received the request and said nothing.
_CONNECT_SHARE: Final = 0.9
# A refused client certificate is told three exceptions down.
_DEEPEST_CAUSE: Final = 8
# Nothing of these requests has left when they are raised.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class HttpSender:
    """Posts to one URL; takes over `transport` and closes it."""

    def __init__(
        self,
        endpoint: OtlpEndpoint,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Without `transport` one is opened.

        Raises DeliveryError for unusable certificates, and for an address that is none.
        """
        self.destination = endpoint.destination
        self._clock = clock
        try:
            self._url = httpx.URL(endpoint.target)
        except httpx.InvalidURL as exc:
            raise DeliveryError(
                f"{endpoint.destination} is no usable URL: {quote(str(exc))}",
                hint="OTEL_EXPORTER_OTLP_ENDPOINT",
            ) from exc
        self._transport = transport if transport is not None else _open_transport(endpoint)
        self._gzip = endpoint.gzip
        self._secrets = endpoint.secrets
        self._timeout_s = endpoint.timeout_s
        timeouts = dict.fromkeys(("read", "write"), endpoint.timeout_s)
        timeouts |= dict.fromkeys(("connect", "pool"), endpoint.timeout_s * _CONNECT_SHARE)
        self._extensions = {"timeout": timeouts}
        headers = {
            "user-agent": f"conduit-exporter/{__version__}",
            "accept-encoding": "identity",
            **dict(endpoint.headers),
            "content-type": "application/x-protobuf",
        }
        if self._gzip:
            headers["content-encoding"] = "gzip"
        self._headers = [(b"host", self._url.netloc)]
        self._headers += [(name.encode(), value.encode()) for name, value in headers.items()]

    async def send(self, payload: bytes) -> Outcome:
        """Send one request and read its answer, all of it within the endpoint's timeout."""
        response: httpx.Response | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await self._compressed(payload) if self._gzip else payload
                response = await self._transport.handle_async_request(self._request(body))
                return self._outcome(response, await _read_answer(response))
        except Exception as exc:  # noqa: BLE001 - whatever a transport raises, no trace is lost
            if response is not None and not _is_success(response):
                # The status says enough; what came with it is only for people.
                return self._outcome(response, None)
            return self._failure(exc)
        finally:
            if response is not None:
                await _close(response)

    async def aclose(self) -> None:
        """Close the connections; a request under way fails."""
        await self._transport.aclose()

    def _request(self, body: bytes) -> httpx.Request:
        # With a stream given, httpx adds no headers of its own.
        return httpx.Request(
            "POST",
            self._url,
            headers=[*self._headers, (b"content-length", b"%d" % len(body))],
            stream=httpx.ByteStream(body),
            extensions=self._extensions,
        )

    def _outcome(self, response: httpx.Response, body: bytes | None) -> Outcome:
        return outcome_of_http(
            response.status_code,
            response.headers,
            body,
            now_ns=self._clock.now_ns(),
            secrets=self._secrets,
        )

    def _failure(self, exc: Exception) -> Outcome:
        if isinstance(exc, TimeoutError | httpx.TimeoutException):
            reason = f"no answer within {self._timeout_s:g} s"
            return Unavailable(reason, answered=not isinstance(exc, _NOT_SENT))
        answered = not isinstance(exc, _NOT_SENT)
        what = "the connection broke" if answered else "no connection"
        said = _words(exc)
        return outcome_of_no_answer(
            f"{what}: {quote(said, self._secrets)}", said, answered=answered
        )

    async def _compressed(self, payload: bytes) -> bytes:
        """The payload as gzip without a time in it: equal payloads give equal bytes."""
        deflater = zlib.compressobj(zlib.Z_BEST_SPEED, zlib.DEFLATED, _GZIP_WINDOW)
        view = memoryview(payload)
        parts: list[bytes] = []
        for start in range(0, len(view), _PIECE_BYTES):
            parts.append(deflater.compress(view[start : start + _PIECE_BYTES]))
            await self._clock.sleep(0)
        parts.append(deflater.flush())
        return b"".join(parts)


def _open_transport(endpoint: OtlpEndpoint) -> httpx.AsyncHTTPTransport:
    limits = httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_KEEPALIVE_S)
    return httpx.AsyncHTTPTransport(verify=tls_context(endpoint), trust_env=False, limits=limits)


def _is_success(response: httpx.Response) -> bool:
    return HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES


def _words(exc: BaseException) -> str:
    """What is said of a failure: where httpx says nothing, what lies beneath may say it."""
    beneath: BaseException | None = exc
    for _ in range(_DEEPEST_CAUSE):
        if beneath is None:
            break
        if text := str(beneath):
            return text
        beneath = beneath.__cause__ or beneath.__context__
    return type(exc).__name__


async def _read_answer(response: httpx.Response) -> bytes | None:
    """The body, None where it is too large or its encoding cannot be read."""
    parts: list[bytes] = []
    received = 0
    # Transports give async generators; closing them here leaves none to the garbage collector.
    stream = cast("Any", response.stream).__aiter__()
    async with aclosing(stream):
        async for chunk in stream:
            received += len(chunk)
            if received > MOST_ANSWER_BYTES:
                return None
            parts.append(chunk)
    body = b"".join(parts)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity") or not body:
        return body
    return _inflated(body) if encoding in ("gzip", "x-gzip") else None


def _inflated(body: bytes) -> bytes | None:
    """The body of an answer in gzip, which some send without being asked."""
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        inflated = inflater.decompress(body, MOST_ANSWER_BYTES)
    except zlib.error:
        return None
    return inflated if inflater.eof else None


async def _close(response: httpx.Response) -> None:
    stream = response.stream
    if isinstance(stream, httpx.AsyncByteStream):
        # The answer is known by now; how its connection ends changes nothing.
        with suppress(Exception):
            await stream.aclose()
