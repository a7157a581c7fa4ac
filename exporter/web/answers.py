"""Answers that are worth sharing: rendered once for everybody who asks at the same time.

A crowd of scrapers must not turn into a crowd of renderings, nor a slow reader into a copy of its
own. Nothing is kept once it is no longer fresh and nobody reads it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from exporter.clock import Clock
from exporter.web.encoding import WORTHWHILE_BYTES, compressed, takes_gzip

# An answer stays fresh for so many times as long as it took to render: one that is made in
# milliseconds is as good as new, and rendering never takes more than a fifth of a processor.
_FRESH_FOR: Final = 4.0
# What a connection holds unsent is a piece, not the whole answer.
_PIECE_BYTES: Final = 64 * 1024


@dataclass(slots=True, eq=False)
class Rendering:
    """A body, its type, and its gzip once somebody asked for it."""

    body: bytes
    content_type: str
    _packed: bytes | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def packed(self, *, clock: Clock) -> bytes:
        """The body as gzip, compressed at most once."""
        async with self._turn:
            if self._packed is None:
                self._packed = await compressed(self.body, clock=clock)
            return self._packed


class SharedAnswers:
    """Renders what is asked for, unless a rendering of it is still fresh."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._fresh: dict[str, Rendering] = {}

    async def answer(
        self,
        request: Request,
        *,
        key: str,
        render: Callable[[], tuple[bytes, str]],
        headers: dict[str, str],
    ) -> Response:
        """An answer to `request`; `render` gives a body and its type, one for each `key`."""
        rendering = self._fresh.get(key) or self._render(key, render)
        headers = {**headers, "vary": "Accept, Accept-Encoding"}
        body = rendering.body
        accepted = ",".join(request.headers.getlist("accept-encoding"))
        if len(body) >= WORTHWHILE_BYTES and takes_gzip(accepted):
            body = await rendering.packed(clock=self._clock)
            headers["content-encoding"] = "gzip"
        return _PiecewiseResponse(body, headers={**headers, "content-type": rendering.content_type})

    def _render(self, key: str, render: Callable[[], tuple[bytes, str]]) -> Rendering:
        begun_s = self._clock.monotonic_s()
        rendering = Rendering(*render())
        took_s = self._clock.monotonic_s() - begun_s
        self._fresh[key] = rendering
        asyncio.get_running_loop().call_later(_FRESH_FOR * took_s, self._fresh.pop, key, None)
        return rendering


class _PiecewiseResponse(Response):
    """An answer that is handed over piece by piece, as fast as its client reads."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        body = bytes(self.body)
        for start in range(0, len(body), _PIECE_BYTES):
            piece = body[start : start + _PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
