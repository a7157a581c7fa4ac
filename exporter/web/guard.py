"""What every request passes before it is answered: limits, rate, password, and the headers.

Honours the web config file for every path, health included, as Prometheus' exporter-toolkit does.
Never reads a request's body: none of what is served takes one.
"""

from collections.abc import Iterable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from math import ceil
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.clock import Clock
from exporter.web.auth import BasicAuth, Executor, Verdict
from exporter.web.config import RateLimit, WebConfig
from exporter.web.config_file import WebConfigFile
from exporter.web.connections import WebLimits
from exporter.web.rate import TokenBucket

# An answer's own headers stand above these, those of the web config file above both.
_HEADERS: Final[Mapping[str, str]] = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "deny",
}
_CHALLENGE: Final = 'Basic realm="conduit-exporter", charset="UTF-8"'


class Guard:
    """An ASGI application in front of another one."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        config_file: WebConfigFile,
        limits: WebLimits,
        clock: Clock,
        executor: Executor,
    ) -> None:
        self._app = app
        self._config_file = config_file
        self._limits = limits
        self._clock = clock
        self._auth = BasicAuth(executor=executor)
        self._bucket: TokenBucket | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._config_file.refresh()
        config = self._config_file.config

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(message, config)
            await send(message)

        refusal = await self._refusal(scope, config)
        app = self._app if refusal is None else refusal
        await app(scope, receive, send_with_headers)

    async def _refusal(self, scope: Scope, config: WebConfig) -> Response | None:
        """Why the request is not answered, None if it is."""
        headers = Headers(scope=scope)
        status = self._limit_passed(scope, headers)
        if status is not None:
            return _refuse(status)
        if config.rate_limit is not None and not self._is_in_time(config.rate_limit):
            pause_s = ceil(config.rate_limit.interval_s)
            return _refuse(HTTPStatus.TOO_MANY_REQUESTS, {"retry-after": str(pause_s)})
        if config.users:
            verdict = await self._auth.judge(headers.get("authorization", ""), config.users)
            if verdict is Verdict.BUSY:
                return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, {"retry-after": "1"})
            if verdict is Verdict.DENIED:
                return _refuse(HTTPStatus.UNAUTHORIZED, {"www-authenticate": _CHALLENGE})
        return None

    def _limit_passed(self, scope: Scope, headers: Headers) -> HTTPStatus | None:
        # The parser looks at what is incomplete alone: a header that came whole may be longer.
        if _size_of(headers.raw) > self._limits.header_bytes:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        if len(scope["raw_path"]) + len(scope["query_string"]) > self._limits.target_bytes:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        if "transfer-encoding" in headers or headers.get("content-length", "0").strip("0"):
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return None

    def _is_in_time(self, limit: RateLimit) -> bool:
        if self._bucket is None or self._bucket.limit != limit:
            self._bucket = TokenBucket(limit, clock=self._clock)
        return self._bucket.take()

    def _add_headers(self, message: Message, config: WebConfig) -> None:
        headers = MutableHeaders(raw=list(message.get("headers", ())))
        headers["date"] = formatdate(self._clock.now_ns() / 1e9, usegmt=True)
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        for name, value in config.headers.items():
            headers[name] = value
        message["headers"] = headers.raw


def _refuse(status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{status.phrase}\n", status.value, headers)


def _size_of(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """As they were sent: each line has a colon, a space and its end."""
    return sum(len(name) + len(value) + 4 for name, value in headers)
