"""The simulated Conduit: the documented API as a function of requests and the time.

No I/O and no waiting; `transport` and `server` put it behind httpx or a socket. It must be shown
times that do not go back. What the documentation leaves open is read the harsh way: a strict
sliding window for the rate limit, offset cursors that shift.
"""

import base64
import binascii
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote

from exporter.simulator.data import NEWEST, AgentRuns, Place, Scenario, SimulatedData
from exporter.simulator.faults import FaultPlan
from exporter.simulator.messages import (
    Endpoint,
    Page,
    SimRequest,
    SimResponse,
    error_response,
    object_response,
    page_response,
)
from exporter.simulator.runs import IN_FLIGHT, SECOND_NS, TERMINAL

CursorKind = Literal["offset", "keyset"]

_DEFAULT_LIMIT: Final = 20
_MAX_LIMIT: Final = 100
_WINDOW_NS: Final = 60 * SECOND_NS


@dataclass(slots=True)
class Asked:
    """Counts of requests; a request whose answer never got through counts as asked, not as served.

    `over_limit` counts the requests that the rate limit itself refused, by workspace, or by token
    where a request has no workspace. `runs_served` counts get-run answers of runs that had ended.
    """

    requests: Counter[Endpoint | None] = field(default_factory=Counter)
    answers: Counter[tuple[Endpoint | None, int]] = field(default_factory=Counter)
    admitted: Counter[str] = field(default_factory=Counter)
    over_limit: Counter[str] = field(default_factory=Counter)
    runs_asked: Counter[str] = field(default_factory=Counter)
    runs_served: Counter[str] = field(default_factory=Counter)
    runs_served_in_flight: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All requests, whatever became of them."""
        return self.requests.total()

    @property
    def fetched_twice(self) -> dict[str, int]:
        """Ended runs whose whole answer was given more than once."""
        return {run_id: times for run_id, times in self.runs_served.items() if times > 1}

    def note(self, request: SimRequest, response: SimResponse) -> None:
        """Count a request and what became of it."""
        self.requests[request.endpoint] += 1
        if request.run_id is not None:
            self.runs_asked[request.run_id] += 1
        if response.failure is None:
            self.answers[request.endpoint, response.status] += 1
            if response.run is not None:
                ended = response.run.ended(request.now_ns)
                served = self.runs_served if ended else self.runs_served_in_flight
                served[response.run.id] += 1


class SimulatedConduit:
    """Answers requests and counts them in `asked`; orders go to `data` and `faults`.

    `now_ns` is asked once for each request, and told in each answer's Date. Cursors expire after
    `cursor_life_s`, if there is one, with `dead_cursor_status`. A steady cursor never expires, and
    the same place is always the same text.
    """

    def __init__(
        self,
        *,
        now_ns: Callable[[], int],
        scenario: Scenario,
        requests_per_minute: int = 120,
        cursors: CursorKind = "offset",
        cursor_life_s: float | None = None,
        dead_cursor_status: int = 400,
        steady_cursors: bool = False,
    ) -> None:
        self.data = SimulatedData(now_ns=now_ns, scenario=scenario)
        self.asked = Asked()
        self.faults = FaultPlan()
        self.observers: list[Callable[[SimRequest, SimResponse], None]] = [self.asked.note]
        self._requests_per_minute = requests_per_minute
        self._cursor_life_s = None if steady_cursors else cursor_life_s
        self._dead_cursor_status = dead_cursor_status
        self._steady_cursors = steady_cursors
        self._first_place: Place | int = 0 if cursors == "offset" else NEWEST
        self._windows: dict[str, SlidingWindow] = {}

    def handle(
        self, method: str, path: str, query: Mapping[str, str] | str, headers: Mapping[str, str]
    ) -> SimResponse:
        """Answer a request; `path` still percent-encoded, names in `headers` in lower case."""
        request = self._read(method, path, query, headers)
        fault = self.faults.pick(request)
        response = self._answer(request) if fault is None else fault(request, self._answer)
        date = formatdate(request.now_ns // SECOND_NS, usegmt=True)
        response = replace(response, headers={"date": date, **response.headers})
        for observe in self.observers:
            observe(request, response)
        return response

    def spend(self, workspace_id: str, requests: int = 1) -> None:
        """Use up some of a workspace's limit, as the customer's own integrations do."""
        now_ns = self.data.present_ns()
        for _ in range(requests):
            self._window(workspace_id).admit(now_ns)

    def busiest_minute(self, workspace_or_token: str) -> int:
        """The most requests that any sixty seconds have held."""
        return self._window(workspace_or_token).busiest

    def _read(
        self, method: str, path: str, query: Mapping[str, str] | str, headers: Mapping[str, str]
    ) -> SimRequest:
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
            query=dict(parse_qsl(query, keep_blank_values=True))
            if isinstance(query, str)
            else query,
            headers=headers,
            agent_id=agent_id,
            run_id=run_id,
        )

    def _answer(self, request: SimRequest) -> SimResponse:
        try:
            return self._answer_or_refuse(request)
        except _Refused as refusal:
            return refusal.response

    def _answer_or_refuse(self, request: SimRequest) -> SimResponse:
        token, granted = self._authorize(request)
        if request.endpoint is None or request.method != "GET":
            self._charge(token, request)
            raise _Refused(404, "Not found")
        if request.endpoint is Endpoint.WORKSPACES:
            self._charge(token, request)
            known = self.data.workspaces
            rows = [known[one].row() for one in granted if one in known]
            return self._directory_page(request, "workspaces", rows)
        try:
            workspace_id, runs = self._place(request, granted)
        except _Refused:
            self._charge(token, request)  # no workspace to charge it to
            raise
        self._charge(workspace_id, request)
        if request.agent_id is None:
            agents = [one.agent for one in self.data.agents.values()]
            rows = [one.row() for one in agents if one.workspace_id == workspace_id]
            return self._directory_page(request, f"agents/{workspace_id}", rows)
        if runs is None:
            raise _Refused(404, "Agent not found")
        if request.endpoint is Endpoint.AGENT:
            return object_response(runs.agent.row())
        runs.advance(request.now_ns)
        if request.run_id is None:
            return self._runs_page(request, runs)
        run = runs.find(request.run_id)
        if run is None:
            raise _Refused(404, "Run not found")
        return object_response(runs.whole(run), run=run)

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
            self.asked.over_limit[account] += 1
            raise _Refused(429, "Rate limit exceeded", retry_after=str(wait_s))
        self.asked.admitted[account] += 1

    def _window(self, account: str) -> "SlidingWindow":
        if account not in self._windows:
            self._windows[account] = SlidingWindow(self._requests_per_minute)
        return self._windows[account]

    def _runs_page(self, request: SimRequest, runs: AgentRuns) -> SimResponse:
        limit = _limit_of(request)
        status = request.query.get("status")
        if status not in (None, *IN_FLIGHT, *TERMINAL):
            raise _Refused(400, "Invalid status")
        scope = f"{runs.agent.id}/{status or ''}"
        after, own_cursor = self._cursor_of(request, scope, self._first_place)
        shown = runs.page(status=status, after=after, take=limit + 1)
        next_cursor: str | None = None
        if len(shown) > limit:
            shown.pop()
            last = shown[-1]
            following: Place | int = (
                after + limit if isinstance(after, int) else (last.shown_created_ns, last.id)
            )
            next_cursor = self._encode(scope, following, request)
        return page_response(Page([runs.row(run) for run in shown], next_cursor, own_cursor))

    def _directory_page(
        self, request: SimRequest, scope: str, rows: Sequence[bytes]
    ) -> SimResponse:
        """A page of workspaces or agents; always by offset."""
        limit = _limit_of(request)
        after, own_cursor = self._cursor_of(request, scope, 0)
        skip = after if isinstance(after, int) else 0
        next_cursor: str | None = None
        if len(rows) > skip + limit:
            next_cursor = self._encode(scope, skip + limit, request)
        return page_response(Page(rows[skip : skip + limit], next_cursor, own_cursor))

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


class SlidingWindow:
    """At most `limit` admissions in any sixty seconds; a refusal uses nothing up.

    The documentation says "120 requests a minute" and nothing of how the minute is counted: what
    lives under a strict sliding window lives under every other reading.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted: deque[int] = deque()
        self.busiest = 0  # most admissions that sixty seconds have held

    def admit(self, now_ns: int) -> int | None:
        """None if the request may pass, else the whole seconds to wait for room."""
        admitted = self._admitted
        while admitted and admitted[0] <= now_ns - _WINDOW_NS:
            admitted.popleft()
        if len(admitted) >= self._limit:
            wait_ns = admitted[0] + _WINDOW_NS - now_ns if admitted else _WINDOW_NS
            return -(-wait_ns // SECOND_NS)
        admitted.append(now_ns)
        self.busiest = max(self.busiest, len(admitted))
        return None


class _Refused(Exception):
    """The request is answered with an error; carries the answer."""

    def __init__(self, status: int, message: str, *, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.response = error_response(status, message, retry_after=retry_after)


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
