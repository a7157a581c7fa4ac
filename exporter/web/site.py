"""The pages: metrics, health, status. Plain text but for the status page; GET and HEAD alone."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from exporter.clock import Clock
from exporter.metrics.exposition import content_type_for, render
from exporter.web import page
from exporter.web.answers import SharedAnswers
from exporter.web.view import Readiness, StatusView

_PAGE: Final = "page"


class Site:
    """Answers requests from what it is handed; `app` is the ASGI application."""

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        readiness: Callable[[], Readiness],
        status: Callable[[], StatusView],
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._readiness = readiness
        self._status = status
        self._answers = SharedAnswers(clock=clock)
        self.app = Starlette(
            routes=[
                Route("/", self._page),
                Route("/metrics", self._metrics),
                Route("/-/healthy", self._healthy),
                Route("/-/ready", self._ready),
            ],
            exception_handlers={HTTPException: _refusal},
        )
        # A redirect would trust the Host header.
        self.app.router.redirect_slashes = False

    async def _metrics(self, request: Request) -> Response:
        accept = ",".join(request.headers.getlist("accept"))
        return await self._answers.answer(
            request,
            key=content_type_for(accept),
            render=lambda: render(self._registry, accept),
            headers={},
        )

    async def _healthy(self, _: Request) -> Response:
        return PlainTextResponse("Healthy\n")

    async def _ready(self, _: Request) -> Response:
        reasons = self._readiness().reasons
        if not reasons:
            return PlainTextResponse("Ready\n")
        # One a line, whatever an error message holds.
        text = "".join(f"{' '.join(reason.split())}\n" for reason in reasons)
        return PlainTextResponse(text, HTTPStatus.SERVICE_UNAVAILABLE)

    async def _page(self, request: Request) -> Response:
        return await self._answers.answer(
            request,
            key=_PAGE,
            render=lambda: (page.render(self._status()), page.CONTENT_TYPE),
            headers={"content-security-policy": page.security_policy()},
        )


async def _refusal(_: Request, error: Exception) -> Response:
    """404 and 405, in plain text."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    text = f"{HTTPStatus(error.status_code).phrase}\n"
    return PlainTextResponse(text, error.status_code, error.headers)
