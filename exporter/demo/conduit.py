"""The simulated Conduit: the documented API as a pure function of requests and the time.

No I/O and no waiting; `transport` and `server` put it behind httpx or a socket. It must be shown
times that do not go back. What the documentation leaves open is read the harsh way: a strict
sliding window for the rate limit, offset cursors that shift.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, unquote

from exporter.conduit.models import IN_FLIGHT_STATUSES, TERMINAL_STATUSES
from exporter.demo.answers import (
    Endpoint,
    Page,
    SimRequest,
    SimResponse,
    error_response,
    json_object,
    object_response,
    page_response,
)
from exporter.demo.cursors import (
    TOP_KEY,
    Cursor,
    CursorKind,
    Place,
    decode_cursor,
    encode_cursor,
)
from exporter.demo.data import AgentState, SimulatedData
from exporter.demo.directory import Scenario
from exporter.demo.faults import FaultPlan
from exporter.demo.limits import SlidingWindow
from exporter.demo.runs import FAR_FUTURE_NS, SECOND_NS
from exporter.demo.tally import Asked

_STATUSES: Final = (*IN_FLIGHT_STATUSES, *TERMINAL_STATUSES)
_DEFAULT_LIMIT: Final = 20
_MOST_ROWS: Final = 100


class _Refused(Exception):
    """The request is answered with an error; carries the answer."""

    def __init__(self, status: int, message: str, *, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.response = error_response(status, message, retry_after=retry_after)


class SimulatedConduit:
    """Answers requests and counts them in `asked`; orders go to `data` and `faults`.

    `now_ns` is asked once for each request. Cursors expire after `cursor_life_s`, if there is one;
    steady ones never do, and the same place is always the same text.
    """

    def __init__(
        self,
        *,
        now_ns: Callable[[], int],
        scenario: Scenario,
        requests_per_minute: int = 120,
        cursors: CursorKind = "offset",
        cursor_life_s: float | None = None,
        steady_cursors: bool = False,
        faults: FaultPlan | None = None,
    ) -> None:
        self.data = SimulatedData(now_ns=now_ns, scenario=scenario)
        self.asked = Asked()
        self.faults = faults or FaultPlan()
        self._requests_per_minute = requests_per_minute
        self._cursor_life_ns = (
            FAR_FUTURE_NS
            if cursor_life_s is None or steady_cursors
            else round(cursor_life_s * SECOND_NS)
        )
        self._stamps_cursors = not steady_cursors
        self._first_place: Place = 0 if cursors == "offset" else TOP_KEY
        self._windows: dict[str, SlidingWindow] = {}

    def handle(
        self, method: str, path: str, query: Mapping[str, str] | str, headers: Mapping[str, str]
    ) -> SimResponse:
        """Answer a request; `path` still percent-encoded, names in `headers` in lower case."""
        request = self._understand(method, path, query, headers)
        self.asked.note(request)
        fault = self.faults.pick(request)
        truthful = partial(self._answer, request)
        response = truthful() if fault is None else fault(request, truthful)
        self.asked.note_answer(request, response)
        return response

    def busiest_minute(self, workspace_or_token: str) -> int:
        """The most requests that any sixty seconds have held."""
        return self._window(workspace_or_token).busiest

    def spend(self, workspace_id: str, requests: int = 1) -> None:
        """Use up some of a workspace's limit, as the customer's own integrations do."""
        now_ns = self.data.present_ns()
        for _ in range(requests):
            self._window(workspace_id).admit(now_ns)

    def _understand(
        self, method: str, path: str, query: Mapping[str, str] | str, headers: Mapping[str, str]
    ) -> SimRequest:
        parts = [unquote(part) for part in path.split("/")] if "%" in path else path.split("/")
        if isinstance(query, str):
            query = dict(parse_qsl(query, keep_blank_values=True))
        endpoint: Endpoint | None = None
        named: tuple[str, ...] = ()
        match parts:
            case ["", "v1", "workspaces"]:
                endpoint = Endpoint.WORKSPACES
            case ["", "v1", "agents"]:
                endpoint = Endpoint.AGENTS
            case ["", "v1", "agents", agent_id]:
                endpoint, named = Endpoint.AGENT, (agent_id,)
            case ["", "v1", "agents", agent_id, "runs"]:
                endpoint, named = Endpoint.RUNS, (agent_id,)
            case ["", "v1", "agents", agent_id, "runs", run_id]:
                endpoint, named = Endpoint.RUN, (agent_id, run_id)
        return SimRequest(
            number=self.asked.total + 1,
            now_ns=self.data.present_ns(),
            method=method,
            path=path,
            endpoint=endpoint,
            query=query,
            headers=headers,
            agent_id=named[0] if named else None,
            run_id=named[1] if len(named) > 1 else None,
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
            return self._workspaces_page(request, granted)
        try:
            workspace_id, state = self._place(request, granted)
        except _Refused:
            self._charge(token, request)  # no workspace to charge it to
            raise
        self._charge(workspace_id, request)
        if request.agent_id is None:
            return self._agents_page(request, workspace_id)
        if state is None:
            raise _Refused(404, "Agent not found")
        if request.endpoint is Endpoint.AGENT:
            return object_response(json_object(state.agent.fields()))
        state.table.advance(request.now_ns)
        if request.run_id is None:
            return self._runs_page(request, state)
        return self._one_run(request, state, request.run_id)

    def _authorize(self, request: SimRequest) -> tuple[str, tuple[str, ...]]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        granted = self.data.tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        if granted is None:
            raise _Refused(401, "Missing or invalid API token")
        return token.strip(), granted

    def _place(
        self, request: SimRequest, granted: tuple[str, ...]
    ) -> tuple[str, AgentState | None]:
        """The workspace that the request counts against, and the agent that its path names."""
        named = request.query.get("workspace_id")
        if named is not None and not named.isalnum():
            raise _Refused(400, "Invalid workspace id")
        if named is not None and named not in granted:
            raise _Refused(403, "The token has no access to this workspace")
        if request.agent_id is not None:
            state = self.data.agents.get(request.agent_id)
            if state is not None and (named or state.agent.workspace_id) not in granted:
                raise _Refused(403, "The token has no access to this workspace")
            if state is not None and named in (None, state.agent.workspace_id):
                return state.agent.workspace_id, state
            if named is None:
                raise _Refused(404, "Agent not found")
            return named, None
        if named is None and len(granted) != 1:
            raise _Refused(400, "workspace_id is required: the token has several workspaces")
        return named or granted[0], None

    def _charge(self, account: str, request: SimRequest) -> None:
        """Count the request against a workspace's or token's limit, or refuse it."""
        wait_s = self._window(account).admit(request.now_ns)
        if wait_s is not None:
            self.asked.over_limit[account] += 1
            raise _Refused(429, "Rate limit exceeded", retry_after=str(wait_s))
        self.asked.admitted[account] += 1

    def _window(self, account: str) -> SlidingWindow:
        if account not in self._windows:
            self._windows[account] = SlidingWindow(self._requests_per_minute)
        return self._windows[account]

    def _workspaces_page(self, request: SimRequest, granted: tuple[str, ...]) -> SimResponse:
        workspaces = [self.data.workspaces[one] for one in granted if one in self.data.workspaces]
        rows = [json_object(one.fields()) for one in workspaces]
        return self._short_page(request, "workspaces", rows)

    def _agents_page(self, request: SimRequest, workspace_id: str) -> SimResponse:
        agents = [state.agent for state in self.data.agents.values()]
        rows = [json_object(one.fields()) for one in agents if one.workspace_id == workspace_id]
        return self._short_page(request, f"agents/{workspace_id}", rows)

    def _runs_page(self, request: SimRequest, state: AgentState) -> SimResponse:
        limit = _limit_of(request)
        status = request.query.get("status")
        if status is not None and status not in _STATUSES:
            raise _Refused(400, "Invalid status")
        scope = f"{state.agent.id}/{status or ''}"
        place, own_cursor = self._place_in(request, scope, self._first_place)
        table = state.table
        if isinstance(place, int):
            keys = table.page(status=status, skip=place, take=limit + 1)
        else:
            keys = table.page_below(status=status, anchor=place, take=limit + 1)
        next_cursor: str | None = None
        if len(keys) > limit:
            keys.pop()
            after: Place
            if isinstance(place, int):
                after = place + limit
            else:
                last = table.run(keys[-1])
                after = (last.created_ns, last.id)
            next_cursor = self._cursor(scope, after, request)
        rows = [self.data.row(state, key, request.now_ns) for key in keys]
        return page_response(Page(rows, next_cursor, own_cursor))

    def _short_page(self, request: SimRequest, scope: str, rows: Sequence[bytes]) -> SimResponse:
        """A page of a list that hardly changes; always by offset."""
        limit = _limit_of(request)
        place, own_cursor = self._place_in(request, scope, 0)
        skip = place if isinstance(place, int) else 0
        next_cursor: str | None = None
        if len(rows) > skip + limit:
            next_cursor = self._cursor(scope, skip + limit, request)
        return page_response(Page(rows[skip : skip + limit], next_cursor, own_cursor))

    def _place_in(self, request: SimRequest, scope: str, first: Place) -> tuple[Place, str]:
        """Where the page begins, and a cursor that leads there.

        A cursor of another list or of the other kind is refused; one that was good once is gone.
        """
        if request.cursor is None:
            return first, self._cursor(scope, first, request)
        cursor = decode_cursor(scope, request.cursor)
        if cursor is None or isinstance(cursor.place, int) != isinstance(first, int):
            raise _Refused(400, "Invalid cursor")
        if request.now_ns - cursor.given_ns > self._cursor_life_ns:
            raise _Refused(410, "The cursor has expired")
        return cursor.place, request.cursor

    def _cursor(self, scope: str, place: Place, request: SimRequest) -> str:
        given_ns = request.now_ns if self._stamps_cursors else 0
        return encode_cursor(scope, Cursor(place, given_ns))

    def _one_run(self, request: SimRequest, state: AgentState, run_id: str) -> SimResponse:
        key = state.table.find(run_id)
        if key is None:
            raise _Refused(404, "Run not found")
        run = state.table.run(key)
        return object_response(self.data.whole(state, run, key, request.now_ns), run=run)


def _limit_of(request: SimRequest) -> int:
    text = request.query.get("limit")
    if text is None:
        return _DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:9]) <= _MOST_ROWS:
        raise _Refused(400, "limit must be a number from 1 to 100")
    return int(text)
