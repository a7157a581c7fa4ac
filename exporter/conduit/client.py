"""The client of the Conduit API: one call is one request.

The only module that knows a path. It maps whatever goes wrong onto SourceError, once; nothing is
retried, paced or followed here: which request is worth making, and when, is the sync stage's
business. What the other end wrote is quoted short, escaped, without the token and the proxy's
credentials.
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote as percent_encode

import httpx

from exporter.clock import Clock
from exporter.conduit import models
from exporter.conduit.decoding import decode_json
from exporter.conduit.models import Agent, Page, Run, RunDetail, Unreadable, Workspace
from exporter.conduit.token import TokenSource
from exporter.errors import (
    HttpError,
    HttpNoAnswer,
    HttpUnreachable,
    SourceError,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    SourceRateLimited,
    SourceRejected,
    SourceUnauthorized,
    SourceUnavailable,
    SourceUnreachable,
    quote,
    url_secrets,
)
from exporter.http_client import HttpAnswer, HttpClient, TlsFiles, parse_retry_after
from exporter.times import http_date_to_ns

# The most rows that the API puts on a page.
MAX_PAGE_ROWS: Final = 100
MAX_BODY_BYTES: Final = 8 * 1024 * 1024

_MAX_CONNECTIONS: Final = 64

# `code` of a request without a whole answer.
NO_ANSWER: Final = "error"
CANCELLED: Final = "cancelled"

_ELSEWHERE: Final = "is a proxy in the way, or CONDUIT_BASE_URL wrong?"
_UNTRUSTED: Final = (
    "the certificate is not signed by an authority that is trusted here, or not valid: "
    "see CONDUIT_CA_FILE"
)
_WEB_PAGES: Final = ("text/html", "application/xhtml")
_UNKNOWN: Final = (SourceNotFound, "The Conduit API does not know what was asked for")
_MEANINGS: Final[dict[int, tuple[type[SourceError], str]]] = {
    HTTPStatus.UNAUTHORIZED: (SourceUnauthorized, "The Conduit API does not accept the token"),
    HTTPStatus.FORBIDDEN: (SourceForbidden, "The token has no access to what was asked for"),
    HTTPStatus.NOT_FOUND: _UNKNOWN,
    HTTPStatus.GONE: _UNKNOWN,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: (SourceUnreachable, "A proxy asks for credentials"),
}


class Endpoint(StrEnum):
    """What is asked for; the values are those of a metric label."""

    WORKSPACES = "workspaces"
    AGENTS = "agents"
    AGENT = "agent"
    RUNS = "runs"
    RUN = "run"


Observe = Callable[[Endpoint, str, float], None]


class ConduitClient:
    """Reads workspaces, agents and runs.

    A request takes at most `timeout_s` in all; its body at most `max_body_bytes`, on the wire and
    decoded. `observe` is called once for each request, with the endpoint, the status (or why there
    was none) and the seconds. An injected `transport` replaces the network. Every method raises
    SourceError and nothing else, except when cancelled; the constructor raises ConfigError.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: TokenSource,
        clock: Clock,
        observe: Observe,
        proxy: str | None = None,
        ca_file: Path | None = None,
        timeout_s: float = 30.0,
        max_body_bytes: int = MAX_BODY_BYTES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base = base_url.rstrip("/") + "/v1/"
        self._token = token
        self._clock = clock
        self._observe = observe
        self._max_body_bytes = max_body_bytes
        self._proxy_secrets = url_secrets(proxy or "")
        is_secure = any(url.lower().startswith("https:") for url in (base_url, proxy or ""))
        self._http = HttpClient(
            timeout_s=timeout_s,
            max_connections=_MAX_CONNECTIONS,
            tls=TlsFiles(ca=ca_file) if is_secure else None,
            proxy=proxy,
            transport=transport,
        )

    async def workspaces_page(self, cursor: str | None = None) -> Page[Workspace]:
        """A page of the workspaces that the token may see."""
        return await self._page(
            Endpoint.WORKSPACES, "workspaces", models.parse_workspace, cursor=cursor
        )

    async def agents_page(self, workspace_id: str, cursor: str | None = None) -> Page[Agent]:
        """A page of a workspace's agents."""
        parse_row = partial(models.parse_agent, workspace_id=workspace_id)
        return await self._page(
            Endpoint.AGENTS, "agents", parse_row, workspace_id=workspace_id, cursor=cursor
        )

    async def agent(self, agent_id: str) -> Agent:
        """One agent, of whichever workspace."""
        body, _ = await self._get(Endpoint.AGENT, f"agents/{_segment(agent_id)}")
        agent = models.parse_agent(models.parse_item(body), workspace_id=None)
        if isinstance(agent, Unreadable):
            raise SourceMalformed("The answer is no agent: it lacks `id` or `workspace_id`")
        return agent

    async def runs_page(
        self,
        *,
        workspace_id: str,
        agent_id: str,
        limit: int = MAX_PAGE_ROWS,
        cursor: str | None = None,
        status: str | None = None,
    ) -> Page[Run]:
        """A page of an agent's runs as summaries, newest first."""
        return await self._page(
            Endpoint.RUNS,
            f"agents/{_segment(agent_id)}/runs",
            partial(models.parse_run, workspace_id=workspace_id, agent_id=agent_id),
            limit=limit,
            workspace_id=workspace_id,
            status=status,
            cursor=cursor,
        )

    async def run(self, *, workspace_id: str, agent_id: str, run_id: str) -> RunDetail | Unreadable:
        """One run with its trace; Unreadable where the run itself, not the answer, is at fault."""
        path = f"agents/{_segment(agent_id)}/runs/{_segment(run_id)}"
        body, _ = await self._get(Endpoint.RUN, path, workspace_id=workspace_id)
        detail = models.parse_run_detail(
            body, workspace_id=workspace_id, agent_id=agent_id, run_id=run_id
        )
        if isinstance(detail, RunDetail):
            answered = (detail.run.id, detail.run.backend_run_id)
        else:
            answered = (detail.run_id or run_id, "")
        if run_id not in answered:
            raise SourceMalformed("The answer is another run than the one asked for")
        return detail

    async def aclose(self) -> None:
        """Close the connections; requests under way fail."""
        await self._http.aclose()

    async def _page(
        self,
        endpoint: Endpoint,
        path: str,
        parse_row: Callable[[Any], models.T | Unreadable],
        *,
        limit: int = MAX_PAGE_ROWS,
        **query: str | None,
    ) -> Page[models.T]:
        body, date_ns = await self._get(endpoint, path, limit=limit, **query)
        return models.parse_page(body, parse_row, date_ns=date_ns)

    async def _get(
        self, endpoint: Endpoint, path: str, **query: str | int | None
    ) -> tuple[Any, int | None]:
        """The JSON value of an answer, and its date."""
        token = self._token.current()
        secrets = (token, *self._proxy_secrets)
        try:
            answer = await self._send(endpoint, path, token, query)
        except HttpError as exc:
            raise _failure(exc, secrets) from exc
        date_ns = http_date_to_ns(answer.headers.get("date", ""))
        if answer.status != HTTPStatus.OK:
            if answer.status == HTTPStatus.UNAUTHORIZED:
                self._token.invalidate()
            raise _refusal(answer, now_ns=self._clock.now_ns(), secrets=secrets)
        if answer.problem is not None:
            raise SourceMalformed(f"The Conduit API cannot be understood: {answer.problem}")
        try:
            return decode_json(answer.body), date_ns
        except SourceMalformed as exc:
            kind = quote(answer.headers.get("content-type", "no content type"), secrets)
            raise SourceMalformed(f"{exc.message} ({kind})", hint=_ELSEWHERE) from exc

    async def _send(
        self, endpoint: Endpoint, path: str, token: str, query: dict[str, str | int | None]
    ) -> HttpAnswer:
        code = NO_ANSWER
        started_s = self._clock.monotonic_s()
        try:
            answer = await self._http.request(
                "GET",
                self._base + path,
                params={name: value for name, value in query.items() if value is not None},
                headers={"accept": "application/json", "authorization": f"Bearer {token}"},
                max_body_bytes=self._max_body_bytes,
            )
            code = str(answer.status)
        except asyncio.CancelledError:
            code = CANCELLED
            raise
        finally:
            self._observe(endpoint, code, self._clock.monotonic_s() - started_s)
        return answer


