"""Takes what a request brought into the ledger, and what the ledger answered into the state.

The only place of the sync stage that writes. State is changed after the commit, never before: what
is remembered here always stands in the ledger.
"""

import bisect
import logging
from collections.abc import Iterable
from dataclasses import replace

from exporter.clock import Clock
from exporter.ledger.gate import LedgerGate
from exporter.ledger.records import AwaitedRun, Coverage, EncodedTrace, PageRecorded, Seen, Sighting
from exporter.ledger.schema import GapPurpose, RunState, Urgency
from exporter.models import Page, Run
from exporter.sync.policy import RunPolicy
from exporter.sync.source import SyncObserver
from exporter.sync.state import WINDOW_MOST, AgentState, InFlight

logger = logging.getLogger("exporter.sync")

_URGENCY_OF = {
    GapPurpose.FRESH: Urgency.FRESH,
    GapPurpose.LOOKBACK: Urgency.BACKLOG,
    GapPurpose.BACKFILL: Urgency.BACKFILL,
}


class Recorder:
    """Records pages and details of the agents of one ledger."""

    def __init__(
        self, *, gate: LedgerGate, policy: RunPolicy, clock: Clock, observer: SyncObserver
    ) -> None:
        self._gate = gate
        self._policy = policy
        self._clock = clock
        self._observer = observer

    async def page(
        self,
        agent: AgentState,
        page: Page[Run],
        *,
        purpose: GapPurpose | None,
        coverage: Coverage | None,
        floor_ns: int | None = None,
    ) -> list[Run]:
        """Record a page of runs; the runs of it that were news. `purpose` None: a head page.

        Runs below `floor_ns` (the agent's) are left alone. A page that shows nothing new touches no
        disk.
        """
        urgency = Urgency.FRESH if purpose is None else _URGENCY_OF[purpose]
        if purpose is None and agent.frontier_ns is None:
            urgency = Urgency.BACKLOG
        revised = [run for run in page.rows if agent.recent.is_revised(run)]
        news = [run for run in page.rows if self._is_news(agent, run)]
        if (
            not news
            and not revised
            and not page.unreadable
            and (coverage is None or coverage == Coverage())
        ):
            return []
        sightings = [
            self._policy.sight(run, agent_no=agent.no, agent_name=agent.name, urgency=urgency)
            for run in news
        ]
        now_ns = self._clock.now_ns()
        lowest_ns = agent.floor_ns if floor_ns is None else min(floor_ns, agent.floor_ns)
        recorded: PageRecorded = await self._gate.transact(
            lambda ledger: ledger.runs.record_page(
                agent.no,
                sightings,
                unreadable=page.unreadable,
                revised=len(revised),
                coverage=coverage,
                floor_ns=lowest_ns,
                now_ns=now_ns,
            )
        )
        for run in revised:
            logger.info(
                "agent %s: Conduit shows run %s changed; it stays counted", agent.id, run.id
            )
            agent.recent.add(run.id, run)
        if coverage is not None:
            self._cover(agent, coverage, recorded.gap_no)
        fresh = self._learn(agent, sightings, recorded.seen, now_ns)
        for sighting, what in zip(sightings, recorded.seen, strict=True):
            if what is Seen.COUNTED and sighting.trace is not None:
                self._observer.traced(agent.no, sighting.run, sighting.trace.trace_id)
        return fresh

    async def detail(
        self,
        agent: AgentState,
        run: Run,
        *,
        urgency: Urgency,
        trace: EncodedTrace | None,
        quarantine: str | None = None,
    ) -> None:
        """Record a get-run's answer: the run's trace, or why there is none."""
        sighting = replace(
            self._policy.sight(run, agent_no=agent.no, agent_name=agent.name, urgency=urgency),
            trace=None,
        )
        now_ns = self._clock.now_ns()
        recorded = await self._gate.transact(
            lambda ledger: ledger.runs.record_detail(
                agent.no, sighting, trace=trace, now_ns=now_ns, quarantine=quarantine
            ),
            patient=True,
        )
        self._learn(agent, [sighting], [recorded.seen], now_ns, detail_wanted=False)
        if run.terminal:
            self._done(agent, run.id, recorded.awaited)
        if trace is not None:
            self._observer.traced(agent.no, run, trace.trace_id)

    async def set_aside(
        self, agent: AgentState, run_id: str, *, state: RunState, reason: str | None = None
    ) -> None:
        """Record that a run's detail will never come."""
        recorded = await self._gate.transact(
            lambda ledger: ledger.runs.set_aside(agent.no, run_id, state=state, reason=reason)
        )
        agent.in_flight.pop(run_id, None)
        agent.recent.add(run_id)
        self._done(agent, run_id, recorded.awaited)

    def _done(self, agent: AgentState, run_id: str, awaited: Urgency | None) -> None:
        """Stop asking for a run."""
        agent.ended.pop(run_id, None)
        agent.wanted.pop(run_id, None)
        agent.retries.pop(run_id, None)
        agent.window = [one for one in agent.window if one.id != run_id]
        if awaited is not None:
            left = agent.awaiting.get(awaited, 0) - 1
            if left > 0:
                agent.awaiting[awaited] = left
            else:
                agent.awaiting.pop(awaited, None)
        if not agent.window and agent.awaiting:
            agent.window_stale = True

    def _is_news(self, agent: AgentState, run: Run) -> bool:
        if run.id in agent.recent:
            return False
        known = agent.in_flight.get(run.id)
        if known is None or run.terminal:
            return True
        known.status = run.status
        known.missed = 0
        known.at_seam = False
        return False

    def _learn(
        self,
        agent: AgentState,
        sightings: Iterable[Sighting],
        seen: Iterable[Seen],
        now_ns: int,
        *,
        detail_wanted: bool = True,
    ) -> list[Run]:
        fresh: list[Run] = []
        for sighting, what in zip(sightings, seen, strict=True):
            run = sighting.run
            if what is Seen.IN_FLIGHT:
                known = agent.in_flight.get(run.id)
                if known is None:
                    fresh.append(run)
                    agent.in_flight[run.id] = InFlight(run.created_ns, run.status)
                else:
                    known.status = run.status
                continue
            agent.recent.add(run.id, run)
            agent.in_flight.pop(run.id, None)
            if what is not Seen.COUNTED:
                continue
            fresh.append(run)
            if detail_wanted and sighting.traced and sighting.trace is None:
                _await_detail(agent, run, sighting.urgency)
            if sighting.urgency <= Urgency.FRESH and run.completed_ns is not None:
                self._observer.counted(max(0.0, (now_ns - run.completed_ns) / 1e9))
        return fresh

    def _cover(self, agent: AgentState, coverage: Coverage, gap_no: int | None) -> None:
        if coverage.frontier_ns is not None:
            agent.frontier_ns = coverage.frontier_ns
        if coverage.closed_gap is not None:
            agent.gaps = [gap for gap in agent.gaps if gap.no != coverage.closed_gap]
        if coverage.open_gap is not None:
            agent.gaps = [gap for gap in agent.gaps if gap.no != gap_no]
            agent.gaps.append(replace(coverage.open_gap, no=gap_no))


def _await_detail(agent: AgentState, run: Run, urgency: Urgency) -> None:
    """Want the detail of a run; while few wait, without asking the ledger who they are."""
    complete = agent.window_complete and len(agent.window) < WINDOW_MOST
    agent.awaiting[urgency] = agent.awaiting.get(urgency, 0) + 1
    if complete:
        bisect.insort(
            agent.window,
            AwaitedRun(run.id, urgency, run.created_ns),
            key=lambda one: (one.urgency, one.created_ns),
        )
    else:
        agent.window_stale = True
