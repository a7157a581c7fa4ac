"""What each kind of request does with its answer: head pages, gaps, sweeps and single runs.

Knows nothing of budgets or order; raises SourceError and LedgerError to whoever called.
"""

import logging
import random
from typing import Final

from exporter.clock import Clock
from exporter.errors import SourceMalformed, SourceNotFound
from exporter.ledger.records import GapRecord
from exporter.ledger.schema import GapPurpose, RunState
from exporter.models import Page, Run, Unreadable
from exporter.sync.coverage import (
    cover_gap,
    cover_head,
    oldest_and_newest,
    restart_gap,
    within_backfill,
)
from exporter.sync.plan import (
    ReadAgain,
    ReadAgents,
    ReadGap,
    ReadHead,
    ReadRun,
    ReadStatus,
    Request,
)
from exporter.sync.policy import RunPolicy
from exporter.sync.recorder import Recorder
from exporter.sync.source import Source
from exporter.sync.state import (
    EMPTY_PAGES_MOST,
    PAGE_MOST,
    RECONCILE_S,
    AgentState,
    Reconcile,
    Retry,
    WorkspaceState,
)
from exporter.sync.sweeping import Sweeper

logger = logging.getLogger("exporter.sync")

# An agent without news for so many polls is polled less and less, down to a quarter of the pace;
# sooner where other runs wait for the requests.
_PATIENCE_POLLS: Final = 2.0
_PATIENCE_POLLS_WHEN_SCARCE: Final = 1.0
_IDLE_MOST: Final = 4.0
# How long a head page may be. Few lengths: a page of another length is another answer, and would
# be parsed though nothing is new.
_HEAD_LENGTHS: Final = (10, 20, 50, PAGE_MOST)
_HEAD_MARGIN: Final = 5
# What may still have shifted when the last second reading began.
_RECONCILE_OVERLAP_NS: Final = 120 * 1_000_000_000
_MISSED_MOST: Final = 3
_RETRY_S: Final = (30.0, 120.0, 600.0)
# An answer that is none may come from something in between: hours, before the run is to blame.
_MALFORMED_RETRY_S: Final = (30.0, 120.0, 600.0, 1800.0, 3600.0, 3600.0, 3600.0)