def _failure(exc: HttpError, secrets: tuple[str, ...]) -> SourceError:
    """What it means that there is no whole answer."""
    said = quote(exc.message, secrets)
    if isinstance(exc, HttpUnreachable):
        hint = _UNTRUSTED if "CERTIFICATE_VERIFY_FAILED" in said else None
        return SourceUnreachable(f"The Conduit API cannot be reached: {said}", hint=hint)
    if isinstance(exc, HttpNoAnswer):
        return SourceUnavailable(f"The Conduit API did not answer: {said}")
    return SourceRejected(f"The Conduit API was not asked: {said}")


def _refusal(answer: HttpAnswer, *, now_ns: int, secrets: tuple[str, ...]) -> SourceError:
    """The error that an answer other than 200 stands for."""
    error: type[SourceError]
    status = answer.status
    text = _error_text(answer)
    said = f"{status}: {quote(text, secrets)}" if text else f"{status}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_after_s, absurd = parse_retry_after(answer.headers, now_ns=now_ns)
        return SourceRateLimited(
            f"The Conduit API asked for fewer requests ({said})",
            retry_after_s=retry_after_s,
            absurd=absurd,
        )
    hint = None
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        target = quote(answer.headers.get("location", "").split("?")[0], secrets)
        said = f"{status} to {target}" if target else f"{status}"
        error, message = SourceUnavailable, "The answer is a redirect, which is not followed"
        hint = _ELSEWHERE
    elif status in _MEANINGS:
        error, message = _MEANINGS[status]
    elif HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        error, message = SourceRejected, "The Conduit API rejected the request"
    else:
        error, message = SourceUnavailable, "The Conduit API cannot answer now"
    # Conduit's own errors are JSON: a page made for people comes from something in between, and
    # must not be taken for Conduit's word that a run is gone or a request wrong.
    is_web_page = answer.headers.get("content-type", "").strip().lower().startswith(_WEB_PAGES)
    if is_web_page and issubclass(error, SourceRejected):
        error, message = SourceUnavailable, "A web page came in place of Conduit's answer"
        hint = _ELSEWHERE
    return error(f"{message} ({said})", status=status, hint=hint)


def _error_text(answer: HttpAnswer) -> str | None:
    """What the API says about its refusal; where that cannot be read, the status says enough."""
    try:
        body = decode_json(answer.body)
    except SourceMalformed:
        return None
    text = body.get("error") if isinstance(body, dict) else None
    return text if isinstance(text, str) else None


def _segment(identifier: str) -> str:
    """An identifier as one segment of a path, whatever it holds."""
    if models.parse_id(identifier) is None:
        raise SourceRejected("This cannot be an identifier of Conduit", hint=quote(identifier))
    return percent_encode(identifier, safe="")
