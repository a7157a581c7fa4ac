"""Makes each kind of request about an agent and hands what it brings to the recorder.

Knows nothing of budgets or order. Raises SourceError and LedgerError.
"""

import logging
from dataclasses import replace
from functools import partial
from typing import Final

from exporter.clock import Clock, ConduitTime
from exporter.conduit.client import ConduitClient
from exporter.conduit.models import Page, Run, Unreadable
from exporter.conduit.pager import Pager, Step
from exporter.errors import SourceRejected
from exporter.ledger.records import Coverage, Gap, GapPurpose, Priority
from exporter.sync.coverage import cover_gap, cover_head, oldest_ns, within_backfill
from exporter.sync.health import Retry, cursor_rest_s
from exporter.sync.plan import sweep_interval_s, sweep_statuses
from exporter.sync.recording import Recorder
from exporter.sync.requests import PAGE_MAX, Reading, ReadPage, ReadRun
from exporter.sync.state import AgentState, Reread, Sweep

logger = logging.getLogger("exporter.sync")

# A second reading begins so long after the last one and goes back so far before it: rows may become
# visible late. Once a day it goes back to the floor.
REREAD_INTERVAL_S: Final = 3600.0
REREAD_OVERLAP_NS: Final = 3600 * 1_000_000_000
_FULL_REREAD_NS: Final = 86_400 * 1_000_000_000
_PRIORITY_OF: Final = {
    GapPurpose.FRESH: Priority.FRESH,
    GapPurpose.LOOKBACK: Priority.BACKLOG,
    GapPurpose.BACKFILL: Priority.BACKFILL,
}