class AgentReader:
    """Makes the requests about one agent and records what they bring."""

    def __init__(
        self,
        *,
        source: Source,
        recorder: Recorder,
        policy: RunPolicy,
        clock: Clock,
        rng: random.Random,
        poll_interval_s: float,
        once: bool = False,
    ) -> None:
        self._source = source
        self._recorder = recorder
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._poll_s = poll_interval_s
        self._once = once
        self._sweeper = Sweeper(
            source=source, recorder=recorder, clock=clock, poll_interval_s=poll_interval_s
        )

    async def read(self, workspace: WorkspaceState, agent: AgentState, request: Request) -> None:
        """Make a request of the plan and record its answer."""
        match request:
            case ReadHead(limit=limit):
                await self._head(workspace, agent, limit)
            case ReadGap(gap=gap):
                await self._gap(workspace, agent, gap)
            case ReadStatus():
                await self._sweeper.read(workspace, agent, request)
            case ReadAgain():
                await self._read_again(workspace, agent, request)
            case ReadRun():
                await self._run(workspace, agent, request)
            case ReadAgents():
                raise TypeError("agents are the roster's to read")

    # --- the head ----------------------------------------------------------------------------

    async def _head(self, workspace: WorkspaceState, agent: AgentState, limit: int) -> None:
        started_s = self._clock.monotonic_s()
        page = await self._source.runs_page(
            workspace_id=workspace.id, agent_id=agent.id, limit=limit
        )
        news = await self._record_head(agent, page)
        self._note_depth(agent, page, len(news), limit)
        agent.head_read = True
        agent.last_poll_ns = self._clock.now_ns()
        self._note_activity(agent, started_s, news)
        self._schedule_head(workspace, agent, started_s)

    async def _record_head(self, agent: AgentState, page: Page[Run]) -> list[Run]:
        known = {run.id for run in page.rows if run.id in agent.recent or run.id in agent.in_flight}
        coverage = cover_head(
            page, floor_ns=agent.floor_ns, frontier_ns=agent.frontier_ns, known=known
        )
        return await self._recorder.page(agent, page, purpose=None, coverage=coverage)

    def _note_activity(self, agent: AgentState, started_s: float, news: list[Run]) -> None:
        """Keep when the agent last showed life, by the clock that nobody sets."""
        # News of a first reading may be old; and the longer a run is in flight, the less it matters
        # when exactly its end is seen.
        signs = [run.completed_ns or run.created_ns for run in news]
        signs += [run.created_ns for run in agent.in_flight.values()]
        if signs:
            age_s = max(0, self._clock.now_ns() - max(signs)) / 1e9
            agent.active_s = max(agent.active_s, started_s - age_s)

    def _schedule_head(
        self, workspace: WorkspaceState, agent: AgentState, started_s: float
    ) -> None:
        if self._once:
            agent.head_due_s = float("inf")
            return
        patience = _PATIENCE_POLLS_WHEN_SCARCE if workspace.details_wait else _PATIENCE_POLLS
        idle_polls = (started_s - agent.active_s) / self._poll_s
        stretch = min(_IDLE_MOST, max(1.0, idle_polls / patience))
        agent.head_due_s = started_s + self._poll_s * stretch

    def _note_depth(self, agent: AgentState, page: Page[Run], news: int, limit: int) -> None:
        """Size the next head page: the runs in flight it should show, and what may be new.

        A run that not even the longest page shows is deep, and no reason for long pages any more.
        """
        runs = page.rows
        shown = {run.id: place for place, run in enumerate(runs, start=1)}
        oldest_ns = min([run.created_ns for run in runs]) if runs and page.has_more else None
        deepest = max([shown[run_id] for run_id in agent.in_flight if run_id in shown], default=0)
        longer = agent.has_fallen = False
        for run_id, run in agent.in_flight.items():
            if run_id in shown or run_id in agent.ended:
                run.deep = False
                continue
            if oldest_ns is not None and run.created_ns < oldest_ns:
                run.deep = run.deep or limit == PAGE_MOST
                agent.has_fallen = agent.has_fallen or run.deep
                longer = longer or not run.deep
                continue
            # It should be on this page and is not: deleted, or not visible for a moment.
            run.missed += 1
            if run.missed >= _MISSED_MOST:
                agent.ended[run_id] = run.created_ns
        wanted = PAGE_MOST if longer else deepest + 2 * news + _HEAD_MARGIN
        agent.head_limit = next(one for one in _HEAD_LENGTHS if one >= min(wanted, PAGE_MOST))

    # --- gaps --------------------------------------------------------------------------------

    async def _gap(self, workspace: WorkspaceState, agent: AgentState, gap: GapRecord) -> None:
        try:
            page = await self._source.runs_page(
                workspace_id=workspace.id, agent_id=agent.id, limit=PAGE_MOST, cursor=gap.cursor
            )
        except SourceNotFound:
            if gap.cursor is None:
                raise
            await self._restart(agent, gap, "its cursor has expired")
            return
        if page.next_cursor is not None and page.next_cursor == gap.cursor:
            await self._restart(agent, gap, "its cursor leads back to itself")
            return
        agent.empty_pages = 0 if page.rows else agent.empty_pages + 1
        if agent.empty_pages > EMPTY_PAGES_MOST:
            agent.empty_pages = 0
            raise SourceMalformed(
                f"Conduit answered {EMPTY_PAGES_MOST} empty pages in a row with more to come"
            )
        coverage = cover_gap(page, gap)
        if gap.purpose is GapPurpose.BACKFILL:
            page = within_backfill(page, gap, floor_ns=agent.floor_ns, in_flight=agent.in_flight)
        await self._recorder.page(
            agent, page, purpose=gap.purpose, coverage=coverage, floor_ns=gap.lower_ns
        )

    async def _restart(self, agent: AgentState, gap: GapRecord, why: str) -> None:
        logger.warning("agent %s: reading its list from the head again: %s", agent.id, why)
        agent.cursor_restarts += 1
        empty: Page[Run] = Page((), (), None)
        await self._recorder.page(agent, empty, purpose=gap.purpose, coverage=restart_gap(gap))
        if agent.cursor_restarts % 3 == 0:
            raise SourceMalformed(f"Conduit's cursors for agent {agent.id} are of no use: {why}")

    # --- a second reading --------------------------------------------------------------------

    async def _read_again(
        self, workspace: WorkspaceState, agent: AgentState, request: ReadAgain
    ) -> None:
        """Re-read pages, to count what slipped through while rows shifted or came late."""
        again = agent.reconcile
        if again is None:
            lower_ns = max(agent.floor_ns, agent.reconciled_ns - _RECONCILE_OVERLAP_NS)
            again = agent.reconcile = Reconcile(self._clock.now_ns(), lower_ns)
        try:
            page = await self._source.runs_page(
                workspace_id=workspace.id,
                agent_id=agent.id,
                limit=PAGE_MOST,
                cursor=request.cursor,
            )
        except SourceNotFound:
            if request.cursor is None:
                raise
            self._end_second_reading(agent)
            return
        found = await self._recorder.page(agent, page, purpose=GapPurpose.FRESH, coverage=None)
        missed = [run for run in found if run.terminal and run.created_ns < again.started_ns]
        if request.cursor is not None and missed:
            logger.info("agent %s: a second reading found %d runs", agent.id, len(missed))
        ends = oldest_and_newest(page)
        if (
            page.next_cursor is None
            or page.next_cursor == request.cursor
            or (ends is not None and ends[0] < again.lower_ns)
        ):
            agent.reconciled_ns = again.started_ns
            self._end_second_reading(agent)
            return
        again.cursor = page.next_cursor

    def _end_second_reading(self, agent: AgentState) -> None:
        agent.reconcile = None
        agent.reconcile_due_s = self._clock.monotonic_s() + RECONCILE_S

    # --- single runs -------------------------------------------------------------------------

    async def _run(self, workspace: WorkspaceState, agent: AgentState, request: ReadRun) -> None:
        run_id = request.run_id
        try:
            answer = await self._source.run(
                workspace_id=workspace.id, agent_id=agent.id, run_id=run_id
            )
        except SourceNotFound:
            if not self._again_later(agent, run_id):
                logger.warning("run %s of agent %s is gone", run_id, agent.id)
                await self._recorder.set_aside(agent, run_id, state=RunState.GONE)
            return
        except SourceMalformed as exc:
            if not self._again_later(agent, run_id, delays=_MALFORMED_RETRY_S):
                await self._quarantine(agent, run_id, "malformed", str(exc))
            return
        if isinstance(answer, Unreadable):
            await self._quarantine(agent, run_id, answer.reason, answer.detail)
            return
        run = answer.run
        if not run.terminal:
            # Listed as ended and yet going on, or asked for by name: ask again, ever more rarely.
            await self._recorder.detail(agent, run, urgency=request.urgency, trace=None)
            agent.ended.pop(run_id, None)
            if run_id in agent.fallen():
                agent.sweep_due_s = self._clock.monotonic_s() + self._sweeper.rest_s(agent)
            self._again_later(agent, run_id, delays=(self._poll_s,))
            return
        trace, quarantine = None, None
        if self._policy.sight(
            run, agent_no=agent.no, agent_name=agent.name, urgency=request.urgency
        ).traced:
            try:
                trace = self._policy.encode(answer, agent.no, agent.name)
            except Exception:  # a fault of ours with one run must not stop the rest
                logger.exception("run %s of agent %s could not be converted", run_id, agent.id)
                quarantine = "conversion"
        await self._recorder.detail(
            agent, run, urgency=request.urgency, trace=trace, quarantine=quarantine
        )

    def _again_later(
        self, agent: AgentState, run_id: str, *, delays: tuple[float, ...] = _RETRY_S
    ) -> bool:
        """Schedule another get-run; False where enough have been made. Single delays never end.

        While the agent's lists cannot be read either, it is never enough: the run is not to blame.
        """
        retry = agent.retries.get(run_id)
        attempts = 1 if retry is None else retry.attempts + 1
        if attempts > len(delays) > 1 and not agent.failures:
            return False
        delay_s = delays[min(attempts, len(delays)) - 1] * self._rng.uniform(0.9, 1.1)
        agent.retries[run_id] = Retry(attempts, self._clock.monotonic_s() + delay_s)
        return True

    async def _quarantine(self, agent: AgentState, run_id: str, reason: str, detail: str) -> None:
        logger.warning(
            "run %s of agent %s is quarantined (%s): %s", run_id, agent.id, reason, detail
        )
        await self._recorder.set_aside(agent, run_id, state=RunState.QUARANTINED, reason=reason)
