"""What the sync stage knows of each workspace and agent while it runs, and how that changes.

All of it can be rebuilt from the ledger and the API: losing it costs requests, never runs. Times
named `_s` are monotonic seconds, times named `_ns` are Conduit's. State is changed here alone.
"""

import random
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from exporter.conduit.models import Page, Run
from exporter.conduit.pager import RESTARTS_MAX, Pager
from exporter.ledger.records import AgentProgress, Gap, GapPurpose, InFlightRun
from exporter.sync.budget import FairShares, RequestBudget
from exporter.sync.coverage import oldest_ns
from exporter.sync.health import Health, Kind, Retry, next_retry

# A page holds at most so many runs (documented limit of `limit`).
PAGE_MAX: Final = 100
# Enough for an agent without news.
_SHORT_PAGE: Final = 20
# A run that should be on so many head pages and is not has gone somewhere.
_MISSED_MAX: Final = 3
# Idle agents are polled up to so many times as rarely, after so many polls each time ...
_IDLE_STRETCH_MAX: Final = 4.0
_IDLE_POLLS_PER_STRETCH: Final = 2.0
# ... but not while a run that began this recently may end.
_WATCHED_AGE_NS: Final = 600 * 1_000_000_000
# A list that failed so often in a row no longer keeps the exporter from being ready.
_GIVEN_UP_ATTEMPTS: Final = 3
_NEVER: Final = float("-inf")


class Slot(StrEnum):
    """What an agent can have under way once each."""

    HEAD = "head"
    GAP = "gap"
    SWEEP = "sweep"
    REREAD = "second reading"


# What a page behind a cursor is part of: a gap, by its number, or the reading of a slot.
Place = Slot | int | None


@dataclass(slots=True)
class Sweep:
    """A reading of `status=...` pages, to learn which of the runs off the head are still going."""

    statuses: list[str]
    oldest_ns: int
    started: frozenset[str]
    pager: Pager = field(default_factory=Pager)
    seen: set[str] = field(default_factory=set)
    pages: int = 0


@dataclass(slots=True)
class Reread:
    """A second reading of pages that were read before, down to `lower_ns`."""

    started_ns: int
    lower_ns: int
    full: bool
    pager: Pager = field(default_factory=Pager)
    pages: int = 0


