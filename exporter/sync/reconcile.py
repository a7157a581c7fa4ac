"""Compares what Conduit lists of an agent with what the ledger knows, and records what it lacks.

Reads every page since a moment, whatever was read before; it fetches no detail itself, that stays
the plan's. What the ledger has too much it only reports: a counter never goes back.
"""

import logging
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from exporter.clock import Clock
from exporter.conduit.client import ConduitClient
from exporter.conduit.models import Page, Run
from exporter.conduit.pager import read_pages
from exporter.errors import SourceError, SourceMalformed, SourceRateLimited, SourceUnavailable
from exporter.ledger.gate import LedgerGate
from exporter.ledger.records import Priority
from exporter.sync.budget import backoff_s, pay
from exporter.sync.coverage import oldest_ns
from exporter.sync.recording import Recorder
from exporter.sync.requests import PAGE_MAX
from exporter.sync.state import AgentState, WorkspaceState

logger = logging.getLogger("exporter.sync")

_TRIES: Final = 5


@dataclass(slots=True, kw_only=True)
class Difference:
    """One agent since a moment: what Conduit shows, and how the ledger differs.

    `shown` are runs that have ended; of these `missing` were not in the ledger and `late` were
    known but not seen to end. `unshown` are counted runs that Conduit lists no more. `older` began
    before the exporter counts, `forgotten` after that, and retention has let go of them. `trouble`
    says why the reading is not complete.
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
    forgotten: int = 0
    unshown: int = 0
    trouble: str | None = None


class Reconciler:
    """Compares agents one by one, within the budget of their workspace."""

    def __init__(
        self,
        *,
        client: ConduitClient,
        gate: LedgerGate,
        recorder: Recorder,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._gate = gate
        self._recorder = recorder
        self._clock = clock
        self._rng = rng

    async def compare(
        self, workspace: WorkspaceState, agent: AgentState, *, since_ns: int, repair: bool
    ) -> Difference:
        """Read an agent's list down to `since_ns`; with `repair` record what is missing."""
        found = Difference(workspace_id=workspace.id, agent_id=agent.id, agent_name=agent.name)
        lowest_ns = max(since_ns, agent.progress.agent.floor_ns)
        counted = await self._gate.transact(
            lambda ledger: ledger.runs.counted_since(agent.no, lowest_ns)
        )
        unseen = {
            run.id: run.created_ns
            for run in agent.progress.in_flight
            if run.created_ns >= lowest_ns
        }
        try:
            async for page in self._pages(workspace, agent, since_ns):
                counted -= await self._judge(agent, page, found, lowest_ns)
                for run in page.rows:
                    unseen.pop(run.id, None)
                if repair:
                    rows = tuple(run for run in page.rows if run.created_ns >= lowest_ns)
                    await self._recorder.page(
                        agent, replace(page, rows=rows), priority=Priority.BACKLOG
                    )
        except SourceError as exc:
            found.trouble = str(exc)
            return found
        found.unshown = counted
        if repair:
            # In flight by the ledger, listed no more: one get-run each tells what became of them.
            agent.lost.update(unseen)
        return found

    async def _judge(
        self, agent: AgentState, page: Page[Run], found: Difference, lowest_ns: int
    ) -> int:
        """Sort a page's runs; how many of them were counted before."""
        ids = [run.id for run in page.rows]
        known = await self._recorder.known(agent, ids)
        counted = 0
        found.unreadable += len(page.unreadable)
        for run in page.rows:
            if run.created_ns < lowest_ns:
                is_older = run.created_ns < agent.progress.agent.counted_from_ns
                found.older += is_older
                found.forgotten += not is_older
                continue
            counted += known.get(run.id, False)
            if not run.terminal:
                found.in_flight += 1
                continue
            found.shown += 1
            if run.id not in known:
                found.missing.append(run.id)
            elif not known[run.id]:
                found.late.append(run.id)
        return counted

    async def _pages(
        self, workspace: WorkspaceState, agent: AgentState, since_ns: int
    ) -> AsyncIterator[Page[Run]]:
        """The pages of an agent's list, each row once, until one reaches below `since_ns`."""
        seen: set[str] = set()
        async for page in read_pages(partial(self._page, workspace, agent)):
            # What arrives meanwhile pushes rows onto the next page: they come twice.
            rows = [run for run in page.rows if run.id not in seen and run.created_ns >= since_ns]
            seen.update(run.id for run in rows)
            yield replace(page, rows=tuple(rows))
            oldest = oldest_ns(page)
            if oldest is not None and oldest < since_ns:
                return

    async def _page(
        self, workspace: WorkspaceState, agent: AgentState, cursor: str | None
    ) -> Page[Run]:
        """A page, asked for a few times where need be."""
        failures = 0
        while True:
            await pay(workspace.budget, self._clock)
            try:
                page = await self._client.runs_page(
                    workspace_id=workspace.id, agent_id=agent.id, limit=PAGE_MAX, cursor=cursor
                )
            except SourceRateLimited as exc:
                failures += 1
                if failures == _TRIES:
                    raise
                now_s = self._clock.monotonic_s()
                workspace.budget.rest(now_s, exc.retry_after_s, self._rng)
            except (SourceUnavailable, SourceMalformed) as exc:
                failures += 1
                logger.debug("agent %s: %s", agent.id, exc)
                if failures == _TRIES:
                    raise
                await self._clock.sleep(backoff_s(failures, self._rng))
            else:
                workspace.budget.accepted()
                return page
