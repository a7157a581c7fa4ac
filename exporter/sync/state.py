"""What the sync stage knows of each workspace and agent while it runs, and how that changes.

All of it can be rebuilt from the ledger and the API: losing it costs requests, never runs. Times
named `_s` are monotonic seconds, times named `_ns` are Conduit's. State is changed here alone.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from exporter.conduit.models import Page, Run
from exporter.conduit.pager import RESTARTS_MAX, Pager
from exporter.ledger.records import AgentProgress, GapPurpose, InFlightRun
from exporter.sync.budget import FairShares, RequestBudget
from exporter.sync.coverage import oldest_ns
from exporter.sync.health import Health, Retry
from exporter.sync.requests import (
    PAGE_MAX,
    Kind,
    Purpose,
    ReadAgents,
    Reading,
    ReadPage,
    ReadRun,
    Request,
    Target,
)

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


@dataclass(slots=True)
class Sweep:
    """A reading of `status=...` pages, to learn which of the runs off the head are still going."""

    statuses: list[str]
    oldest_ns: int
    started: frozenset[str]
    pager: Pager = field(default_factory=Pager)
    seen: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Reread:
    """A second reading of pages that were read before, down to `lower_ns`."""

    started_ns: int
    lower_ns: int
    full: bool
    pager: Pager = field(default_factory=Pager)


@dataclass(slots=True)
class AgentState:
    """One agent: where it stands in the ledger, and what is being done about it."""

    progress: AgentProgress
    # False where single runs are wanted and nothing else of this agent.
    scans: bool = True
    # Its series may be seen: it is scanned, or was as far as its cursors let it be read.
    shown: bool = False
    # Single runs asked for by name (CONDUIT_RUNS) that are not settled.
    wanted: dict[str, None] = field(default_factory=dict)
    # Ended out of sight: one get-run counts and traces them.
    lost: dict[str, int] = field(default_factory=dict)

    # What requests under way are about, and what failed before.
    under_way: set[Target] = field(default_factory=set)
    retries: dict[Target, Retry] = field(default_factory=dict)
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
    # Those of its runs that are as old: others of that moment may be on the next page.
    head_oldest: frozenset[str] = frozenset()
    active_s: float = _NEVER
    last_poll_ns: int | None = None
    missed: dict[str, int] = field(default_factory=dict)

    sweep: Sweep | None = None
    sweep_s: float = _NEVER
    reread: Reread | None = None
    reread_due_s: float = _NEVER
    gap_pagers: dict[int, Pager] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._show()

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
    def holds_up_readiness(self) -> bool:
        """Whether its first scan is still to come and may be expected to."""
        return self.listed and not self.shown and self.failures(Reading.HEAD) < _GIVEN_UP_ATTEMPTS

    def failures(self, target: Target) -> int:
        """How often in a row a target of this agent has failed by its own fault."""
        retry = self.retries.get(target)
        return 0 if retry is None else retry.attempts

    def off_head(self) -> list[InFlightRun]:
        """The runs in flight that head pages no longer show."""
        oldest = self.head_oldest_ns
        if oldest is None:
            return []
        known = self.head_oldest | self.lost.keys()
        return [
            run
            for run in self.progress.in_flight
            if run.created_ns <= oldest and run.id not in known
        ]

    def awaits_detail(self, run_id: str) -> bool:
        """Whether the ledger waits for a run's detail, and its turn has come."""
        waiting = (*self.progress.awaiting, *self.progress.retrying)
        return any(run.id == run_id for run in waiting)

    def pager_of(self, request: ReadPage) -> Pager | None:
        """The reading that a request goes on with; None for a head page, and where it begins."""
        gap = request.gap
        if gap is not None and gap.no is not None:
            return self.gap_pagers.setdefault(gap.no, Pager(gap.cursor, restarts=gap.restarts))
        reading = self.sweep if request.target is Reading.SWEEP else self.reread
        return None if reading is None or request.target is Reading.HEAD else reading.pager

    def blamed(self, request: ReadPage | ReadRun) -> Target:
        """What a failure of a request is evidence against.

        That of a page without a cursor is against the list itself, whatever it was read for.
        """
        if isinstance(request, ReadPage) and request.target is not Reading.SWEEP:
            pager = self.pager_of(request)
            if pager is None or pager.cursor is None:
                return Reading.HEAD
        return request.target

    # --- what a commit made true ---------------------------------------------------------------

    def update(self, progress: AgentProgress) -> None:
        """Take over where the agent stands now."""
        self.progress = progress
        in_flight = {run.id for run in progress.in_flight}
        self.missed = {run_id: n for run_id, n in self.missed.items() if run_id in in_flight}
        open_gaps = {gap.no for gap in progress.gaps}
        self.gap_pagers = {no: one for no, one in self.gap_pagers.items() if no in open_gaps}
        for target in list(self.retries):
            if isinstance(target, int) and target > 0 and target not in open_gaps:
                del self.retries[target]
        self._show()

    def _show(self) -> None:
        """Once shown its series stay, also where its cursors lead further after all."""
        lookback = [gap for gap in self.progress.gaps if gap.purpose is GapPurpose.LOOKBACK]
        is_read = self.progress.agent.frontier_ns is not None and all(
            gap.restarts >= RESTARTS_MAX for gap in lookback
        )
        self.shown = self.shown or not self.scans or is_read

    def settle(self, run_id: str) -> None:
        """Nothing more is asked about a run."""
        self.lost.pop(run_id, None)
        self.wanted.pop(run_id, None)
        self.retries.pop(run_id, None)

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
            self.head_oldest = frozenset(one.id for one in page.rows if one.created_ns == oldest)
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

    def answered(self, target: Target) -> None:
        """A page was read. A list that rests for its cursors' sake goes on resting."""
        if target is Reading.HEAD or self.failures(target):
            self.retries.pop(target, None)


