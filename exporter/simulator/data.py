"""What there is in the simulated Conduit, and the orders that change it while it is being read.

Orders take effect at the present moment, or later through `at`. Knows nothing of requests.
"""

import heapq
import json
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import NamedTuple, Protocol

from exporter.simulator.runs import (
    FAR_FUTURE_NS,
    IN_FLIGHT,
    TERMINAL,
    Edit,
    RunContent,
    SimRun,
    content_fields,
    json_object,
    json_time,
    summary_fields,
)

# A row's place in its list: the creation time that is shown, then the id.
Place = tuple[int, str]
NEWEST: Place = (FAR_FUTURE_NS, "")


class Arrival(NamedTuple):
    """A run, when the list first shows it, and when Conduit deletes it."""

    run: SimRun
    visible_ns: int
    deleted_ns: int | None = None


class RunSource(Protocol):
    """Runs of one agent that are made as time passes."""

    next_ns: int

    def arrivals(self, until_ns: int) -> Iterator[Arrival]:
        """Make all runs created up to this time; each comes once, in order of creation."""

    def content(self, run: SimRun) -> RunContent:
        """The content of a run, the same at every call."""


@dataclass(frozen=True, slots=True)
class SimWorkspace:
    """A workspace as `GET /v1/workspaces` shows it."""

    id: str
    name: str

    def row(self) -> bytes:
        return json.dumps({"id": self.id, "name": self.name}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimAgent:
    """An agent, and where its runs come from; without `runs` it has those placed by hand."""

    id: str
    workspace_id: str
    name: str
    description: str | None = None
    triggers: tuple[tuple[str, str], ...] = ()  # (id, type)
    created_ns: int = 0
    runs: RunSource | None = None

    def row(self) -> bytes:
        created_at = json.loads(json_time(self.created_ns))
        return json.dumps(
            {
                "id": self.id,
                "workspace_id": self.workspace_id,
                "name": self.name,
                "description": self.description,
                "version": 1,
                "enabled": True,
                "operation_mode": "autopilot",
                "skill_ids": [],
                "triggers": [
                    {"id": trigger_id, "name": f"On {kind}", "type": kind, "enabled": True}
                    for trigger_id, kind in self.triggers
                ],
                "created_at": created_at,
                "updated_at": created_at,
            },
            ensure_ascii=False,
        ).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Who there is, and which token sees which workspaces.

    Generated runs advance with the simulation that reads them, so a scenario serves one only.
    """

    workspaces: Sequence[SimWorkspace]
    agents: Sequence[SimAgent]
    tokens: Mapping[str, tuple[str, ...]]


@dataclass(slots=True)
class Truth:
    """Exact sums over the terminal runs that the API shows; keys begin with the agent's id."""

    runs: Counter[tuple[str, str, str | None]] = field(default_factory=Counter)
    input_tokens: Counter[str] = field(default_factory=Counter)
    output_tokens: Counter[str] = field(default_factory=Counter)
    cost_usd: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    unpriced: Counter[str] = field(default_factory=Counter)
    tool_calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    tool_errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    run_ids: set[str] = field(default_factory=set)

    def add(self, run: SimRun) -> None:
        """Count a run that has ended."""
        agent_id = run.agent_id
        self.run_ids.add(run.id)
        self.runs[agent_id, run.status, run.disposition] += 1
        if run.input_tokens is not None and run.output_tokens is not None:
            self.input_tokens[agent_id] += run.input_tokens
            self.output_tokens[agent_id] += run.output_tokens
        if run.cost is None:
            self.unpriced[agent_id] += 1
        else:
            self.cost_usd[agent_id] += Decimal(run.cost)

    def add_tools(self, agent_id: str, tools: tuple[tuple[str, bool], ...]) -> None:
        """Count the tool calls of a run that has ended."""
        for name, failed in tools:
            self.tool_calls[agent_id, name] += 1
            self.tool_errors[agent_id, name] += failed


class Plan:
    """Actions in the order of their times; those of one time in the order they were added."""

    def __init__(self) -> None:
        self._actions: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def add(self, at_ns: int, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._actions, (at_ns, self._count, action))

    def do_until(self, now_ns: int) -> None:
        """Do all that is due by now."""
        while self._actions and self._actions[0][0] <= now_ns:
            heapq.heappop(self._actions)[2]()


class AgentRuns:
    """One agent's runs; shows exactly those that are visible now. Time never goes back."""

    def __init__(self, agent: SimAgent) -> None:
        self.agent = agent
        self._source = agent.runs
        self._known: dict[str, SimRun] = {}
        self._content: dict[str, RunContent] = {}
        self._edits: dict[str, Edit] = {}
        self._places: list[Place] = []  # of the visible rows, oldest first
        self._in_flight: set[Place] = set()
        self._rows: dict[str, tuple[int, bytes]] = {}  # rendered, and until when that holds
        self._planned = Plan()
        self._now_ns = 0

    def advance(self, now_ns: int) -> None:
        """Bring the runs to this time."""
        self._now_ns = max(now_ns, self._now_ns)
        if self._source is not None and self._source.next_ns <= now_ns:
            for arrival in self._source.arrivals(now_ns):
                self._known[arrival.run.id] = arrival.run
                self._planned.add(arrival.visible_ns, partial(self._show, arrival.run))
                if arrival.deleted_ns is not None:
                    self._planned.add(arrival.deleted_ns, partial(self.delete, arrival.run.id))
        self._planned.do_until(now_ns)

    def stop_arrivals(self) -> None:
        """No further run is created; those that are known go on."""
        self._source = None

    def place(self, run: SimRun, content: RunContent) -> None:
        """Add a run by hand, visible at once; its id must be new."""
        if run.id in self._known:
            raise ValueError(f"there is a run {run.id!r} already")
        self._known[run.id], self._content[run.id] = run, content
        self._show(run)

    def revise(self, run: SimRun) -> None:
        """Let a visible run be another from now on; its creation time may not change."""
        self._known[run.id] = run
        self._in_flight.add(_place_of(run))
        self._rows.pop(run.id, None)

    def edit(self, run_id: str, edit: Edit) -> None:
        """Spoil a run's JSON from now on."""
        self._edits[run_id] = {**self._edits.get(run_id, {}), **edit}
        self._rows.pop(run_id, None)

    def delete(self, run_id: str) -> None:
        """Remove a run for good."""
        if run_id not in self._known:
            return
        place = _place_of(self._known[run_id])
        if self._is_visible(place):
            del self._places[bisect_left(self._places, place)]
        self._in_flight.discard(place)
        del self._known[run_id]

    def move(self, workspace_id: str) -> None:
        """Show the agent and its runs in another workspace."""
        self.agent = replace(self.agent, workspace_id=workspace_id)
        self._rows.clear()

    def find(self, run_id: str) -> SimRun | None:
        """The visible run with this id."""
        run = self._known.get(run_id)
        return run if run is not None and self._is_visible(_place_of(run)) else None

    def visible(self) -> Iterator[SimRun]:
        """All visible runs, newest first."""
        return (self._known[run_id] for _, run_id in reversed(self._places))

    def page(self, *, status: str | None, after: Place | int, take: int) -> list[SimRun]:
        """Runs newest first that come after a place, or after so many rows of the same list."""
        skip, end = 0, len(self._places)
        if isinstance(after, int):
            skip = after
        else:
            end = bisect_left(self._places, after)
        if status is None:
            end = max(0, end - skip)
            chosen = self._places[max(0, end - take) : end][::-1]
            return [self._known[run_id] for _, run_id in chosen]
        places = self._places[:end]
        if status in IN_FLIGHT:
            self._in_flight = {
                place for place in self._in_flight if not self._known[place[1]].ended(self._now_ns)
            }
            places = sorted(
                place for place in self._in_flight if isinstance(after, int) or place < after
            )
        runs = (self._known[run_id] for _, run_id in reversed(places))
        matching = (run for run in runs if run.status_at(self._now_ns) == status)
        return list(islice(matching, skip, skip + take))

    def content(self, run: SimRun) -> RunContent:
        """What get-run tells of the run once it has ended."""
        if run.id not in self._content and self.agent.runs is not None:
            return self.agent.runs.content(run)
        return self._content.get(run.id, RunContent())

    def row(self, run: SimRun) -> bytes:
        """A run as a list page shows it now."""
        until_ns, row = self._rows.get(run.id, (0, b""))
        if until_ns <= self._now_ns:
            row = json_object(self._summary(run), self._edits.get(run.id))
            self._rows[run.id] = run.changes_after(self._now_ns), row
        return row

    def whole(self, run: SimRun) -> bytes:
        """A run as get-run shows it now; there is no content before its end."""
        content = self.content(run) if run.ended(self._now_ns) else RunContent()
        fields = {**self._summary(run), **content_fields(content)}
        return json_object(fields, self._edits.get(run.id))

    def _summary(self, run: SimRun) -> dict[str, str]:
        return summary_fields(run, workspace_id=self.agent.workspace_id, now_ns=self._now_ns)

    def _show(self, run: SimRun) -> None:
        if run.id in self._known:
            insort(self._places, _place_of(run))
            self._in_flight.add(_place_of(run))

    def _is_visible(self, place: Place) -> bool:
        at = bisect_left(self._places, place)
        return at < len(self._places) and self._places[at] == place


def _place_of(run: SimRun) -> Place:
    return run.shown_created_ns, run.id


class SimulatedData:
    """Workspaces, agents and runs at the present moment, which is asked of `now_ns`."""

    def __init__(self, *, now_ns: Callable[[], int], scenario: Scenario) -> None:
        self.tokens = dict(scenario.tokens)
        self.workspaces = {one.id: one for one in scenario.workspaces}
        self.agents = {one.id: AgentRuns(one) for one in scenario.agents}
        self._deleted: dict[str, AgentRuns] = {}
        self._now_ns = now_ns
        self._planned = Plan()

    def present_ns(self) -> int:
        """The present moment, after what was ordered for it has been done."""
        now_ns = self._now_ns()
        self._planned.do_until(now_ns)
        return now_ns

    def at(self, at_ns: int, action: Callable[[], None]) -> None:
        """Do something when this time has come, before any later request is read."""
        self._planned.add(at_ns, action)

    def agent(self, agent_id: str) -> AgentRuns:
        """An agent's runs at the present moment; LookupError where there is no such agent."""
        runs = self.agents[agent_id]
        runs.advance(self.present_ns())
        return runs

    def add_agent(self, agent: SimAgent) -> None:
        """Let an agent appear."""
        self.agents[agent.id] = AgentRuns(agent)

    def delete_agent(self, agent_id: str) -> None:
        """Let an agent disappear with all its runs, until `restore_agent`."""
        self._deleted[agent_id] = self.agents.pop(agent_id)

    def restore_agent(self, agent_id: str) -> None:
        """Let a deleted agent be there again; its runs went on meanwhile."""
        self.agents[agent_id] = self._deleted.pop(agent_id)

    def move_agent(self, agent_id: str, workspace_id: str) -> None:
        """Let an agent and its runs belong to another workspace."""
        self.agents[agent_id].move(workspace_id)

    def stop_arrivals(self) -> None:
        """Let no agent get further runs."""
        for agent_id in self.agents:
            self.agent(agent_id).stop_arrivals()

    def add_run(self, run: SimRun, content: RunContent | None = None) -> None:
        """Place a run, shown at once."""
        self.agent(run.agent_id).place(run, content or RunContent())

    def delete_run(self, run_id: str) -> None:
        """Let a visible run disappear; the rows after it move up."""
        self._holder(run_id).delete(run_id)

    def revise_run(self, run_id: str, *, completed_ns: int | None) -> None:
        """Let a visible run end at another time, or go on."""
        run = self.run(run_id)
        self.agent(run.agent_id).revise(run._replace(completed_ns=completed_ns))

    def edit_run(self, run_id: str, edit: Edit) -> None:
        """Spoil a visible run's JSON, in lists and in get-run, from now on."""
        self._holder(run_id).edit(run_id, edit)

    def run(self, run_id: str) -> SimRun:
        """A run that is visible now, whole; LookupError where there is none."""
        run = self._holder(run_id).find(run_id)
        assert run is not None  # noqa: S101 - its holder was found by it
        return run

    def run_ids(self, agent_id: str) -> list[str]:
        """The ids of an agent's visible runs, newest first."""
        return [run.id for run in self.agent(agent_id).visible()]

    def whole(self, run_id: str) -> bytes:
        """A visible run's JSON as get-run answers it."""
        return self._holder(run_id).whole(self.run(run_id))

    def ended_runs(self, *, created_from_ns: int = 0) -> Iterator[SimRun]:
        """The terminal runs that are visible now and, as shown, not created before."""
        now_ns = self.present_ns()
        for agent_id in self.agents:
            for run in self.agent(agent_id).visible():
                if run.shown_created_ns < created_from_ns:
                    break
                if run.ended(now_ns) and run.status in TERMINAL:
                    yield run

    def truth(self, *, created_from_ns: int = 0, with_tools: bool = False) -> Truth:
        """Sums over `ended_runs`; `with_tools` writes all their contents, which takes long."""
        truth = Truth()
        for run in self.ended_runs(created_from_ns=created_from_ns):
            truth.add(run)
            if with_tools:
                truth.add_tools(run.agent_id, self.agents[run.agent_id].content(run).tools)
        return truth

    def _holder(self, run_id: str) -> AgentRuns:
        for agent_id in self.agents:
            if self.agent(agent_id).find(run_id) is not None:
                return self.agents[agent_id]
        raise LookupError(f"no visible run {run_id!r}")
