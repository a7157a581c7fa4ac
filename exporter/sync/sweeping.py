"""Learns what became of runs in flight that head pages do not show, from pages of one status.

A run that no page of a complete sweep shows has ended; its get-run, which the plan then asks for,
counts and traces it. It never asks for a single run itself.
"""

from typing import Final

from exporter.clock import Clock
from exporter.errors import SourceNotFound
from exporter.ledger.schema import GapPurpose
from exporter.sync.coverage import oldest_and_newest
from exporter.sync.plan import ReadStatus, sweep_statuses
from exporter.sync.recorder import Recorder
from exporter.sync.source import Source
from exporter.sync.state import PAGE_MOST, AgentState, Sweep, WorkspaceState

# The rest after a sweep of one page, and how much more for each further page: about a hundredth of
# the requests of an agent whose runs in flight fill pages.
_SWEEP_REST_S: Final = 30.0
_SWEEP_REST_PER_PAGE_S: Final = 100.0
# A run that has been going for long is looked for ever more rarely.
_SWEEP_REST_OF_AGE: Final = 0.1
_SWEEP_REST_MOST_S: Final = 1800.0


class Sweeper:
    """Makes the requests of sweeps and records what they bring."""

    def __init__(
        self, *, source: Source, recorder: Recorder, clock: Clock, poll_interval_s: float
    ) -> None:
        self._source = source
        self._recorder = recorder
        self._clock = clock
        self._poll_s = poll_interval_s

    async def read(self, workspace: WorkspaceState, agent: AgentState, request: ReadStatus) -> None:
        """Read the next page of a sweep, or the first of a new one. Raises SourceError."""
        sweep = agent.sweep
        if sweep is None:
            fallen = agent.fallen()
            if not fallen:
                agent.has_fallen = False
                return
            sweep = agent.sweep = Sweep(
                statuses=sweep_statuses({run.status for run in fallen.values()}),
                oldest_ns=min(run.created_ns for run in fallen.values()),
                started=frozenset(fallen),
            )
        try:
            page = await self._source.runs_page(
                workspace_id=workspace.id,
                agent_id=agent.id,
                limit=PAGE_MOST,
                cursor=request.cursor,
                status=request.status,
            )
        except SourceNotFound:
            self._end(agent, sweep, complete=False)
            return
        sweep.pages += 1
        await self._recorder.page(agent, page, purpose=GapPurpose.FRESH, coverage=None)
        sweep.seen.update(run.id for run in page.rows)
        ends = oldest_and_newest(page)
        if ends is not None and sweep.last_ns is not None:
            sweep.seams.append((ends[1], sweep.last_ns))
        if ends is not None:
            sweep.last_ns = ends[0]
        repeated = page.next_cursor is not None and page.next_cursor == request.cursor
        passed = ends is not None and ends[0] < sweep.oldest_ns
        if page.next_cursor is not None and not passed and not repeated:
            sweep.cursor = page.next_cursor
            return
        sweep.statuses.pop(0)
        sweep.cursor, sweep.last_ns = None, None
        if not sweep.statuses:
            self._end(agent, sweep, complete=not repeated)

    def rest_s(self, agent: AgentState, *, pages: int = 1) -> float:
        """How long to wait before runs off the head are looked for again."""
        youngest_ns = max((run.created_ns for run in agent.fallen().values()), default=0)
        age_s = max(0, self._clock.now_ns() - youngest_ns) / 1e9
        return max(
            self._poll_s,
            _SWEEP_REST_S + _SWEEP_REST_PER_PAGE_S * max(0, pages - 1),
            min(_SWEEP_REST_MOST_S, age_s * _SWEEP_REST_OF_AGE),
        )

    def _end(self, agent: AgentState, sweep: Sweep, *, complete: bool) -> None:
        """Runs that no page of a complete sweep showed have ended."""
        agent.sweep = None
        rest_s = self.rest_s(agent, pages=sweep.pages)
        agent.sweep_due_s = self._clock.monotonic_s() + rest_s
        if not complete:
            return
        for run_id in sweep.started - sweep.seen:
            run = agent.in_flight.get(run_id)
            if run is None:
                continue
            if not run.at_seam and any(low <= run.created_ns <= high for low, high in sweep.seams):
                # A row may have slipped through between two pages. If the next sweep does not show
                # it either, its get-run tells: where nothing moves, a seam stays where it is.
                run.at_seam = True
                continue
            agent.ended[run_id] = run.created_ns
