"""The simulated Conduit in the hands of a test: faults, changes to what there is, and the truth."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any

from exporter.simulator.conduit import SimRequest, SimResponse, SimulatedConduit
from exporter.simulator.data import AgentRuns, Scenario, SimAgent, SimulatedData, place_of
from exporter.simulator.generator import GeneratedRuns
from exporter.simulator.runs import MS_NS, SECOND_NS, TERMINAL, RunContent, SimRun
from tests.simulation.faults import FaultPlan
from tests.simulation.requests import Requests

# Changes to a run's JSON: a field's name and its JSON text, valid or not; None leaves it out.
Edit = Mapping[str, str | None]


class ScriptedConduit(SimulatedConduit):
    """Orders go to `data` and `faults`; `asked` is every request so far."""

    data: "ScriptedData"

    def __init__(self, *, now_ns: Callable[[], int], scenario: Scenario, **over: Any) -> None:
        super().__init__(ScriptedData(now_ns=now_ns, scenario=scenario), **over)
        self.faults = FaultPlan()
        self.asked = Requests()

    def answer(self, request: SimRequest) -> SimResponse:
        """The true answer, or what a fault makes of it."""
        fault = self.faults.pick(request)
        truthful = super().answer
        response = truthful(request) if fault is None else fault(request, truthful)
        self.asked.note(request, response)
        return response


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Disorder:
    """Shares of runs that do not behave: each ratio is of all runs, 0 to 1.

    Long runs, runs that never end, runs that the list shows late, runs that are deleted, and runs
    whose times lie ahead of the present.
    """

    long_ratio: float = 0.0
    long_s: tuple[float, float] = (600.0, 6 * 3600.0)
    stuck_ratio: float = 0.0
    late_ratio: float = 0.0
    late_s: tuple[float, float] = (1.0, 30.0)
    deleted_ratio: float = 0.0
    deleted_after_s: tuple[float, float] = (60.0, 24 * 3600.0)
    ahead_ratio: float = 0.0
    ahead_s: tuple[float, float] = (60.0, 12 * 3600.0)


class DisorderlyRuns(GeneratedRuns):
    """Generated runs of which some do not behave.

    A step of creation times above a millisecond makes runs with equal ones. When a run is shown,
    and when it is deleted, is told by its id.
    """

    def __init__(self, *, disorder: Disorder, created_step_ms: int, **parts: Any) -> None:
        super().__init__(**parts)
        self._disorder = disorder
        self._created_step_ns = created_step_ms * MS_NS
        self.visible_ns: dict[str, int] = {}
        self.deleted_ns: dict[str, int] = {}

    def new_run(self, at_ns: int) -> SimRun:
        rng, disorder = self.rng, self._disorder
        visible_ns, deleted_ns, ahead_ns = at_ns, None, 0
        if rng.random() < disorder.late_ratio:
            visible_ns += round(rng.uniform(*disorder.late_s) * SECOND_NS)
        if rng.random() < disorder.deleted_ratio:
            deleted_ns = visible_ns + round(rng.uniform(*disorder.deleted_after_s) * SECOND_NS)
        if rng.random() < disorder.ahead_ratio:
            ahead_ns = round(rng.uniform(*disorder.ahead_s)) * SECOND_NS
        created_ns = at_ns // self._created_step_ns * self._created_step_ns
        run = super().new_run(created_ns)._replace(ahead_ns=ahead_ns)
        self.visible_ns[run.id] = visible_ns
        if deleted_ns is not None:
            self.deleted_ns[run.id] = deleted_ns
        return run

    def new_length_ns(self) -> int | None:
        disorder, length_ns = self._disorder, super().new_length_ns()
        fate = self.rng.random()
        if fate < disorder.stuck_ratio:
            return None
        if fate < disorder.stuck_ratio + disorder.long_ratio:
            return round(self.rng.uniform(*disorder.long_s) * 1000) * MS_NS
        return length_ns


class ScriptedRuns(AgentRuns):
    """An agent's runs, which tests place, change and delete."""

    def __init__(self, agent: SimAgent) -> None:
        super().__init__(agent)
        self._placed: dict[str, RunContent] = {}
        self._edits: dict[str, dict[str, str | None]] = defaultdict(dict)
        self._planned = Plan()

    def advance(self, now_ns: int) -> None:
        super().advance(now_ns)
        self._planned.do_until(now_ns)

    def arrive(self, run: SimRun) -> None:
        """Show a new run, now or when its time comes, and let it be deleted at its time."""
        source = self.agent.runs
        if not isinstance(source, DisorderlyRuns):
            super().arrive(run)
            return
        self._planned.add(source.visible_ns.pop(run.id), partial(super().arrive, run))
        if run.id in source.deleted_ns:
            self._planned.add(source.deleted_ns.pop(run.id), partial(self.delete, run))

    def place(self, run: SimRun, content: RunContent) -> None:
        """Add a run by hand, visible at once; its id must be new."""
        if run.id in self._known:
            raise ValueError(f"there is a run {run.id!r} already")
        self._placed[run.id] = content
        super().arrive(run)

    def revise(self, run: SimRun) -> None:
        """Let a visible run be another from now on; its creation time may not change."""
        self._known[run.id] = run
        self._rows.pop(run.id, None)

    def edit(self, run: SimRun, edit: Edit) -> None:
        """Spoil a run's JSON from now on."""
        self._edits[run.id] |= edit
        self._rows.pop(run.id, None)

    def delete(self, run: SimRun) -> None:
        """Remove a run for good."""
        if self.find(run.id) is not None:
            self._places.remove(place_of(run))
            del self._known[run.id]

    def move(self, workspace_id: str) -> None:
        """Show the agent and its runs in another workspace."""
        self.agent = replace(self.agent, workspace_id=workspace_id)
        self._rows.clear()

    def content(self, run: SimRun) -> RunContent:
        placed = self._placed.get(run.id)
        return super().content(run) if placed is None else placed

    def fields(self, run: SimRun, content: RunContent | None = None) -> dict[str, str]:
        edited = {**super().fields(run, content), **self._edits.get(run.id, {})}
        return {name: text for name, text in edited.items() if text is not None}


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

    def add(self, run: SimRun, content: RunContent | None = None) -> None:
        """Count a run that has ended, and the tool calls of its content."""
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
        for name, failed in () if content is None else content.tools:
            self.tool_calls[agent_id, name] += 1
            self.tool_errors[agent_id, name] += failed


