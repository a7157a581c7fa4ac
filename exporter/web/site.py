"""What is served at which path: metrics, health, pages. GET and HEAD alone.

Every request passes the same middleware: size, password, compression.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter.metrics.collector import render
from exporter.web.auth import BasicAuthBackend, refuse
from exporter.web.pages import render_page, status_page
from exporter.web.protocol import WebLimits

# Below this a packet is saved at best.
_GZIP_MIN_BYTES: Final = 1400
_GZIP_LEVEL: Final = 5

Status = Callable[[], Mapping[str, Any]]


def new_site(
    *,
    registry: CollectorRegistry,
    not_ready: Callable[[], Sequence[str]],
    status: Status,
    users: Callable[[], Mapping[str, str]] = dict,
    limits: WebLimits | None = None,
) -> Starlette:
    """The application.

    `not_ready` gives the reasons against being ready, a sentence each; `status` what the status
    page shows (see templates/status.html); `users` bcrypt hashes by name, none to ask nobody.
    """
    style = (Path(__file__).parent / "style.css").read_bytes()

    async def show_metrics(request: Request) -> Response:
        accept = ",".join(request.headers.getlist("accept"))
        body, content_type = render(registry, accept)
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
        return render_page(request, "status.html", status_page(status()))

    async def show_style(_: Request) -> Response:
        return Response(style, media_type="text/css")

    limits = limits or WebLimits()
    app = Starlette(
        routes=[
            Route("/", show_status),
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
