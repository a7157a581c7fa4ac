"""What is served at which path: metrics, health, pages. GET and HEAD alone.

Every request passes the same middleware: size, password, compression.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.errors import LedgerError
from exporter.metrics.collector import Metrics, encoder_for
from exporter.web.auth import BasicAuthBackend, refuse
from exporter.web.pages import render_page, render_refusal
from exporter.web.protocol import WebLimits

# Below this a packet is saved at best.
_GZIP_MIN_BYTES: Final = 1400
_GZIP_LEVEL: Final = 5
_NO_RUN: Final = "No such run: it has not ended, was never counted, or retention has let go of it"

Page = Mapping[str, Any]


def new_site(
    *,
    metrics: Metrics,
    not_ready: Callable[[], Sequence[str]],
    status: Callable[[], Awaitable[Page]],
    runs: Callable[[Mapping[str, str]], Awaitable[Page]],
    run: Callable[[str, str], Awaitable[Page | None]],
    users: Callable[[], Mapping[str, str]] = dict,
    limits: WebLimits | None = None,
) -> Starlette:
    """The application.

    `not_ready` gives the reasons against being ready, a sentence each; `status`, `runs` (by the
    URL's filters; raises ValueError for one that is none) and `run` (by agent and run id; None
    where there is no such run) what the page of that name shows; `users` bcrypt hashes by name,
    none to ask nobody.
    """
    style = (Path(__file__).parent / "style.css").read_bytes()

    scrapes = _Scrapes(metrics)
    pages = _Pages()

    async def show_metrics(request: Request) -> Response:
        accept = ",".join(request.headers.getlist("accept"))
        body, content_type = await scrapes.render(accept)
        return Response(body, headers={"content-type": content_type, "vary": "Accept"})

    async def show_health(_: Request) -> Response:
        return PlainTextResponse("Healthy\n")

    async def show_readiness(_: Request) -> Response:
        reasons = not_ready()
        if not reasons:
            return PlainTextResponse("Ready\n")
        # One a line, whatever an error message holds.
        text = "".join(f"{' '.join(reason.split())}\n" for reason in reasons)
        return PlainTextResponse(text, HTTPStatus.SERVICE_UNAVAILABLE)

    async def show_status(request: Request) -> Response:
        return await pages.render(request, "status.html", await status())

    async def show_runs(request: Request) -> Response:
        return await pages.answer(request, "runs.html", runs(request.query_params))

    async def show_run(request: Request) -> Response:
        return await pages.answer(request, "run.html", run(*_ids_of(request)))

    async def show_style(_: Request) -> Response:
        return Response(style, media_type="text/css")

    limits = limits or WebLimits()
    app = Starlette(
        routes=[
            Route("/", show_status),
            Route("/runs", show_runs),
            Route("/runs/{agent}/{run:path}", show_run),
            Route("/metrics", show_metrics),
            Route("/-/healthy", show_health),
            Route("/-/ready", show_readiness),
            Route("/style.css", show_style),
        ],
        middleware=[
            Middleware(_SizeLimit, limits=limits),
            Middleware(AuthenticationMiddleware, backend=BasicAuthBackend(users), on_error=refuse),
            Middleware(GZipMiddleware, minimum_size=_GZIP_MIN_BYTES, compresslevel=_GZIP_LEVEL),
        ],
    )
    # A redirect would trust the Host header.
    app.router.redirect_slashes = False
    return app


def _ids_of(request: Request) -> tuple[str, str]:
    """Agent and run of a path, as they were before they were quoted: an id may hold a slash."""
    raw_path: bytes = request.scope["raw_path"]
    agent_id, _, run_id = raw_path.decode("ascii").removeprefix("/runs/").partition("/")
    return unquote(agent_id), unquote(run_id)


class _Scrapes:
    """Renders in a thread, one text at a time, and once for all requests that wait for the next.

    With a thousand agents a rendering takes a second: a crowd of scrapers must not be a crowd of
    renderings, and none stops the event loop.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._turn = asyncio.Lock()
        self._coming: dict[str, asyncio.Task[bytes]] = {}

    async def render(self, accept: str) -> tuple[bytes, str]:
        encode, content_type = encoder_for(accept)
        task = self._coming.get(content_type)
        if task is None:
            task = asyncio.create_task(self._render(encode, content_type))
            self._coming[content_type] = task
        return await asyncio.shield(task), content_type

    async def _render(self, encode: Callable[[Collector], bytes], content_type: str) -> bytes:
        async with self._turn:
            # From here on a request is too late: it must see what happened before it came.
            del self._coming[content_type]
            return await asyncio.to_thread(encode, self._metrics.snapshot())


class _Pages:
    """Renders in a thread, one at a time: with a thousand agents a page takes half a second."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def render(self, request: Request, template: str, page: Page) -> Response:
        async with self._turn:
            return await asyncio.to_thread(render_page, request, template, page)

    async def answer(
        self, request: Request, template: str, asked: Awaitable[Page | None]
    ) -> Response:
        """A page, or why there is none."""
        try:
            page = await asked
        except ValueError as error:
            return render_refusal(request, HTTPStatus.BAD_REQUEST, str(error))
        except LedgerError as error:
            return render_refusal(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        if page is None:
            return render_refusal(request, HTTPStatus.NOT_FOUND, _NO_RUN)
        return await self.render(request, template, page)


class _SizeLimit:
    """Refuses long targets and headers that came in one piece, which the parser lets pass."""

    def __init__(self, app: ASGIApp, limits: WebLimits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        # As they were sent: each line has a colon, a space and its end.
        size = sum(len(name) + len(value) + 4 for name, value in Headers(scope=scope).raw)
        if len(scope["raw_path"]) + len(scope["query_string"]) > self._limits.target_bytes:
            app = PlainTextResponse("URI Too Long\n", 414)
        elif size > self._limits.header_bytes:
            app = PlainTextResponse("Request Header Fields Too Large\n", 431)
        await app(scope, receive, send)
