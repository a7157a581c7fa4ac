"""What there is in the simulated Conduit, and the orders that change it while it is being read.

Orders take effect at the present moment, or later through `at`. Knows nothing of requests.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from exporter.conduit.models import TERMINAL_STATUSES
from exporter.demo.answers import Edit, content_fields, json_object, summary_fields
from exporter.demo.directory import Scenario, SimAgent
from exporter.demo.runs import RunContent, SimRun
from exporter.demo.table import Key, RunTable
from exporter.demo.tally import Truth

_KEPT_ROWS: Final = 2_048  # rendered rows kept of each agent: the head of its list and more


@dataclass(slots=True)
class AgentState:
    """An agent and its runs as they are now; a rendered row holds until its run's next change."""

    agent: SimAgent
    table: RunTable
    edits: dict[str, Edit] = field(default_factory=dict)
    rendered: dict[Key, tuple[int, bytes]] = field(default_factory=dict)


class SimulatedData:
    """Workspaces, agents and runs at the present moment, which is asked of `now_ns`."""

    def __init__(self, *, now_ns: Callable[[], int], scenario: Scenario) -> None:
        self.tokens = dict(scenario.tokens)
        self.workspaces = {one.id: one for one in scenario.workspaces}
        self.agents: dict[str, AgentState] = {}
        self._now_ns = now_ns
        self._actions: list[tuple[int, int, Callable[[], None]]] = []
        self._action_count = 0
        for agent in scenario.agents:
            self.add_agent(agent)

    def present_ns(self) -> int:
        """The present moment, after what was ordered for it has been done."""
        now_ns = self._now_ns()
        while self._actions and self._actions[0][0] <= now_ns:
            heapq.heappop(self._actions)[2]()
        return now_ns

    def at(self, at_ns: int, action: Callable[[], None]) -> None:
        """Do something when this time has come, before any later request is read."""
        self._action_count += 1
        heapq.heappush(self._actions, (at_ns, self._action_count, action))

    def add_agent(self, agent: SimAgent) -> None:
        """Let an agent appear, or take the place of the one with its id."""
        self.agents[agent.id] = AgentState(agent, RunTable(agent.runs))

    def delete_agent(self, agent_id: str) -> None:
        """Let an agent disappear with all its runs."""
        del self.agents[agent_id]

    def add_run(
        self, run: SimRun, content: RunContent | None = None, *, visible_ns: int | None = None
    ) -> None:
        """Place a run, shown at once, or from `visible_ns` on: the list may lag behind."""
        table = self._advanced(run.agent_id).table
        table.place(run, content or RunContent(), visible_ns=visible_ns)

    def delete_run(self, run_id: str) -> None:
        """Let a visible run disappear; the rows after it move up."""
        state, key = self._find(run_id)
        state.table.delete(key)

    def revise_run(
        self, run_id: str, *, content: RunContent | None = None, **changes: Any
    ) -> SimRun:
        """Change fields of a visible run and return it as it now is."""
        state, key = self._find(run_id)
        run = state.table.run(key)._replace(**changes)
        placed = state.table.replace(key, run, content or state.table.content(key))
        state.rendered.pop(placed, None)
        return run

    def edit_run(self, run_id: str, edit: Edit) -> None:
        """Spoil a visible run's JSON, in lists and in get-run, from now on."""
        state, _ = self._find(run_id)
        state.edits[run_id] = edit
        self.revise_run(run_id)  # an edited run is always one that is placed

    def run(self, run_id: str) -> SimRun:
        """A run that is visible now, whole; LookupError where there is none."""
        state, key = self._find(run_id)
        return state.table.run(key)

    def content(self, run_id: str) -> RunContent:
        """The content of a run that is visible now, whether it has ended or not."""
        state, key = self._find(run_id)
        return state.table.content(key)

    def run_ids(self, agent_id: str) -> list[str]:
        """The ids of an agent's visible runs, newest first."""
        table = self._advanced(agent_id).table
        return [table.run_id(key) for key in table][::-1]

    def truth(
        self,
        *,
        created_from_ns: int = 0,
        with_tools: bool = False,
        without: Iterable[str] = (),
    ) -> Truth:
        """Sums over the terminal runs visible now, but for the runs named in `without`.

        `with_tools` writes the content of every run, which takes many times as long.
        """
        now_ns = self.present_ns()
        left_out = frozenset(without)
        truth = Truth()
        for agent_id in self.agents:
            table = self._advanced(agent_id).table
            for key in table:
                run = table.run(key)
                if (
                    run.created_ns < created_from_ns
                    or not run.ended(now_ns)
                    or run.status not in TERMINAL_STATUSES
                    or run.id in left_out
                ):
                    continue
                truth.add(run)
                if with_tools:
                    truth.add_tools(agent_id, table.content(key).tools)
        return truth

    def row(self, state: AgentState, key: Key, now_ns: int) -> bytes:
        """A run as a list page shows it."""
        known = state.rendered.get(key)
        if known is not None and now_ns < known[0]:
            return known[1]
        run = state.table.run(key)
        fields = summary_fields(run, workspace_id=state.agent.workspace_id, now_ns=now_ns)
        edit = state.edits.get(run.id)
        row = json_object(edit(fields) if edit else fields)
        if len(state.rendered) >= _KEPT_ROWS:
            del state.rendered[next(iter(state.rendered))]
        state.rendered[key] = (run.changes_after(now_ns), row)
        return row

    def whole(self, state: AgentState, run: SimRun, key: Key, now_ns: int) -> bytes:
        """A run as get-run shows it; there is no content before its end."""
        content = state.table.content(key) if run.ended(now_ns) else RunContent()
        fields = summary_fields(run, workspace_id=state.agent.workspace_id, now_ns=now_ns)
        fields += content_fields(content)
        edit = state.edits.get(run.id)
        return json_object(edit(fields) if edit else fields)

    def _advanced(self, agent_id: str) -> AgentState:
        state = self.agents[agent_id]
        state.table.advance(self._now_ns())
        return state

    def _find(self, run_id: str) -> tuple[AgentState, Key]:
        for agent_id in self.agents:
            state = self._advanced(agent_id)
            key = state.table.find(run_id)
            if key is not None:
                return state, key
        raise LookupError(f"no visible run {run_id!r}")
