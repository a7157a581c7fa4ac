"""The one module that opens HTTP connections: httpx's AsyncClient, for Conduit and for OTLP.

One call is one exchange with an end: a deadline for all of it, a bound on its body. It follows no
redirect, keeps no cookie, takes no proxy from the environment, always verifies TLS, and repeats no
request, but for one that met connections which the server had closed while they were idle.
"""

import asyncio
import gzip
import io
import logging
import math
import os
import ssl
import zlib
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final, cast

import certifi
import httpx

from exporter import __version__
from exporter.errors import ConfigError, HttpError, HttpNoAnswer, HttpUnreachable, quote
from exporter.times import http_date_to_ns

# Longer than a poll interval, so that the next poll needs no new TLS handshake, and shorter than
# the 60 s after which load balancers commonly close.
_KEEPALIVE_S: Final = 55.0
# For TCP and for TLS each, as a share of the whole time. Left to the deadline alone, httpcore would
# leave the socket of a handshake open.
_MAX_CONNECT_S: Final = 10.0
_CONNECT_SHARE: Final = 0.45
# What a server may ask for at most; anything longer is a mistake or an attack.
MAX_RETRY_AFTER_S: Final = 3600.0

# How a connection ends that the server had closed; OSError is what TLS raises past httpx.
_CLOSED: Final = (httpx.RemoteProtocolError, httpx.NetworkError, OSError)
_FOREIGN: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer to a request, its body decoded.

    `problem` says why the body is not all that was sent, where it is not: it is too large, cannot
    be decoded, or broke off under a status that is no success. Whoever shows an answer shows
    nothing of its body: guests' words stand in it.
    """

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)
    problem: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return httpx.codes.is_success(self.status)


FileState = tuple[int, int, int] | None


def file_state(path: Path | None) -> FileState:
    """What tells one content of a file from the next; None where there is no file."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ino, found.st_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The PEM files of TLS: the authorities to trust instead of the system's, and who we are."""

    ca: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None

    def states(self) -> tuple[FileState, ...]:
        """What tells these files from what they hold later."""
        return tuple(map(file_state, (self.ca, self.client_certificate, self.client_key)))

    def context(self) -> ssl.SSLContext:
        """A context that verifies; raises ConfigError for a file that cannot be used."""
        # Slim images come without authorities.
        cafile = self.ca or (None if _system_trusts() else certifi.where())
        try:
            context = ssl.create_default_context(cafile=cafile)
        except OSError as exc:  # ssl.SSLError is one of them
            raise _unusable("CA", self.ca, exc) from exc
        if self.client_certificate is not None:
            try:
                # An encrypted key fails instead of asking a terminal for its password.
                context.load_cert_chain(self.client_certificate, self.client_key, password="")
            except OSError as exc:
                raise _unusable("client certificate", self.client_certificate, exc) from exc
        return context


def _system_trusts() -> bool:
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile) or (bool(paths.capath) and any(os.scandir(paths.capath)))


def _unusable(kind: str, path: Path | None, exc: OSError) -> ConfigError:
    return ConfigError([f"The {kind} file {path} cannot be used: {exc.strerror or exc}"])


