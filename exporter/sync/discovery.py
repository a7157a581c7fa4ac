"""Who is watched: the agents that the settings ask for and the lists of agents show.

What the ledger knows goes on whether or not the lists can be read. Never reads runs.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from exporter.clock import Clock, ConduitTime
from exporter.conduit.client import ConduitClient
from exporter.conduit.models import Agent, Page, Workspace
from exporter.conduit.pager import Pager, Step
from exporter.errors import quote
from exporter.ledger.gate import LedgerGate
from exporter.ledger.ledger import Ledger
from exporter.ledger.records import AgentProgress, AwaitedRun, InFlightRun
from exporter.sync.budget import RequestBudget
from exporter.sync.health import RUN_RETRY_S, Retry, cursor_rest_s
from exporter.sync.reading import REREAD_INTERVAL_S
from exporter.sync.requests import Reading
from exporter.sync.state import AgentState, WorkspaceState

logger = logging.getLogger("exporter.sync")

REFRESH_S: Final = 900.0
# A second look at a list that lacked an agent, and at what a refused list of runs may mean.
_CONFIRM_S: Final = 60.0


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


class Discovery:
    """Keeps each workspace's agents as the API lists them; `workspaces` are all, by id."""

    def __init__(
        self,
        *,
        client: ConduitClient,
        gate: LedgerGate,
        clock: Clock,
        time: ConduitTime,
        scope: Scope,
        requests_per_minute: float,
        once: bool = False,
    ) -> None:
        self._client = client
        self._gate = gate
        self._clock = clock
        self._time = time
        self._scope = scope
        self._requests_per_minute = requests_per_minute
        self._once = once
        self._runs: dict[str, list[str]] = {}
        for agent_id, run_id in scope.runs:
            self._runs.setdefault(agent_id, []).append(run_id)
        self.workspaces: dict[str, WorkspaceState] = {}

    async def known_workspaces(self) -> list[Workspace]:
        """Those that the ledger remembers."""
        return await self._gate.transact(lambda ledger: ledger.agents.workspaces())

    async def open_workspace(self, workspace: Workspace, *, since_s: float) -> WorkspaceState:
        """Begin to read a workspace, with the agents that the ledger remembers.

        `since_s` (monotonic) is from when on its runs are news, however late its agents are listed.
        """
        since_ns = self._ns_of(since_s) if self._time.is_known else None

        def work(
            ledger: Ledger,
        ) -> tuple[tuple[int | None, int | None], list[tuple[AgentProgress, list[str]]]]:
            return ledger.agents.put_workspace(workspace, since_ns=since_ns), [
                (
                    ledger.agents.progress(agent.no),
                    ledger.runs.unsettled(agent.no, self._runs.get(agent.id, ())),
                )
                for agent in ledger.agents.agents_of(workspace.id)
                if self._is_wanted(agent.id)
            ]

        state = WorkspaceState(
            id=workspace.id,
            name=workspace.name,
            budget=RequestBudget(requests_per_minute=self._requests_per_minute),
            since_s=since_s,
        )
        (first_ns, state.listed_ns), known = await self._gate.transact(work)
        state.since_ns = None if known else first_ns
        for progress, unsettled in known:
            state.agents[progress.agent.id] = self._agent_state(progress, unsettled)
            if self._scope.backfill is not None and self._scope.watches(progress.agent.id):
                await self._open_backfill(state.agents[progress.agent.id])
        self.workspaces[workspace.id] = state
        return state

    async def close_workspace(self, workspace_id: str, *, retire: bool) -> None:
        """Read a workspace no more; `retire`: nor begin with it after a restart."""
        del self.workspaces[workspace_id]
        if retire:
            await self._gate.transact(lambda ledger: ledger.agents.retire_workspace(workspace_id))

    async def read_agents(self, state: WorkspaceState) -> None:
        """Read the next page of a workspace's agents; one request. Raises SourceError."""
        state.agents_asked_s = self._clock.monotonic_s()
        pager = state.agents_pager
        if pager.cursor is None:
            state.listing_from_ns = self._time.now_ns()
        page, step = await pager.read(partial(self._client.agents_page, state.id))
        if page is not None:
            self._time.observe(page.date_ns)
            await self._take(state, page)
        if step in (Step.RESTART, Step.REST):
            self._restart(state, step)
        elif step is Step.END:
            state.agents_pager = Pager()
            state.agents_retry = None
            await self._retire_missing(state)
            if not state.discovered:
                logger.info(
                    "workspace %s (%s), agents listed: %d",
                    state.id,
                    quote(state.name),
                    sum(agent.listed for agent in state.agents.values()),
                )
            state.discovered = True

    def restart(self, state: WorkspaceState, reason: str) -> None:
        """Read the list from the head again: the page behind its cursor cannot be had."""
        self._restart(state, state.agents_pager.restart(reason))

    def look_again(self, state: WorkspaceState) -> None:
        """Let the list of agents be due: a list of runs was refused, so its agent may be gone."""
        soonest_s = state.agents_asked_s + _CONFIRM_S
        state.agents_due_s = min(state.agents_due_s, max(self._clock.monotonic_s(), soonest_s))

    def missing(self) -> list[str]:
        """The ids of agents that the settings name and no workspace lists."""
        named = set(self._scope.agents or ()) | set(self._runs)
        return sorted(
            named
            - {
                agent.id
                for state in self.workspaces.values()
                for agent in state.agents.values()
                if agent.listed
            }
        )

    def _is_wanted(self, agent_id: str) -> bool:
        return self._scope.watches(agent_id) or agent_id in self._runs

    def _restart(self, state: WorkspaceState, step: Step) -> None:
        logger.warning(
            "workspace %s: its list of agents is read from the head again: %s; agents that are "
            "known go on",
            state.id,
            state.agents_pager.reason,
        )
        # What was listed stands; what was not cannot be told from what was not reached.
        state.agents_listing = set()
        state.discovered = True
        restarts = state.agents_pager.restarts
        delay_s = cursor_rest_s(restarts) if step is Step.REST else RUN_RETRY_S[restarts - 1]
        state.agents_retry = Retry(restarts, self._clock.monotonic_s() + delay_s)

    async def _take(self, state: WorkspaceState, page: Page[Agent]) -> None:
        for agent in page.rows:
            if self._is_wanted(agent.id):
                state.agents_listing.add(agent.id)
                await self._watch(state, agent)

    async def _watch(self, state: WorkspaceState, agent: Agent) -> None:
        known = state.agents.get(agent.id)
        if known is not None:
            known.missed_once = False
            if known.name == agent.name and known.listed:
                return
        lookback_ns = round(self._scope.lookback_s * 1e9)
        floor_ns = self._time.now_ns() - lookback_ns
        if state.listed_ns is not None:
            # It was not there when all were last listed: whatever it did is news.
            floor_ns = min(floor_ns, state.listed_ns)
        else:
            # They could not be listed since then: the look-back is that of the first start.
            started_ns = self._ns_of(state.since_s)
            floor_ns = min(started_ns, state.since_ns or started_ns) - lookback_ns
        listed = Agent(id=agent.id, workspace_id=state.id, name=agent.name)

        def work(ledger: Ledger) -> tuple[AgentProgress, list[str]]:
            record = ledger.agents.put_agent(listed, floor_ns=floor_ns)
            return (
                ledger.agents.progress(record.no),
                ledger.runs.unsettled(record.no, self._runs.get(agent.id, ())),
            )

        progress, unsettled = await self._gate.transact(work)
        if known is not None:
            known.update(progress)
            return
        moved = self._take_from_others(state, agent.id)
        if moved is not None:
            moved.update(progress)
            moved.retries.pop(Reading.HEAD, None)
            moved.missed_once = False
            state.agents[agent.id] = moved
            return
        state.agents[agent.id] = self._agent_state(progress, unsettled)
        if self._scope.backfill is not None and self._scope.watches(agent.id):
            await self._open_backfill(state.agents[agent.id])

    def _ns_of(self, moment_s: float) -> int:
        """A moment of the monotonic clock by Conduit's."""
        return self._time.now_ns() - round((self._clock.monotonic_s() - moment_s) * 1e9)

    def _take_from_others(self, state: WorkspaceState, agent_id: str) -> AgentState | None:
        """An agent that has moved here from another workspace; it is the same one."""
        for other in self.workspaces.values():
            if other is not state and agent_id in other.agents:
                logger.info(
                    "agent %s has moved from workspace %s to %s", agent_id, other.id, state.id
                )
                return other.agents.pop(agent_id)
        return None

    async def _retire_missing(self, state: WorkspaceState) -> None:
        """Retire agents that two complete lists did not show; ask soon where one did not."""
        listing, state.agents_listing = state.agents_listing, set()
        state.listed_ns = listed_ns = state.listing_from_ns
        if listed_ns is not None:
            await self._gate.transact(
                lambda ledger: ledger.agents.listed_whole(state.id, listed_ns)
            )
        state.agents_due_s = self._clock.monotonic_s() + REFRESH_S
        for agent_id, agent in list(state.agents.items()):
            if agent_id in listing or not agent.listed:
                continue
            if not agent.missed_once:
                agent.missed_once = True
                state.agents_due_s = self._clock.monotonic_s() + _CONFIRM_S
                # It may have moved.
                for other in self.workspaces.values():
                    if other is not state:
                        self.look_again(other)
                continue
            progress = await self._gate.transact(_retire(agent.no, state.id))
            agent.update(progress)
            if not progress.agent.listed:
                logger.warning("agent %s is no longer listed; it is not polled", agent_id)

    async def _open_backfill(self, agent: AgentState) -> None:
        backfill = self._scope.backfill
        if backfill is None:
            return

        def work(ledger: Ledger) -> AgentProgress:
            ledger.agents.open_backfill(
                agent.no, since_ns=backfill.since_ns, until_ns=backfill.until_ns
            )
            return ledger.agents.progress(agent.no)

        agent.update(await self._gate.transact(work))

    def _agent_state(self, progress: AgentProgress, unsettled: Sequence[str]) -> AgentState:
        now_s, now_ns = self._clock.monotonic_s(), self._clock.now_ns()
        agent = AgentState(
            progress=progress,
            scans=self._scope.scans and self._scope.watches(progress.agent.id),
            wanted=dict.fromkeys(unsettled),
        )
        reread_ns = progress.agent.reread_ns
        if reread_ns is not None:
            passed_s = (self._time.now_ns() - reread_ns) / 1e9
            agent.reread_due_s = now_s + min(
                REREAD_INTERVAL_S, max(0.0, REREAD_INTERVAL_S - passed_s)
            )
        waiting: list[AwaitedRun | InFlightRun] = [*progress.retrying, *progress.in_flight]
        for run in waiting:
            if run.attempts and run.retry_ns is not None and not self._once:
                # The local clock may have jumped: never later than the schedule itself.
                longest_s = RUN_RETRY_S[min(run.attempts, len(RUN_RETRY_S)) - 1]
                wait_s = min(longest_s, max(0.0, (run.retry_ns - now_ns) / 1e9))
                agent.retries[run.id] = Retry(run.attempts, now_s + wait_s)
        return agent


def _retire(agent_no: int, workspace_id: str) -> Callable[[Ledger], AgentProgress]:
    def work(ledger: Ledger) -> AgentProgress:
        ledger.agents.retire(agent_no, workspace_id=workspace_id)
        return ledger.agents.progress(agent_no)

    return work
