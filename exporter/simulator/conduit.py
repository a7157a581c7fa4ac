"""The simulated Conduit: the documented API as a function of requests and the time.

No I/O and no waiting; `server` puts it behind a socket. It must be shown times that do not go back.
What the documentation leaves open is read the harsh way: a strict sliding window for the rate
limit, offset cursors that shift.
"""

import base64
import binascii
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from enum import StrEnum
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote

from exporter.simulator.data import NEWEST, AgentRuns, Place, SimulatedData
from exporter.simulator.runs import IN_FLIGHT, SECOND_NS, TERMINAL, SimRun

CursorKind = Literal["offset", "keyset"]
# How a list is read: what comes after a place, or after so many rows, and so much of it.
_Read = Callable[[Place | int, int], Sequence[tuple[Place, bytes]]]

_JSON_TYPE: Final = {"content-type": "application/json; charset=utf-8"}
_DEFAULT_LIMIT: Final = 20
_MAX_LIMIT: Final = 100
_WINDOW_NS: Final = 60 * SECOND_NS


class Endpoint(StrEnum):
    """The five documented endpoints."""

    WORKSPACES = "workspaces"
    AGENTS = "agents"
    AGENT = "agent"
    RUNS = "runs"
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimRequest:
    """A request as it was understood; parts that it does not have are None."""

    now_ns: int
    method: str
    path: str
    endpoint: Endpoint | None
    query: Mapping[str, str]
    headers: Mapping[str, str]
    agent_id: str | None = None
    run_id: str | None = None

    @property
    def cursor(self) -> str | None:
        return self.query.get("cursor")


