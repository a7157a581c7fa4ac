"""Who is watched: the workspaces and agents that the settings ask for and the API shows.

Reads lists of agents, puts what is wanted into the ledger and the state. Never reads runs.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exporter.clock import Clock
from exporter.ledger.gate import LedgerGate
from exporter.ledger.ledger import Ledger
from exporter.ledger.records import AgentRecord, GapRecord, InFlightRun
from exporter.ledger.schema import RunState, Urgency
from exporter.models import Agent, Workspace
from exporter.sync.budget import RequestBudget
from exporter.sync.source import Source
from exporter.sync.state import RECONCILE_S, AgentState, InFlight, WorkspaceState

logger = logging.getLogger("exporter.sync")

REFRESH_S: Final = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRange:
    """Older runs to trace and not to count, from `since_ns` on, `until_ns` left out.

    `until_ns` None: up to where an agent's counting begins, which is also the most there can be.
    """

    since_ns: int
    until_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What of the API is read.

    `agents` None watches every agent; `runs` are (agent id, run id) asked for by name. With `scans`
    False no list is read for news: what the ledger wants is fetched, and `backfill` if it is given.
    """

    agents: frozenset[str] | None
    runs: Sequence[tuple[str, str]] = ()
    lookback_s: float
    scans: bool = True
    backfill: BackfillRange | None = None

    def watches(self, agent_id: str) -> bool:
        """Whether an agent's lists are of interest, and not only single runs of it."""
        return self.agents is None or agent_id in self.agents


@dataclass(frozen=True, slots=True)
class _Found:
    """What the ledger holds of an agent."""

    record: AgentRecord
    gaps: list[GapRecord]
    in_flight: list[InFlightRun]
    awaiting: dict[Urgency, int]
    unsettled: list[str]


class Roster:
    """Keeps each workspace's agents as the API lists them."""

    def __init__(
        self,
        *,
        source: Source,
        gate: LedgerGate,
        clock: Clock,
        scope: Scope,
        requests_per_minute: float,
        wants_details: bool,
    ) -> None:
        self._source = source
        self._gate = gate
        self._clock = clock
        self._scope = scope
        self._requests_per_minute = requests_per_minute
        self._runs: dict[str, list[str]] = {}
        for agent_id, run_id in scope.runs:
            self._runs.setdefault(agent_id, []).append(run_id)
        self._wants_details = wants_details

    async def open_workspace(self, workspace: Workspace) -> WorkspaceState:
        """Make the state of a workspace, its agents of former runs included."""
        number = await self._gate.transact(lambda ledger: ledger.agents.put_workspace(workspace))
        return WorkspaceState(
            no=number,
            id=workspace.id,
            name=workspace.name,
            budget=RequestBudget(requests_per_minute=self._requests_per_minute),
        )

    async def read_agents(self, state: WorkspaceState) -> None:
        """Read the next page of a workspace's agents; one request. Raises SourceError."""
        page = await self._source.agents_page(state.id, cursor=state.agents_cursor)
        for agent in page.rows:
            if self._is_wanted(agent.id):
                state.agents_listing.add(agent.id)
                await self._watch(state, agent)
        state.agents_cursor = page.next_cursor
        if page.next_cursor is not None:
            return
        for agent_id, known in state.agents.items():
            if known.listed and agent_id not in state.agents_listing:
                logger.warning("agent %s is no longer listed; it is not polled", agent_id)
            known.listed = agent_id in state.agents_listing
        state.agents_listing = set()
        state.agents_due_s = self._clock.monotonic_s() + REFRESH_S
        state.discovered = True

    async def reload(self, state: WorkspaceState) -> None:
        """Take over again what the ledger holds of every agent. Raises LedgerError.

        For when a commit's outcome was unknown: its repeat finds everything done and cannot tell
        what was new. No request about the workspace may be under way.
        """
        found = await self._gate.transact(
            lambda ledger: {agent.id: _load(ledger, agent.no) for agent in state.agents.values()}
        )
        for agent_id, (gaps, in_flight, awaiting) in found.items():
            agent = state.agents[agent_id]
            agent.gaps = gaps
            agent.in_flight = {
                run.id: agent.in_flight.get(run.id, InFlight(run.created_ns, ""))
                for run in in_flight
            }
            agent.awaiting = awaiting if self._wants_details else {}
            agent.window, agent.window_stale = [], True

    def missing(self, states: Mapping[str, WorkspaceState]) -> list[str]:
        """The ids of agents that the settings name and no workspace lists."""
        named = set(self._scope.agents or ()) | set(self._runs)
        return sorted(named - {agent for state in states.values() for agent in state.agents})

    def _is_wanted(self, agent_id: str) -> bool:
        return self._scope.watches(agent_id) or agent_id in self._runs

    async def _watch(self, state: WorkspaceState, agent: Agent) -> None:
        known = state.agents.get(agent.id)
        if known is not None and known.name == agent.name:
            return
        floor_ns = self._clock.now_ns() - round(self._scope.lookback_s * 1e9)
        backfill = self._scope.backfill if self._scope.watches(agent.id) else None
        found = await self._gate.transact(
            _put_and_load(state.no, agent, floor_ns, self._runs.get(agent.id, ()), backfill)
        )
        if known is not None:
            known.name = agent.name
            return
        state.agents[agent.id] = self._agent_state(agent, found)

    def _agent_state(self, agent: Agent, found: _Found) -> AgentState:
        record = found.record
        return AgentState(
            no=record.no,
            id=agent.id,
            name=agent.name,
            floor_ns=record.floor_ns,
            frontier_ns=record.frontier_ns,
            scans=self._scope.scans and self._scope.watches(agent.id),
            # What is read now is read a second time when it has settled.
            reconcile_due_s=self._clock.monotonic_s() + RECONCILE_S,
            gaps=found.gaps,
            # Their status is not known any more; the next page or sweep tells.
            in_flight={run.id: InFlight(run.created_ns, "") for run in found.in_flight},
            awaiting=found.awaiting if self._wants_details else {},
            wanted=dict.fromkeys(found.unsettled),
        )


def _put_and_load(
    workspace_no: int,
    agent: Agent,
    floor_ns: int,
    named: Sequence[str],
    backfill: BackfillRange | None,
) -> Callable[[Ledger], _Found]:
    def work(ledger: Ledger) -> _Found:
        record = ledger.agents.put_agent(agent, workspace_no=workspace_no, floor_ns=floor_ns)
        if backfill is not None:
            record = ledger.agents.open_backfill(
                record, since_ns=backfill.since_ns, until_ns=backfill.until_ns
            )
        gaps, in_flight, awaiting = _load(ledger, record.no)
        return _Found(
            record=record,
            gaps=gaps,
            in_flight=in_flight,
            awaiting=awaiting,
            unsettled=[
                run_id
                for run_id in named
                if ledger.runs.state_of(record.no, run_id)
                in (None, RunState.SEEN, RunState.COUNTED, RunState.UNREADABLE)
            ],
        )

    return work


def _load(
    ledger: Ledger, agent_no: int
) -> tuple[list[GapRecord], list[InFlightRun], dict[Urgency, int]]:
    """What is still to be done for an agent."""
    return (
        ledger.agents.gaps(agent_no),
        ledger.runs.in_flight(agent_no),
        ledger.runs.awaiting_counts(agent_no),
    )