class ScriptedData(SimulatedData):
    """What there is, what is true of it, and the orders that change it.

    Orders take effect at the present moment, or later through `at`.
    """

    agents: dict[str, ScriptedRuns]  # type: ignore[assignment]  # made by open_agent

    def __init__(self, *, now_ns: Callable[[], int], scenario: Scenario) -> None:
        super().__init__(now_ns=now_ns, scenario=scenario)
        self._deleted: dict[str, ScriptedRuns] = {}
        self._planned = Plan()

    def open_agent(self, agent: SimAgent) -> ScriptedRuns:
        return ScriptedRuns(agent)

    def present_ns(self) -> int:
        """The present moment, after what was ordered for it has been done."""
        now_ns = super().present_ns()
        self._planned.do_until(now_ns)
        return now_ns

    def at(self, at_ns: int, action: Callable[[], None]) -> None:
        """Do something when this time has come, before any later request is read."""
        self._planned.add(at_ns, action)

    def delete_agent(self, agent_id: str) -> None:
        """Let an agent disappear with all its runs, until `restore_agent`."""
        self._deleted[agent_id] = self.agents.pop(agent_id)

    def restore_agent(self, agent_id: str) -> None:
        """Let a deleted agent be there again; its runs went on meanwhile."""
        self.agents[agent_id] = self._deleted.pop(agent_id)

    def move_agent(self, agent_id: str, workspace_id: str) -> None:
        """Let an agent and its runs belong to another workspace."""
        self.agents[agent_id].move(workspace_id)

    def add_run(self, run: SimRun, content: RunContent | None = None) -> None:
        """Place a run, shown at once."""
        self.agent(run.agent_id)
        self.agents[run.agent_id].place(run, content or RunContent())

    def delete_run(self, run_id: str) -> None:
        """Let a visible run disappear; the rows after it move up."""
        holder, run = self._found(run_id)
        holder.delete(run)

    def revise_run(self, run_id: str, *, completed_ns: int | None) -> None:
        """Let a visible run end at another time, or go on."""
        holder, run = self._found(run_id)
        holder.revise(run._replace(completed_ns=completed_ns))

    def edit_run(self, run_id: str, edit: Edit) -> None:
        """Spoil a visible run's JSON, in lists and in get-run, from now on."""
        holder, run = self._found(run_id)
        holder.edit(run, edit)

    def run(self, run_id: str) -> SimRun:
        """A run that is visible now; LookupError where there is none."""
        return self._found(run_id)[1]

    def whole(self, run_id: str) -> bytes:
        """A visible run's JSON as get-run answers it."""
        holder, run = self._found(run_id)
        return holder.whole(run)

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
            truth.add(run, self.agents[run.agent_id].content(run) if with_tools else None)
        return truth

    def _found(self, run_id: str) -> tuple[ScriptedRuns, SimRun]:
        """A run that is visible now, and where it is; LookupError where there is none."""
        for agent_id, holder in self.agents.items():
            run = self.agent(agent_id).find(run_id)
            if run is not None:
                return holder, run
        raise LookupError(f"no visible run {run_id!r}")