class HttpClient:
    """Makes requests to one service, each within `timeout_s` from the first byte to the last.

    `proxy` is the URL of an HTTP proxy. Without `tls` nobody is trusted: https then fails. Its
    files are read again when they have changed; one that cannot be used then leaves the last ones
    in force, with a warning. An injected `transport` replaces the network, and is closed with the
    client. Raises ConfigError for TLS files that cannot be used.
    """

    def __init__(
        self,
        *,
        timeout_s: float,
        max_connections: int,
        tls: TlsFiles | None = None,
        proxy: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._max_connections = max_connections
        self._tls = tls
        self._proxy = proxy
        self._transport = transport
        self._tls_states = None if tls is None else tls.states()
        self._client = self._open_client()
        # Requests under way, also those of a client that was replaced meanwhile.
        self._under_way: Counter[httpx.AsyncClient] = Counter()

    async def request(
        self,
        method: str,
        url: str,
        *,
        max_body_bytes: int,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> HttpAnswer:
        """Send one request, which must be safe to repeat, and read its answer.

        Of the body at most `max_body_bytes` are read, on the wire or decoded. Raises
        HttpUnreachable, HttpNoAnswer, and HttpError where it cannot be sent.
        """
        await self._renew_for_new_files()
        request = {
            "method": method,
            "url": url,
            "params": params,
            "headers": headers,
            "content": content,
        }
        attempt = _Attempt()
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    try:
                        return await self._send(attempt, request, max_body_bytes)
                    except _CLOSED:
                        if not attempt.met_closed_connection:
                            raise
                    # That connection is gone: at the latest after all idle ones comes a new one.
                    attempt = _Attempt()
        except _FOREIGN as exc:  # asyncio's TimeoutError is an OSError
            if attempt.answer is not None and not attempt.answer.is_success:
                return attempt.answer  # its status says enough
            raise attempt.error(exc, self._timeout_s) from exc

    async def aclose(self) -> None:
        """Close the connections; requests under way fail."""
        for client in {self._client, *self._under_way}:
            await client.aclose()

    async def _send(self, attempt: "_Attempt", request: Any, max_body_bytes: int) -> HttpAnswer:
        client = self._client
        if client.is_closed:
            raise HttpUnreachable("the connections were closed")
        self._under_way[client] += 1
        try:
            extensions = {"trace": attempt.trace}
            async with client.stream(**request, extensions=extensions) as response:
                status, headers = response.status_code, response.headers
                attempt.answer = HttpAnswer(status, headers, b"", "the answer was cut short")
                body, problem = await _read_body(response, max_body_bytes)
                return HttpAnswer(status, headers, body, problem)
        finally:
            self._under_way[client] -= 1
            await self._close_if_replaced(client)

    async def _renew_for_new_files(self) -> None:
        """Use new connections once a TLS file has changed; the old ones serve what is under way."""
        if self._tls is None or (states := self._tls.states()) == self._tls_states:
            return
        self._tls_states = states
        old = self._client
        try:
            self._client = self._open_client()
        except ConfigError as exc:
            _logger.warning("%s; the last usable one stays in force", exc)
            return
        await self._close_if_replaced(old)

    async def _close_if_replaced(self, client: httpx.AsyncClient) -> None:
        if not self._under_way[client] and client is not self._client:
            del self._under_way[client]
            await client.aclose()

    def _open_client(self) -> httpx.AsyncClient:
        connect_s = min(_MAX_CONNECT_S, _CONNECT_SHARE * self._timeout_s)
        return httpx.AsyncClient(
            transport=self._transport or self._open_transport(),
            trust_env=False,
            timeout=httpx.Timeout(None, connect=connect_s),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            headers={
                "user-agent": f"conduit-exporter/{__version__}",
                "accept-encoding": "gzip",
            },
        )

    def _open_transport(self) -> httpx.AsyncHTTPTransport:
        context = (
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self._tls is None else self._tls.context()
        )
        proxy = None if self._proxy is None else httpx.Proxy(self._proxy)
        if proxy is not None and proxy.url.scheme == "https":
            proxy.ssl_context = context
        return httpx.AsyncHTTPTransport(
            verify=context,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=self._max_connections, keepalive_expiry=_KEEPALIVE_S
            ),
            proxy=proxy,
        )


def parse_retry_after(headers: httpx.Headers, *, now_ns: int) -> tuple[float | None, bool]:
    """The seconds that Retry-After asks for, the longest of several, and whether that is absurd.

    An hour at most; None where it asks for nothing that can be. A date counts from the answer's own
    Date where there is one, so that a clock which is wrong here or there does no harm.
    """
    sent_ns = http_date_to_ns(headers.get("date", "")) or now_ns
    asked: list[float] = []
    for line in headers.get_list("retry-after"):
        until_ns = http_date_to_ns(line)
        if until_ns is not None:
            asked.append((until_ns - sent_ns) / 1e9)
            continue
        for part in line.replace("_", "?").split(","):
            with suppress(ValueError):
                asked.append(float(part))
    seconds = max((one for one in asked if not math.isnan(one)), default=-1.0)
    if seconds < 0:
        return None, "retry-after" in headers
    return min(seconds, MAX_RETRY_AFTER_S), seconds > MAX_RETRY_AFTER_S


class _Attempt:
    """How far one attempt of a request came, and what that makes of its failure."""

    def __init__(self) -> None:
        # Of the answer, once it has begun: its status and headers.
        self.answer: HttpAnswer | None = None
        self._is_connecting = False
        self._is_sent = False

    @property
    def met_closed_connection(self) -> bool:
        """Whether the request went over a connection that was open before, and nothing came.

        An injected transport tells nothing of its connections: then never.
        """
        return self._is_sent and not self._is_connecting and self.answer is None

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Hear from httpcore what it does (its documented "trace" extension)."""
        if event == "connection.connect_tcp.started":
            self._is_connecting = True
        elif event == "http11.send_request_headers.started":
            # A CONNECT only asks a proxy for the connection.
            self._is_sent = info["request"].method != b"CONNECT"

    def error(self, exc: Exception, timeout_s: float) -> HttpError:
        """What a foreign exception means."""
        if isinstance(exc, httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.InvalidURL):
            # Its text may quote a header.
            return HttpError(f"the request cannot be sent ({type(exc).__name__})")
        if isinstance(exc, TimeoutError | httpx.TimeoutException):
            is_connecting = self._is_connecting and not self._is_sent
            if is_connecting or isinstance(exc, httpx.ConnectTimeout):
                return HttpUnreachable("no connection in time")
            return HttpNoAnswer(f"no answer within {timeout_s:g} s")
        if isinstance(exc, httpx.ConnectError | httpx.ProxyError):
            return HttpUnreachable(f"no connection: {_reason(exc)}")
        if isinstance(exc, httpx.RemoteProtocolError) and self.answer is not None:
            return HttpNoAnswer("the answer was cut short")
        return HttpNoAnswer(f"the connection broke: {_reason(exc)}")


async def _read_body(response: httpx.Response, max_bytes: int) -> tuple[bytes, str | None]:
    """The decoded body, or as much as may be read of it and what is wrong with it.

    httpx itself would decode one member of gzip alone, and without a bound.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        return b"", "the answer is in a content encoding that was not asked for"
    body, problem = bytearray(), None
    # Not `aiter_raw`: it refuses the answers of httpx.MockTransport, which are read already.
    async for chunk in cast("httpx.AsyncByteStream", response.stream):
        body += chunk
        if len(body) > max_bytes:
            problem = f"the answer is larger than {max_bytes} bytes"
            break
    if "gzip" in encoding:
        body, damage = _gunzip(body, max_bytes)
        problem = problem or damage
    # In place: a copy of a large body is as large.
    del body[max_bytes:]
    return bytes(body), problem


def _gunzip(received: bytearray, max_bytes: int) -> tuple[bytearray, str | None]:
    body = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(received)) as file:
            while piece := file.read1():
                body += piece
                if len(body) > max_bytes:
                    return body, f"the answer is larger than {max_bytes} bytes"
    except EOFError:
        return body, "the answer's gzip encoding was cut short"
    except (OSError, zlib.error):
        return body, "the answer's gzip encoding is damaged"
    return body, None


def _reason(exc: BaseException) -> str:
    """The words of the deepest cause that has any: httpx's own are often empty or general."""
    said = type(exc).__name__
    cause: BaseException | None = exc
    while cause is not None:
        said = str(cause) or said
        if isinstance(cause, ExceptionGroup):
            cause = cause.exceptions[0]
        else:
            cause = cause.__cause__ or cause.__context__
    return quote(said)