@dataclass(slots=True)
class WorkspaceState:
    """One workspace: its budget, its agents and how its last contact went."""

    id: str
    name: str
    budget: RequestBudget
    shares: FairShares = field(default_factory=FairShares)
    health: Health = field(default_factory=Health)
    agents: dict[str, AgentState] = field(default_factory=dict)
    # Requests under way: an open circuit sends one probe at a time.
    under_way: Counter[Kind] = field(default_factory=Counter)
    # Requests of the last minute: when, and for what.
    _spent: deque[tuple[float, Purpose]] = field(default_factory=deque)

    agents_due_s: float = _NEVER
    agents_asked_s: float = _NEVER
    agents_pager: Pager = field(default_factory=Pager)
    agents_listing: set[str] = field(default_factory=set)
    # When the present reading of the list of agents began, and the last complete one, of an
    # earlier process if need be.
    listing_from_ns: int | None = None
    listed_ns: int | None = None
    # When reading it began, in this process and ever (None: not known): for a floor as long as its
    # agents were never listed.
    since_s: float = 0.0
    since_ns: int | None = None
    agents_retry: Retry | None = None
    agents_busy: bool = False
    discovered: bool = False

    # Whose gap is being read for a purpose, and how many pages in a row: cursors may not live long.
    gap_turns: dict[Purpose, tuple[str, int]] = field(default_factory=dict)

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

    def begin(self, request: Request, now_s: float) -> AgentState | None:
        """A request is made: its share and turn are used, its target is busy; its agent."""
        self.under_way[request.kind] += 1
        self.spend(request.purpose, now_s)
        if isinstance(request, ReadAgents):
            self.agents_busy = True
            return None
        agent = self.agents[request.agent]
        agent.under_way.add(request.target)
        agent.served_s = now_s
        if request.purpose is Purpose.IN_FLIGHT:
            agent.in_flight_s = now_s
        if isinstance(request, ReadPage) and request.gap is not None:
            last, pages = self.gap_turns.get(request.purpose, ("", 0))
            self.gap_turns[request.purpose] = agent.id, pages + 1 if last == agent.id else 1
        return agent

    def end(self, request: Request, agent: AgentState | None) -> None:
        """A request has ended, whatever came of it; `agent` may have moved meanwhile."""
        self.under_way[request.kind] -= 1
        if isinstance(request, ReadAgents):
            self.agents_busy = False
        elif agent is not None:
            agent.under_way.discard(request.target)

    def spend(self, purpose: Purpose, now_s: float) -> None:
        """A request of the budget is used."""
        self.shares.spend(purpose)
        self._spent.append((now_s, purpose))
        self._forget_spent(now_s)

    def spent_last_minute(self, now_s: float) -> Counter[Purpose]:
        """How many requests the last minute took, by purpose."""
        self._forget_spent(now_s)
        return Counter(purpose for _, purpose in self._spent)

    def _forget_spent(self, now_s: float) -> None:
        while self._spent and self._spent[0][0] <= now_s - 60.0:
            self._spent.popleft()