@dataclass(slots=True)
class AgentState:
    """One agent: where it stands in the ledger, and what is being done about it."""

    progress: AgentProgress
    # False where single runs are wanted and nothing else of this agent.
    scans: bool = True
    # Single runs asked for by name (CONDUIT_RUNS) that are not settled.
    wanted: dict[str, None] = field(default_factory=dict)
    # Ended out of sight: one get-run counts and traces them.
    lost: dict[str, int] = field(default_factory=dict)

    busy: set[Slot] = field(default_factory=set)
    fetching: set[str] = field(default_factory=set)
    # When anything, and when runs in flight off its head, were last asked for.
    served_s: float = _NEVER
    in_flight_s: float = _NEVER
    # One complete list of agents did not show it.
    missed_once: bool = False

    # When the last head page was asked for, and the next one should be, seen by itself.
    head_s: float = _NEVER
    head_interval_s: float = 0.0
    idle: bool = False
    head_limit: int = PAGE_MAX
    head_read: bool = False
    # The oldest run that the last head page of full length showed; None where it showed all.
    head_oldest_ns: int | None = None
    active_s: float = _NEVER
    last_poll_ns: int | None = None
    missed: dict[str, int] = field(default_factory=dict)

    sweep: Sweep | None = None
    sweep_s: float = _NEVER
    reread: Reread | None = None
    reread_due_s: float = _NEVER
    broken_rereads: int = 0
    gap_pagers: dict[int, Pager] = field(default_factory=dict)

    # The list itself, its pages behind a cursor, and single runs.
    list_retry: Retry | None = None
    page_retries: dict[Place, Retry] = field(default_factory=dict)
    run_retries: dict[str, Retry] = field(default_factory=dict)

    @property
    def no(self) -> int:
        """The number that stands for it in the ledger."""
        return self.progress.agent.no

    @property
    def id(self) -> str:
        """Conduit's id."""
        return self.progress.agent.id

    @property
    def name(self) -> str:
        """Its present name."""
        return self.progress.agent.name

    @property
    def listed(self) -> bool:
        """Whether Conduit lists it."""
        return self.progress.agent.listed

    @property
    def scanned(self) -> bool:
        """Whether the first scan, back to the floor, is complete."""
        if not self.scans:
            return True
        return self.progress.agent.frontier_ns is not None and not any(
            gap.purpose is GapPurpose.LOOKBACK for gap in self.progress.gaps
        )

    @property
    def shown(self) -> bool:
        """Whether its series may be shown: scanned, or as much as its cursors let be read."""
        return self.scanned or (
            self.progress.agent.frontier_ns is not None
            and all(
                gap.restarts >= RESTARTS_MAX
                for gap in self.progress.gaps
                if gap.purpose is GapPurpose.LOOKBACK
            )
        )

    @property
    def holds_up_readiness(self) -> bool:
        """Whether its first scan is still to come and may be expected to."""
        failed = self.list_retry is not None and self.list_retry.attempts >= _GIVEN_UP_ATTEMPTS
        return self.listed and not self.shown and not failed

    def off_head(self) -> list[InFlightRun]:
        """The runs in flight that head pages no longer show."""
        oldest = self.head_oldest_ns
        if oldest is None:
            return []
        return [
            run
            for run in self.progress.in_flight
            if run.created_ns < oldest and run.id not in self.lost
        ]

    def awaits_detail(self, run_id: str) -> bool:
        """Whether the ledger waits for a run's detail, and its turn has come."""
        waiting = (*self.progress.awaiting, *self.progress.retrying)
        return any(run.id == run_id for run in waiting)

    def pager_of(self, gap: Gap) -> Pager:
        """The reading of a gap, begun where the ledger says."""
        if gap.no is None:
            raise ValueError("a gap is read once it is stored")
        return self.gap_pagers.setdefault(gap.no, Pager(gap.cursor, restarts=gap.restarts))

    # --- what a commit made true ---------------------------------------------------------------

    def update(self, progress: AgentProgress) -> None:
        """Take over where the agent stands now."""
        self.progress = progress
        in_flight = {run.id for run in progress.in_flight}
        self.missed = {run_id: n for run_id, n in self.missed.items() if run_id in in_flight}
        open_gaps = {gap.no for gap in progress.gaps}
        self.gap_pagers = {no: one for no, one in self.gap_pagers.items() if no in open_gaps}
        self.page_retries = {
            place: one
            for place, one in self.page_retries.items()
            if isinstance(place, Slot) or place in open_gaps
        }

    def settle(self, run_id: str) -> None:
        """Nothing more is asked about a run."""
        self.lost.pop(run_id, None)
        self.wanted.pop(run_id, None)
        self.run_retries.pop(run_id, None)

    # --- head pages ----------------------------------------------------------------------------

    def note_head(self, page: Page[Run], *, limit: int, news: int) -> None:
        """Learn from a head page which runs in flight it shows, and how long the next should be."""
        self.head_read = True
        more = page.next_cursor is not None or page.has_more
        oldest = oldest_ns(page) if more else None
        shown = {run.id for run in page.rows}
        hidden = False
        for run in self.progress.in_flight:
            if run.id in shown:
                self.missed.pop(run.id, None)
                self.lost.pop(run.id, None)
            elif oldest is not None and run.created_ns <= oldest:
                hidden = True
            else:
                # It should be on this page and is not: deleted, or not visible for a moment.
                self.missed[run.id] = self.missed.get(run.id, 0) + 1
                if self.missed[run.id] >= _MISSED_MAX:
                    self.lost[run.id] = run.created_ns
        if limit == PAGE_MAX or not hidden:
            self.head_oldest_ns = oldest
        # Once the longest page does not show them, no longer page will.
        longer = news > _SHORT_PAGE // 2 or (hidden and limit < PAGE_MAX)
        self.head_limit = PAGE_MAX if longer else _SHORT_PAGE

    def schedule_head(
        self, *, started_s: float, present_ns: int, news: list[Run], poll_interval_s: float
    ) -> None:
        """Decide when the next head page is due: the longer nothing happens, the later."""
        signs_ns = [run.completed_ns or run.created_ns for run in news]
        if signs_ns:
            age_s = max(0, present_ns - max(signs_ns)) / 1e9
            self.active_s = max(self.active_s, started_s - age_s)
        if any(present_ns - run.created_ns < _WATCHED_AGE_NS for run in self.progress.in_flight):
            self.active_s = started_s
        idle_polls = (started_s - self.active_s) / poll_interval_s
        stretch = min(_IDLE_STRETCH_MAX, max(1.0, idle_polls / _IDLE_POLLS_PER_STRETCH))
        self.idle = stretch >= _IDLE_STRETCH_MAX
        self.head_s = started_s
        self.head_interval_s = poll_interval_s * stretch

    # --- failures --------------------------------------------------------------------------------

    def list_failed(
        self, delays_s: tuple[float, ...], now_s: float, rng: random.Random, *, blame: bool
    ) -> None:
        """The list could not be read without a cursor."""
        self.list_retry = next_retry(self.list_retry, delays_s, now_s, rng, blame=blame)

    def page_failed(
        self,
        place: Place,
        delays_s: tuple[float, ...],
        now_s: float,
        rng: random.Random,
        *,
        blame: bool,
    ) -> bool:
        """A page behind a cursor could not be read; whether its cursor is to be given up."""
        retry = next_retry(self.page_retries.get(place), delays_s, now_s, rng, blame=blame)
        if retry.attempts > len(delays_s):
            self.page_retries.pop(place, None)
            return True
        self.page_retries[place] = retry
        return False

    def list_answered(self, place: Place, *, from_head: bool) -> None:
        """A page was read. A list that rests for its cursors' sake goes on resting."""
        if from_head:
            self.list_retry = None
        retry = self.page_retries.get(place)
        if retry is not None and retry.attempts:
            del self.page_retries[place]