class Page(NamedTuple):
    """A list page in parts: rows as JSON, the way on, and a cursor that leads to this page.

    `has_more` None says the same as `next_cursor` does.
    """

    rows: Sequence[bytes]
    next_cursor: str | None
    own_cursor: str
    has_more: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimResponse:
    """An answer; `page` and `run` are what its body was made of."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: _JSON_TYPE)
    body: bytes = b""
    page: Page | None = None
    run: SimRun | None = None


def error_response(status: int, message: str, *, retry_after: str | None = None) -> SimResponse:
    """The documented error body, with Retry-After where it is given."""
    headers = _JSON_TYPE if retry_after is None else {**_JSON_TYPE, "retry-after": retry_after}
    return SimResponse(status=status, headers=headers, body=json.dumps({"error": message}).encode())


def page_response(page: Page) -> SimResponse:
    """A list page."""
    has_more = page.next_cursor is not None if page.has_more is None else page.has_more
    body = b'{"data":[%s],"next_cursor":%s,"has_more":%s}' % (
        b",".join(page.rows),
        json.dumps(page.next_cursor).encode(),
        json.dumps(has_more).encode(),
    )
    return SimResponse(body=body, page=page)


class SimulatedConduit:
    """Answers requests about `data`; the present moment is told in each answer's Date.

    Cursors expire after `cursor_life_s`, if there is one, with `dead_cursor_status`. A steady
    cursor never expires, and the same place is always the same text.
    """

    def __init__(
        self,
        data: SimulatedData,
        *,
        requests_per_minute: int = 120,
        cursors: CursorKind = "offset",
        cursor_life_s: float | None = None,
        dead_cursor_status: int = 400,
        steady_cursors: bool = False,
    ) -> None:
        self.data = data
        self._requests_per_minute = requests_per_minute
        self._cursor_life_s = None if steady_cursors else cursor_life_s
        self._dead_cursor_status = dead_cursor_status
        self._steady_cursors = steady_cursors
        self._first_place: Place | int = 0 if cursors == "offset" else NEWEST
        self._windows: dict[str, _SlidingWindow] = {}

    def handle(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> SimResponse:
        """Answer a request; `path` still percent-encoded, names in `headers` in lower case."""
        request = self._read(method, path, query, headers)
        response = self.answer(request)
        date = formatdate(request.now_ns // SECOND_NS, usegmt=True)
        return replace(response, headers={"date": date, **response.headers})

    def answer(self, request: SimRequest) -> SimResponse:
        """The true answer."""
        try:
            return self._answer(request)
        except _Refused as refusal:
            return refusal.response

    def spend(self, workspace_id: str, requests: int) -> None:
        """Use up some of a workspace's limit, as the customer's own integrations do."""
        now_ns = self.data.present_ns()
        for _ in range(requests):
            self._window(workspace_id).admit(now_ns)

    def _read(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> SimRequest:
        endpoint: Endpoint | None = None
        agent_id: str | None = None
        run_id: str | None = None
        match [unquote(part) for part in path.split("/")]:
            case ["", "v1", "workspaces"]:
                endpoint = Endpoint.WORKSPACES
            case ["", "v1", "agents"]:
                endpoint = Endpoint.AGENTS
            case ["", "v1", "agents", agent_id]:
                endpoint = Endpoint.AGENT
            case ["", "v1", "agents", agent_id, "runs"]:
                endpoint = Endpoint.RUNS
            case ["", "v1", "agents", agent_id, "runs", run_id]:
                endpoint = Endpoint.RUN
        return SimRequest(
            now_ns=self.data.present_ns(),
            method=method,
            path=path,
            endpoint=endpoint,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            headers=headers,
            agent_id=agent_id,
            run_id=run_id,
        )

    def _answer(self, request: SimRequest) -> SimResponse:
        token, granted = self._authorize(request)
        if request.endpoint is None or request.method != "GET":
            self._charge(token, request)
            raise _Refused(404, "Not found")
        if request.endpoint is Endpoint.WORKSPACES:
            self._charge(token, request)
            known = self.data.workspaces
            rows = [known[one].row() for one in granted if one in known]
            return self._page(request, "workspaces", _rows_of(rows))
        try:
            workspace_id, runs = self._place(request, granted)
        except _Refused:
            self._charge(token, request)  # no workspace to charge it to
            raise
        self._charge(workspace_id, request)
        if request.agent_id is None:
            agents = [one.agent for one in self.data.agents.values()]
            rows = [one.row() for one in agents if one.workspace_id == workspace_id]
            return self._page(request, f"agents/{workspace_id}", _rows_of(rows))
        if runs is None:
            raise _Refused(404, "Agent not found")
        if request.endpoint is Endpoint.AGENT:
            return SimResponse(body=b'{"data":%s}' % runs.agent.row())
        runs.advance(request.now_ns)
        if request.run_id is None:
            status = request.query.get("status")
            if status not in (None, *IN_FLIGHT, *TERMINAL):
                raise _Refused(400, "Invalid status")
            scope = f"{runs.agent.id}/{status or ''}"
            return self._page(
                request,
                scope,
                lambda after, take: runs.page(status=status, after=after, take=take),
                first=self._first_place,
            )
        run = runs.find(request.run_id)
        if run is None:
            raise _Refused(404, "Run not found")
        return SimResponse(body=b'{"data":%s}' % runs.whole(run), run=run)

    def _authorize(self, request: SimRequest) -> tuple[str, tuple[str, ...]]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        granted = self.data.tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        if granted is None:
            raise _Refused(401, "Missing or invalid API token")
        return token.strip(), granted

    def _place(self, request: SimRequest, granted: tuple[str, ...]) -> tuple[str, AgentRuns | None]:
        """The workspace that the request counts against, and the agent that its path names."""
        named = request.query.get("workspace_id")
        if named is not None and not named.isalnum():
            raise _Refused(400, "Invalid workspace id")
        runs = None if request.agent_id is None else self.data.agents.get(request.agent_id)
        own = None if runs is None else runs.agent.workspace_id
        if (named or own) not in (None, *granted):
            raise _Refused(403, "The token has no access to this workspace")
        if request.agent_id is None:
            if named is None and len(granted) != 1:
                raise _Refused(400, "workspace_id is required: the token has several workspaces")
            return named or granted[0], None
        workspace_id = named or own
        if workspace_id is None:
            raise _Refused(404, "Agent not found")
        return workspace_id, runs if workspace_id == own else None

    def _charge(self, account: str, request: SimRequest) -> None:
        """Count the request against a workspace's or token's limit, or refuse it."""
        wait_s = self._window(account).admit(request.now_ns)
        if wait_s is not None:
            raise _Refused(429, "Rate limit exceeded", retry_after=str(wait_s))

    def _window(self, account: str) -> "_SlidingWindow":
        return self._windows.setdefault(account, _SlidingWindow(self._requests_per_minute))

    def _page(
        self, request: SimRequest, scope: str, read: _Read, *, first: Place | int = 0
    ) -> SimResponse:
        """A page of any list; `scope` is what its cursors are good for."""
        limit = _limit_of(request)
        after, own_cursor = self._cursor_of(request, scope, first)
        found = read(after, limit + 1)
        next_cursor: str | None = None
        if len(found) > limit:
            following = after + limit if isinstance(after, int) else found[limit - 1][0]
            next_cursor = self._encode(scope, following, request)
        return page_response(Page([row for _, row in found[:limit]], next_cursor, own_cursor))

    def _cursor_of(
        self, request: SimRequest, scope: str, first: Place | int
    ) -> tuple[Place | int, str]:
        """Where the page begins, and a cursor that leads there; refuses a dead or foreign one."""
        if request.cursor is None:
            return first, self._encode(scope, first, request)
        try:
            place, given_ns = _decode(scope, request.cursor)
        except (binascii.Error, ValueError):
            raise _Refused(400, "Invalid cursor") from None
        if isinstance(place, int) != isinstance(first, int):
            raise _Refused(400, "Invalid cursor")
        life_s = self._cursor_life_s
        if life_s is not None and request.now_ns - given_ns > life_s * SECOND_NS:
            raise _Refused(self._dead_cursor_status, "Invalid cursor")
        return place, request.cursor

    def _encode(self, scope: str, place: Place | int, request: SimRequest) -> str:
        """Opaque text for a place in a list, and when it was given out."""
        given_ns = 0 if self._steady_cursors else request.now_ns
        text = f"{place}" if isinstance(place, int) else f"{place[0]}/{place[1]}"
        return base64.urlsafe_b64encode(f"{text}@{given_ns}|{scope}".encode()).decode()


class _SlidingWindow:
    """At most `limit` admissions in any sixty seconds; a refusal uses nothing up.

    The documentation says "120 requests a minute" and nothing of how the minute is counted: what
    lives under a strict sliding window lives under every other reading.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted: deque[int] = deque()

    def admit(self, now_ns: int) -> int | None:
        """None if the request may pass, else the whole seconds to wait for room."""
        admitted = self._admitted
        while admitted and admitted[0] <= now_ns - _WINDOW_NS:
            admitted.popleft()
        if len(admitted) >= self._limit:
            return -(-(admitted[0] + _WINDOW_NS - now_ns) // SECOND_NS)
        admitted.append(now_ns)
        return None


class _Refused(Exception):
    """The request is answered with an error; carries the answer."""

    def __init__(self, status: int, message: str, *, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.response = error_response(status, message, retry_after=retry_after)


def _rows_of(rows: Sequence[bytes]) -> _Read:
    """A list whose pages are by offset alone."""

    def read(after: Place | int, take: int) -> Sequence[tuple[Place, bytes]]:
        skip = after if isinstance(after, int) else 0
        return [(NEWEST, row) for row in rows[skip : skip + take]]

    return read


def _decode(scope: str, text: str) -> tuple[Place | int, int]:
    """The place behind a cursor and when it was given out; raises ValueError."""
    inner, _, bound = base64.urlsafe_b64decode(text.encode()).decode().partition("|")
    if bound != scope:
        raise ValueError("a cursor of another list")
    placed, _, given_ns = inner.rpartition("@")
    number, slash, run_id = placed.partition("/")
    return (int(number), run_id) if slash else max(0, int(number)), int(given_ns)


def _limit_of(request: SimRequest) -> int:
    text = request.query.get("limit", str(_DEFAULT_LIMIT))
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= _MAX_LIMIT:
        raise _Refused(400, "limit must be a number from 1 to 100")
    return int(text)
