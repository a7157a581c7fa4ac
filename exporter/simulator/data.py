"""What there is in the simulated Conduit as time passes: workspaces, agents, and their runs.

Knows nothing of requests.
"""

import json
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from exporter.simulator.generator import GeneratedRuns
from exporter.simulator.runs import (
    FAR_FUTURE_NS,
    RunContent,
    SimRun,
    content_fields,
    json_object,
    json_time,
    summary_fields,
)

# A row's place in its list: the creation time that is shown, then the id.
Place = tuple[int, str]
NEWEST: Final[Place] = (FAR_FUTURE_NS, "")


@dataclass(frozen=True, slots=True)
class SimWorkspace:
    """A workspace as `GET /v1/workspaces` shows it."""

    id: str
    name: str

    def row(self) -> bytes:
        return json.dumps({"id": self.id, "name": self.name}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimAgent:
    """An agent, and where its runs come from, if it gets any by itself."""

    id: str
    workspace_id: str
    name: str
    description: str | None = None
    triggers: tuple[tuple[str, str], ...] = ()  # (id, type)
    created_ns: int = 0
    runs: GeneratedRuns | None = None

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


class AgentRuns:
    """One agent's runs; shows exactly those that are visible now. Time never goes back."""

    def __init__(self, agent: SimAgent) -> None:
        self.agent = agent
        self._source = agent.runs
        self._known: dict[str, SimRun] = {}
        self._places: list[Place] = []  # of the visible rows, oldest first
        self._rows: dict[str, tuple[int, bytes]] = {}  # rendered, and until when that holds
        self._now_ns = 0

    def advance(self, now_ns: int) -> None:
        """Bring the runs to this time."""
        self._now_ns = max(now_ns, self._now_ns)
        if self._source is not None and self._source.next_ns <= now_ns:
            for run in self._source.arrivals(now_ns):
                self.arrive(run)

    def arrive(self, run: SimRun) -> None:
        """Show a new run."""
        self._known[run.id] = run
        insort(self._places, place_of(run))

    def stop_arrivals(self) -> None:
        """No further run is created; those that are known go on."""
        self._source = None

    def find(self, run_id: str) -> SimRun | None:
        """The visible run with this id."""
        run = self._known.get(run_id)
        return run if run is not None and self.is_visible(run) else None

    def visible(self) -> Iterator[SimRun]:
        """All visible runs, newest first."""
        return (self._known[run_id] for _, run_id in reversed(self._places))

    def page(
        self, *, status: str | None, after: Place | int, take: int
    ) -> list[tuple[Place, bytes]]:
        """Places and rows, newest first, after a place or after so many rows of the same list."""
        skip, end = 0, len(self._places)
        if not isinstance(after, int):
            end = bisect_left(self._places, after)
        elif status is None:
            end = max(0, end - after)
        else:
            skip = after
        runs = (self._known[self._places[at][1]] for at in range(end - 1, -1, -1))
        matching = (run for run in runs if status in (None, run.status_at(self._now_ns)))
        chosen = islice(matching, skip, skip + take)
        return [(place_of(run), self.row(run)) for run in chosen]

    def content(self, run: SimRun) -> RunContent:
        """What get-run tells of the run once it has ended."""
        return RunContent() if self.agent.runs is None else self.agent.runs.content(run)

    def row(self, run: SimRun) -> bytes:
        """A run as a list page shows it now."""
        until_ns, row = self._rows.get(run.id, (0, b""))
        if until_ns <= self._now_ns:
            row = json_object(self.fields(run))
            self._rows[run.id] = run.changes_after(self._now_ns), row
        return row

    def whole(self, run: SimRun) -> bytes:
        """A run as get-run shows it now; there is no content before its end."""
        content = self.content(run) if run.ended(self._now_ns) else RunContent()
        return json_object(self.fields(run, content))

    def fields(self, run: SimRun, content: RunContent | None = None) -> dict[str, str]:
        """What is shown of a run now, each field as JSON text; `content` for get-run alone."""
        fields = summary_fields(run, workspace_id=self.agent.workspace_id, now_ns=self._now_ns)
        return fields if content is None else fields | content_fields(content)

    def is_visible(self, run: SimRun) -> bool:
        """Whether lists show the run now."""
        at = bisect_left(self._places, place_of(run))
        return at < len(self._places) and self._places[at] == place_of(run)


def place_of(run: SimRun) -> Place:
    """Where a run stands in its list."""
    return run.shown_created_ns, run.id


class SimulatedData:
    """Workspaces, agents and runs at the present moment, which is asked of `now_ns`."""

    def __init__(self, *, now_ns: Callable[[], int], scenario: Scenario) -> None:
        self.tokens = dict(scenario.tokens)
        self.workspaces = {one.id: one for one in scenario.workspaces}
        self.agents = {one.id: self.open_agent(one) for one in scenario.agents}
        self._now_ns = now_ns

    def present_ns(self) -> int:
        """The present moment."""
        return self._now_ns()

    def open_agent(self, agent: SimAgent) -> AgentRuns:
        """The runs of an agent that is new."""
        return AgentRuns(agent)

    def agent(self, agent_id: str) -> AgentRuns:
        """An agent's runs at the present moment; LookupError where there is no such agent."""
        runs = self.agents[agent_id]
        runs.advance(self.present_ns())
        return runs

    def stop_arrivals(self) -> None:
        """Let no agent get further runs."""
        for agent_id in self.agents:
            self.agent(agent_id).stop_arrivals()

    def run_ids(self, agent_id: str) -> list[str]:
        """The ids of an agent's visible runs, newest first."""
        return [run.id for run in self.agent(agent_id).visible()]
