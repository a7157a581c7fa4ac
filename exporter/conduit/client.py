"""The client of the Conduit API: one call is exactly one HTTP request.

Nothing is retried, paced, cached or followed here; the caller owns the request budget and hears of
each request through `observe`. It speaks to httpx's transport seam: cookies, redirects, proxies
and authentication flows of a full HTTP client are not wanted, and cost time.
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote as percent_encode

import httpx

from exporter import __version__
from exporter.clock import Clock
from exporter.conduit import parsing
from exporter.conduit.body import ACCEPTED_ENCODING, read_body
from exporter.conduit.decoding import decode_json
from exporter.conduit.failures import ELSEWHERE, error_for_status, source_errors
from exporter.conduit.head import read_head
from exporter.conduit.token import TokenSource
from exporter.errors import ConfigError, SourceError, SourceMalformed, SourceRejected
from exporter.models import Agent, HeadPage, Page, Run, RunDetail, Unreadable, Workspace
from exporter.quoting import quote

# The most rows that the API puts on a page.
PAGE_MOST: Final = 100

_MOST_BODY_BYTES: Final = 16 * 1024 * 1024
_MOST_ERROR_BYTES: Final = 64 * 1024
_ERROR_BODY_S: Final = 2.0
_CONNECT_S: Final = 10.0

# `code` of a request that got no status.
NO_ANSWER: Final = "error"
NOT_AWAITED: Final = "cancelled"


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

    Takes over `transport` and closes it. A request takes at most `timeout_s`, from waiting for a
    connection to the last byte; its body at most `max_body_bytes`, on the wire and inflated.
    `observe` hears the endpoint, the status (or why there was none) and the seconds, once for each
    request. Every method raises SourceError and nothing else, except when cancelled.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: TokenSource,
        transport: httpx.AsyncBaseTransport,
        clock: Clock,
        observe: Observe,
        timeout_s: float = 30.0,
        max_body_bytes: int = _MOST_BODY_BYTES,
    ) -> None:
        self._base = base_url.rstrip("/") + "/v1/"
        self._host = _host_header(base_url)
        self._token = token
        self._transport = transport
        self._clock = clock
        self._observe = observe
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._extensions = {
            "timeout": {
                "connect": min(_CONNECT_S, timeout_s),
                "read": timeout_s,
                "write": timeout_s,
                "pool": timeout_s,
            }
        }
        self._headers_of = ("", httpx.Headers())

    async def workspaces_page(self, *, cursor: str | None = None) -> Page[Workspace]:
        """A page of the workspaces that the token may see."""
        query = _query(limit=PAGE_MOST, cursor=cursor)
        body = await self._get(Endpoint.WORKSPACES, f"workspaces?{query}")
        return parsing.parse_page(body, parsing.parse_workspace)

    async def agents_page(self, workspace_id: str, *, cursor: str | None = None) -> Page[Agent]:
        """A page of a workspace's agents."""
        query = _query(limit=PAGE_MOST, workspace_id=workspace_id, cursor=cursor)
        body = await self._get(Endpoint.AGENTS, f"agents?{query}")
        return parsing.parse_page(body, partial(parsing.parse_agent, workspace_id=workspace_id))

    async def agent(self, agent_id: str) -> Agent:
        """One agent, of whichever workspace."""
        body = await self._get(Endpoint.AGENT, f"agents/{_segment(agent_id)}")
        agent = parsing.parse_agent(parsing.parse_item(body), workspace_id=None)
        if isinstance(agent, Unreadable):
            raise SourceMalformed("The answer is no agent: it lacks `id` or `workspace_id`")
        return agent

    async def runs_page(
        self,
        *,
        workspace_id: str,
        agent_id: str,
        limit: int = PAGE_MOST,
        cursor: str | None = None,
        status: str | None = None,
    ) -> Page[Run]:
        """A page of an agent's runs as summaries, newest first."""
        query = _query(limit=limit, workspace_id=workspace_id, status=status, cursor=cursor)
        body = await self._get(Endpoint.RUNS, f"agents/{_segment(agent_id)}/runs?{query}")
        return parsing.parse_page(
            body, partial(parsing.parse_run, workspace_id=workspace_id, agent_id=agent_id)
        )

    async def head_page(
        self, *, workspace_id: str, agent_id: str, limit: int, known: HeadPage | None
    ) -> HeadPage:
        """The newest runs of an agent; what is the same in the `known` answer is not read again."""
        query = _query(limit=limit, workspace_id=workspace_id)
        target = f"agents/{_segment(agent_id)}/runs?{query}"
        body, decode = await self._fetch(Endpoint.RUNS, target)
        parse_row = partial(parsing.parse_run, workspace_id=workspace_id, agent_id=agent_id)
        return read_head(body, decode=decode, parse_row=parse_row, known=known)

    async def run(self, *, workspace_id: str, agent_id: str, run_id: str) -> RunDetail | Unreadable:
        """One run with its trace; Unreadable where the run itself, not the answer, is at fault."""
        query = _query(workspace_id=workspace_id)
        target = f"agents/{_segment(agent_id)}/runs/{_segment(run_id)}?{query}"
        body = await self._get(Endpoint.RUN, target)
        detail = parsing.parse_run_detail(
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
        await self._transport.aclose()

    async def _get(self, endpoint: Endpoint, target: str) -> Any:
        _, decode = await self._fetch(endpoint, target)
        return decode()

    async def _fetch(self, endpoint: Endpoint, target: str) -> tuple[bytes, Callable[[], Any]]:
        """The body of an answer, and what makes JSON of it."""
        secret = self._token.current()
        code = NO_ANSWER
        started_s = self._clock.monotonic_s()
        try:
            with source_errors():
                request = self._request(target, secret)
                async with asyncio.timeout(self._timeout_s):
                    response = await self._transport.handle_async_request(request)
                    code = str(response.status_code)
                    try:
                        if response.status_code != HTTPStatus.OK:
                            raise await self._refusal(response, secret)
                        body = await read_body(response, max_bytes=self._max_body_bytes)
                    finally:
                        await response.aclose()
        except asyncio.CancelledError:
            if code == NO_ANSWER:
                code = NOT_AWAITED
            raise
        finally:
            self._observe(endpoint, code, self._clock.monotonic_s() - started_s)
        return body, partial(self._decoded, body, response.headers, secret)

    def _request(self, target: str, secret: str) -> httpx.Request:
        used, headers = self._headers_of
        if used != secret:
            headers = httpx.Headers(
                [
                    (b"host", self._host),
                    (b"accept", b"application/json"),
                    (b"accept-encoding", ACCEPTED_ENCODING.encode()),
                    (b"user-agent", f"conduit-exporter/{__version__}".encode()),
                    (b"authorization", f"Bearer {secret}".encode()),
                ]
            )
            self._headers_of = (secret, headers)
        # With a stream given, httpx adds no headers of its own.
        return httpx.Request(
            "GET",
            _url(self._base + target),
            headers=headers,
            stream=httpx.ByteStream(b""),
            extensions=self._extensions,
        )

    async def _refusal(self, response: httpx.Response, secret: str) -> SourceError:
        status = response.status_code
        if status == HTTPStatus.UNAUTHORIZED:
            self._token.invalidate()
        return error_for_status(
            status,
            response.headers,
            text=await _error_text(response),
            now_ns=self._clock.now_ns(),
            secret=secret,
        )

    def _decoded(self, body: bytes, headers: httpx.Headers, secret: str) -> Any:
        try:
            return decode_json(body)
        except SourceMalformed as exc:
            kind = quote(headers.get("content-type", "no content type"), [secret])
            raise SourceMalformed(
                f"{exc.message} ({kind})",
                hint=ELSEWHERE,
            ) from exc


@lru_cache(maxsize=512)  # polls ask for the same again and again
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


async def _error_text(response: httpx.Response) -> str | None:
    """What the API says about its refusal; whatever goes wrong here, the status says enough."""
    try:
        with source_errors():
            async with asyncio.timeout(_ERROR_BODY_S):
                body = decode_json(await read_body(response, max_bytes=_MOST_ERROR_BYTES))
    except SourceError:
        return None
    text = body.get("error") if isinstance(body, dict) else None
    return text if isinstance(text, str) else None


def _host_header(base_url: str) -> bytes:
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError) as exc:
        raise ConfigError([f"The base URL {quote(base_url)} is not a URL"]) from exc
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError([f"The base URL {quote(base_url)} is not an http or https URL"])
    if url.query or url.fragment or url.userinfo:
        raise ConfigError(["The base URL has more than a scheme, a host and a path"])
    return url.netloc


def _segment(identifier: str) -> str:
    """An identifier as one segment of a path, whatever it holds."""
    if parsing.parse_id(identifier) is None:
        raise SourceRejected("This cannot be an identifier of Conduit", hint=quote(identifier))
    return percent_encode(identifier, safe="")


def _query(**parameters: str | int | None) -> str:
    return "&".join(
        f"{name}={percent_encode(str(value), safe='')}"
        for name, value in parameters.items()
        if value is not None
    )
