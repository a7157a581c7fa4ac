"""Compares what Conduit lists of an agent with what the ledger knows, and records what it lacks.

Reads every page since a moment, whatever was read before; it fetches no detail itself, that stays
the plan's. What the ledger has too much it only reports: a counter never goes back.
"""

import logging
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from exporter.clock import Clock
from exporter.errors import SourceError, SourceMalformed, SourceRateLimited, SourceUnavailable
from exporter.ledger.gate import LedgerGate
from exporter.ledger.runs import NOT_COUNTED
from exporter.ledger.schema import GapPurpose, RunState
from exporter.models import Page, Run
from exporter.sync.budget import backoff_s, pay
from exporter.sync.recorder import Recorder
from exporter.sync.source import Source
from exporter.sync.state import EMPTY_PAGES_MOST, PAGE_MOST, AgentState, WorkspaceState

logger = logging.getLogger("exporter.sync")

_TRIES: Final = 5


@dataclass(slots=True, kw_only=True)
class Difference:
    """One agent since a moment: what Conduit shows, and how the ledger differs.

    `shown` are runs that have ended; of these `missing` were not in the ledger and `late` were
    known but not seen to end. `unshown` are counted runs that Conduit lists no more. `older` began
    before the exporter counts. `trouble` says why the reading is not complete.
    """

    workspace_id: str
    agent_id: str
    agent_name: str
    shown: int = 0
    missing: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    in_flight: int = 0
    unreadable: int = 0
    older: int = 0
    unshown: int = 0
    trouble: str | None = None


class Comparison:
    """Compares agents one by one, within the budget of their workspace."""

    def __init__(
        self,
        *,
        source: Source,
        gate: LedgerGate,
        recorder: Recorder,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._source = source
        self._gate = gate
        self._recorder = recorder
        self._clock = clock
        self._rng = rng

    async def compare(
        self, workspace: WorkspaceState, agent: AgentState, *, since_ns: int, repair: bool
    ) -> Difference:
        """Read an agent's list down to `since_ns`; with `repair` record what is missing."""
        found = Difference(workspace_id=workspace.id, agent_id=agent.id, agent_name=agent.name)
        lowest_ns = max(since_ns, agent.floor_ns)
        counted = await self._gate.transact(
            lambda ledger: ledger.runs.counted_since(agent.no, lowest_ns)
        )
        unseen_in_flight = {
            run_id: run.created_ns
            for run_id, run in agent.in_flight.items()
            if run.created_ns >= lowest_ns
        }
        try:
            async for page in self._pages(workspace, agent, since_ns):
                counted -= await self._judge(agent, page, found, lowest_ns)
                for run in page.rows:
                    unseen_in_flight.pop(run.id, None)
                if repair:
                    await self._record(agent, page, lowest_ns)
        except SourceError as exc:
            found.trouble = str(exc)
            return found
        found.unshown = counted
        if repair:
            # In flight by the ledger, listed no more: one get-run each tells what became of them.
            agent.ended.update(unseen_in_flight)
        return found

    async def _judge(
        self, agent: AgentState, page: Page[Run], found: Difference, lowest_ns: int
    ) -> int:
        """Sort a page's runs; how many of them were counted before."""
        states = await self._gate.transact(
            lambda ledger: ledger.runs.states_of(agent.no, [run.id for run in page.rows])
        )
        known = 0
        found.unreadable += len(page.unreadable)
        for run in page.rows:
            if run.created_ns < lowest_ns:
                found.older += 1
                continue
            state = states.get(run.id)
            if state is not None and state not in NOT_COUNTED:
                known += 1
            if not run.terminal:
                found.in_flight += 1
                continue
            found.shown += 1
            if state is None:
                found.missing.append(run.id)
            elif state is RunState.SEEN:
                found.late.append(run.id)
        return known

    async def _record(self, agent: AgentState, page: Page[Run], lowest_ns: int) -> None:
        rows = tuple(run for run in page.rows if run.created_ns >= lowest_ns)
        await self._recorder.page(
            agent,
            Page(rows, page.unreadable, page.next_cursor),
            purpose=GapPurpose.LOOKBACK,
            coverage=None,
        )

    async def _pages(
        self, workspace: WorkspaceState, agent: AgentState, since_ns: int
    ) -> AsyncIterator[Page[Run]]:
        """The pages of an agent's list, each row once, until one reaches below `since_ns`."""
        cursor: str | None = None
        before: set[str] = set()
        empty = 0
        while True:
            page = await self._page(workspace, agent, cursor)
            empty = 0 if page.rows else empty + 1
            if empty > EMPTY_PAGES_MOST:
                raise SourceMalformed("Conduit answers empty pages with more to come, without end")
            # What arrives meanwhile pushes rows onto the next page: they come twice.
            fresh = tuple(
                run for run in page.rows if run.id not in before and run.created_ns >= since_ns
            )
            before = {run.id for run in page.rows}
            yield Page(fresh, page.unreadable, page.next_cursor)
            oldest_ns = min((run.created_ns for run in page.rows), default=since_ns)
            if page.next_cursor is None or oldest_ns < since_ns:
                return
            if page.next_cursor == cursor:
                raise SourceMalformed("Conduit's cursor leads back to itself")
            cursor = page.next_cursor

    async def _page(
        self, workspace: WorkspaceState, agent: AgentState, cursor: str | None
    ) -> Page[Run]:
        trouble: SourceError = SourceUnavailable()
        for failures in range(1, _TRIES + 1):
            await pay(workspace.budget, self._clock)
            try:
                page = await self._source.runs_page(
                    workspace_id=workspace.id, agent_id=agent.id, limit=PAGE_MOST, cursor=cursor
                )
            except SourceRateLimited as exc:
                now_s = self._clock.monotonic_s()
                workspace.budget.rest(now_s, exc.retry_after_s, self._rng)
                trouble = exc
            except SourceError as exc:
                await self._clock.sleep(backoff_s(failures, self._rng))
                trouble = exc
            else:
                workspace.budget.accepted()
                return page
            logger.debug("agent %s: %s", agent.id, trouble)
        raise trouble