@dataclass(slots=True)
class WorkspaceState:
    """One workspace: its budget, its agents and how its last contact went."""

    id: str
    name: str
    budget: RequestBudget
    shares: FairShares = field(default_factory=FairShares)
    health: Health = field(default_factory=Health)
    agents: dict[str, AgentState] = field(default_factory=dict)
    # Requests under way by kind, so that an open circuit sends one probe at a time.
    under_way: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))

    agents_due_s: float = _NEVER
    agents_asked_s: float = _NEVER
    agents_pager: Pager = field(default_factory=Pager)
    agents_listing: set[str] = field(default_factory=set)
    # When the present reading of the list of agents began, and the last complete one.
    listing_from_ns: int | None = None
    listed_ns: int | None = None
    # When the workspace was read first, until its agents were listed once.
    since_ns: int | None = None
    agents_retry: Retry | None = None
    agents_busy: bool = False
    discovered: bool = False

    # Whose gap is being read, and how many pages of it in a row: cursors may not live long.
    gap_agent: str | None = None
    gap_pages: int = 0

    contacted: bool = False
    # The token is refused (401, 403): so many times in a row, and until when nothing is asked.
    refusals: int = 0
    refused_until_s: float = _NEVER
    last_error: str | None = None
    last_error_ns: int | None = None
    rate_limited_ns: int | None = None

    @property
    def up(self) -> bool | None:
        """Whether the last contact succeeded; None before the first."""
        if not self.contacted:
            return None
        return not self.refusals and not self.health.is_down