class AgentReader:
    """Makes the requests about agents, page by page or run by run."""

    def __init__(
        self,
        *,
        client: ConduitClient,
        recorder: Recorder,
        clock: Clock,
        time: ConduitTime,
        poll_interval_s: float,
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._clock = clock
        self._time = time
        self._poll_s = poll_interval_s

    async def read_list(self, workspace_id: str, agent: AgentState, request: ReadPage) -> None:
        """Make a request for a page of runs."""
        if request.gap is not None:
            await self._gap(workspace_id, agent, request, request.gap)
        elif request.target is Reading.HEAD:
            await self._head(workspace_id, agent, request.limit)
        elif request.target is Reading.SWEEP:
            await self._sweep(workspace_id, agent)
        else:
            await self._reread(workspace_id, agent, request)

    async def drop_cursor(self, agent: AgentState, request: ReadPage) -> None:
        """Read from the head again where a page behind a cursor cannot be had."""
        pager = agent.pager_of(request)
        if pager is None:
            return
        step = pager.restart("the page behind its cursor cannot be read")
        if request.target is Reading.SWEEP:
            self._end_sweep(agent, complete=False)
        else:
            await self._restarted(agent, request, pager, step)

    async def _head(self, workspace_id: str, agent: AgentState, limit: int) -> None:
        started_s = self._clock.monotonic_s()
        page = await self._page(workspace_id, agent, None, limit=limit)
        record = agent.progress.agent
        first = record.frontier_ns is None
        coverage = cover_head(
            page,
            floor_ns=record.floor_ns,
            frontier_ns=record.frontier_ns,
            known=await self._known(agent, page),
            present_ns=self._time.now_ns(),
            gaps=agent.progress.gaps,
        )
        if first:
            # What is read now is read a second time, whole, when it has settled.
            agent.reread_due_s = started_s + REREAD_INTERVAL_S
            coverage = replace(coverage, reread_ns=self._time.now_ns())
        priority = Priority.BACKLOG if first else Priority.FRESH
        recorded = await self._recorder.page(agent, page, priority=priority, coverage=coverage)
        news = [one.run for one in recorded.counted]
        agent.note_head(page, limit=limit, news=len(news) + recorded.appeared)
        agent.last_poll_ns = self._clock.now_ns()
        agent.schedule_head(
            started_s=started_s,
            present_ns=self._time.now_ns(),
            news=news,
            poll_interval_s=self._poll_s,
        )

    async def _known(self, agent: AgentState, page: Page[Run]) -> frozenset[str]:
        """Which runs at the frontier's very moment were recorded before, where that matters."""
        frontier_ns = agent.progress.agent.frontier_ns
        if frontier_ns is None or oldest_ns(page) != frontier_ns:
            return frozenset()
        ids = [run.id for run in page.rows if run.created_ns == frontier_ns]
        return frozenset(await self._recorder.known(agent, ids))

    async def _gap(self, workspace_id: str, agent: AgentState, request: ReadPage, gap: Gap) -> None:
        pager = agent.pager_of(request) or Pager()
        page, step = await pager.read(partial(self._page, workspace_id, agent))
        if page is None:
            await self._restarted(agent, request, pager, step)
            return
        coverage, left = cover_gap(page, gap, step, cursor=pager.cursor)
        if left.upper_ns < gap.upper_ns:
            pager.found_news()
        if coverage.open_gap is not None:
            coverage = Coverage(open_gap=replace(left, restarts=pager.restarts))
        if gap.purpose is GapPurpose.BACKFILL:
            page = within_backfill(page, gap, until_ns=agent.progress.agent.counted_from_ns)
        await self._recorder.page(
            agent,
            page,
            priority=_PRIORITY_OF[gap.purpose],
            coverage=coverage,
            floor_ns=min(gap.lower_ns, agent.progress.agent.floor_ns),
        )
        if coverage.closed_gap is None and step is not Step.NEXT:
            self._rest(agent, request, pager, step)

    async def _restarted(
        self, agent: AgentState, request: ReadPage, pager: Pager, step: Step
    ) -> None:
        """A reading begins at the head again; the ledger remembers that of a gap."""
        if request.gap is not None:
            gap = replace(request.gap, cursor=None, restarts=pager.restarts)
            await self._recorder.coverage(agent, Coverage(open_gap=gap))
        self._rest(agent, request, pager, step)

    def _rest(self, agent: AgentState, request: ReadPage, pager: Pager, step: Step) -> None:
        """Say that a list is read from the head again, and let it rest where that is of no use."""
        logger.warning(
            "agent %s: its list of runs is read from the head again: %s", agent.id, pager.reason
        )
        if step is Step.REST:
            due_s = self._clock.monotonic_s() + cursor_rest_s(pager.restarts)
            agent.retries[request.target] = Retry(0, due_s)

    async def _sweep(self, workspace_id: str, agent: AgentState) -> None:
        """Read pages of one status: runs that no page of a complete sweep shows have ended."""
        sweep = agent.sweep
        if sweep is None:
            runs = agent.off_head()
            if not runs:
                return
            sweep = agent.sweep = Sweep(
                statuses=sweep_statuses(runs),
                oldest_ns=min(run.created_ns for run in runs),
                started=frozenset(run.id for run in runs),
            )
        fetch = partial(self._page, workspace_id, agent, status=sweep.statuses[0])
        page, step = await sweep.pager.read(fetch)
        if page is not None:
            sweep.seen.update(run.id for run in page.rows)
            await self._recorder.page(agent, page, priority=Priority.FRESH)
            oldest = oldest_ns(page)
            if step is Step.NEXT and (oldest is None or oldest >= sweep.oldest_ns):
                return
        if step in (Step.RESTART, Step.REST):
            self._end_sweep(agent, complete=False)
            return
        sweep.statuses.pop(0)
        sweep.pager = Pager()
        if not sweep.statuses:
            self._end_sweep(agent, complete=True)

    def _end_sweep(self, agent: AgentState, *, complete: bool) -> None:
        """Ask by name for the runs that a sweep did not show: they have ended, or it broke off."""
        sweep, agent.sweep = agent.sweep, None
        agent.sweep_s = self._clock.monotonic_s()
        if sweep is None:
            return
        if not complete:
            logger.info(
                "agent %s: %s; runs in flight are asked for by name", agent.id, sweep.pager.reason
            )
        for run in agent.progress.in_flight:
            if run.id in sweep.started and run.id not in sweep.seen:
                agent.lost[run.id] = run.created_ns

    async def _reread(self, workspace_id: str, agent: AgentState, request: ReadPage) -> None:
        """Read pages again, to count what slipped through while rows shifted or came late."""
        again = agent.reread
        if again is None:
            again = agent.reread = self._begin_reread(agent)
        pager, from_head = again.pager, again.pager.cursor is None
        page, step = await pager.read(partial(self._page, workspace_id, agent))
        if page is None:
            await self._restarted(agent, request, pager, step)
            return
        oldest = oldest_ns(page)
        done = step is Step.END or (oldest is not None and oldest < again.lower_ns)
        coverage = None
        if done:
            coverage = Coverage(
                reread_ns=again.started_ns, full_reread_ns=again.started_ns if again.full else None
            )
        recorded = await self._recorder.page(
            agent, page, priority=Priority.FRESH, coverage=coverage
        )
        late = [one for one in recorded.counted if one.run.created_ns < again.started_ns]
        if late and not from_head:
            logger.info("agent %s: a second reading found %d runs", agent.id, len(late))
        if done:
            agent.reread = None
            agent.reread_due_s = self._clock.monotonic_s() + REREAD_INTERVAL_S
        elif step is not Step.NEXT:
            self._rest(agent, request, pager, step)

    def _begin_reread(self, agent: AgentState) -> Reread:
        record, now_ns = agent.progress.agent, self._time.now_ns()
        last_ns = record.full_reread_ns
        # One that lies ahead was dated by a clock that was wrong.
        full = last_ns is None or not 0 <= now_ns - last_ns < _FULL_REREAD_NS
        lower_ns = record.floor_ns
        if not full and record.reread_ns is not None:
            # A run whose get-run does not tell that it ended is told by its row alone.
            unclear = [run.created_ns for run in agent.progress.in_flight if run.attempts]
            back_ns = min(record.reread_ns, now_ns) - REREAD_OVERLAP_NS
            lower_ns = max(lower_ns, min([back_ns, *unclear]))
        return Reread(now_ns, lower_ns, full)

    async def _page(
        self,
        workspace_id: str,
        agent: AgentState,
        cursor: str | None,
        *,
        limit: int = PAGE_MAX,
        status: str | None = None,
    ) -> Page[Run]:
        page = await self._client.runs_page(
            workspace_id=workspace_id, agent_id=agent.id, limit=limit, cursor=cursor, status=status
        )
        self._time.observe(page.date_ns)
        for one in page.unreadable:
            logger.debug(
                "agent %s: a row is quarantined (%s): %s", agent.id, one.reason, one.detail
            )
        return page

    async def read_run(self, workspace_id: str, agent: AgentState, request: ReadRun) -> None:
        """Make a get-run and record its answer."""
        run_id = request.target
        answer = await self._client.run(workspace_id=workspace_id, agent_id=agent.id, run_id=run_id)
        if isinstance(answer, Unreadable):
            # Its list told enough to count it: asked again like any other that failed.
            raise SourceRejected(f"The run cannot be understood: {answer.detail}")
        run = answer.run
        awaited = agent.awaits_detail(run_id)
        if awaited and not run.terminal:
            # A list has shown its end, so this answer is at fault: asked again like any other.
            raise SourceRejected("The run is shown as going on, and its list shows it as ended")
        # What the ledger awaits is wanted, whatever sampling says by now: else it waits for ever.
        await self._recorder.detail(agent, answer, priority=request.priority, wanted=awaited)
        if run.terminal:
            agent.settle(run_id)
        else:
            # Off the head of its list, or asked for by name: ask again later.
            agent.lost.pop(run_id, None)
            agent.missed.pop(run_id, None)
            agent.retries[run_id] = self._look_again(agent, run)

    def _look_again(self, agent: AgentState, run: Run) -> Retry:
        retry = agent.retries.get(run.id)
        in_flight = [one for one in agent.progress.in_flight if one.id == run.id]
        wait_s = sweep_interval_s(in_flight, self._time.now_ns(), self._poll_s)
        return Retry(0 if retry is None else retry.attempts, self._clock.monotonic_s() + wait_s)
