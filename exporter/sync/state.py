"""What the sync stage knows of each workspace and agent while it runs.

All of it can be rebuilt from the ledger and the API: losing it costs requests, never runs. Times
named `_s` are monotonic seconds, times named `_ns` are Conduit's.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from exporter.ledger.records import AwaitedRun, GapRecord
from exporter.ledger.schema import GapPurpose, Urgency
from exporter.models import Run
from exporter.sync.budget import RequestBudget

# A page holds at most so many runs (documented limit of `limit`).
PAGE_MOST: Final = 100
# So many empty pages in a row that promise more are a fault of the list.
EMPTY_PAGES_MOST: Final = 50
# Each page is read a second time about this long after the first, when rows have settled.
RECONCILE_S: Final = 3600.0
# Settled runs remembered by id, an agent: three pages, so that a head scan that shows nothing new
# touches no disk.
_RECENT_MOST: Final = 3 * PAGE_MOST


# Of the runs whose detail is wanted, so many are held in memory, an agent.
WINDOW_MOST: Final = 64


class Slot(StrEnum):
    """What an agent can have under way once each."""

    # Enum's own is written in Python, and every decision looks into sets of these.
    __hash__ = str.__hash__

    HEAD = "head"
    GAP = "gap"
    SWEEP = "sweep"
    RECONCILE = "reconcile"


class RecentRuns:
    """The settled runs that list pages are likely to show again, and what they looked like."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, int | None] = OrderedDict()

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._ids

    def is_revised(self, run: Run) -> bool:
        """Whether a remembered run shows other figures than when it was remembered."""
        before = self._ids.get(run.id)
        return before is not None and before != fingerprint(run)

    def add(self, run_id: str, run: Run | None = None) -> None:
        """Remember a run, forgetting the one remembered longest ago."""
        self._ids[run_id] = None if run is None else fingerprint(run)
        self._ids.move_to_end(run_id)
        if len(self._ids) > _RECENT_MOST:
            self._ids.popitem(last=False)


def fingerprint(run: Run) -> int:
    """A number that changes when what is counted of a run changes; for this process alone."""
    return hash(
        (
            run.status,
            run.disposition,
            run.duration_ns,
            run.input_tokens,
            run.output_tokens,
            run.cost_usd,
        )
    )


@dataclass(slots=True)
class InFlight:
    """A run that had not ended when it was last seen.

    `deep`: it has fallen off the longest head page, so that head pages tell of it no more.
    """

    created_ns: int
    status: str
    missed: int = 0
    deep: bool = False
    # Whether a sweep did not show it, at a place where it may have slipped through.
    at_seam: bool = False


@dataclass(slots=True)
class Retry:
    """A run whose get-run did not help, and when to ask again."""

    attempts: int
    due_s: float


@dataclass(slots=True)
class Sweep:
    """A reading of `status=...` pages, to learn which of the runs off the head are still going."""

    statuses: list[str]
    oldest_ns: int
    started: frozenset[str]
    cursor: str | None = None
    pages: int = 0
    seen: set[str] = field(default_factory=set)
    # Spans between the last row of a page and the first of the next: rows may have shifted there.
    seams: list[tuple[int, int]] = field(default_factory=list)
    last_ns: int | None = None


@dataclass(slots=True)
class Reconcile:
    """A second reading of pages that were read before, down to `lower_ns`."""

    started_ns: int
    lower_ns: int
    cursor: str | None = None


@dataclass(slots=True)
class AgentState:
    """One agent: how far its list is read, what of it is in flight, whose detail is wanted."""

    no: int
    id: str
    name: str
    floor_ns: int
    frontier_ns: int | None
    # False where single runs are wanted and nothing else of this agent.
    scans: bool = True
    listed: bool = True
    gaps: list[GapRecord] = field(default_factory=list)
    in_flight: dict[str, InFlight] = field(default_factory=dict)
    recent: RecentRuns = field(default_factory=RecentRuns)
    busy: set[Slot] = field(default_factory=set)

    head_due_s: float = float("-inf")
    head_read: bool = False
    # When it last showed life: a new run, one that ended, one in flight.
    active_s: float = float("-inf")
    head_limit: int = PAGE_MOST
    last_poll_ns: int | None = None
    failures: int = 0
    rest_until_s: float = float("-inf")
    cursor_restarts: int = 0
    empty_pages: int = 0

    # Whether any run in flight is deep; kept so that no decision has to look for it.
    has_fallen: bool = False
    sweep: Sweep | None = None
    sweep_due_s: float = float("-inf")
    reconcile: Reconcile | None = None
    reconcile_due_s: float = float("-inf")
    # Up to here the list was read a second time.
    reconciled_ns: int = 0
    # Ended out of sight: one get-run counts and traces them.
    ended: dict[str, int] = field(default_factory=dict)
    # Single runs asked for by name (CONDUIT_RUNS).
    wanted: dict[str, None] = field(default_factory=dict)

    awaiting: dict[Urgency, int] = field(default_factory=dict)
    window: list[AwaitedRun] = field(default_factory=list)
    window_stale: bool = True
    fetching: set[str] = field(default_factory=set)
    retries: dict[str, Retry] = field(default_factory=dict)
    served_s: float = float("-inf")

    @property
    def scanned(self) -> bool:
        """Whether the first scan, back to the floor, is complete."""
        if not self.scans:
            return True
        if self.frontier_ns is None:
            return False
        return not self.gaps or all(gap.purpose is not GapPurpose.LOOKBACK for gap in self.gaps)

    @property
    def wants_more(self) -> bool:
        """Whether anything but head scans and second readings may be worth a request."""
        return bool(
            self.window
            or self.gaps
            or self.ended
            or self.wanted
            or self.sweep is not None
            or self.has_fallen
        )

    @property
    def retired(self) -> bool:
        """Whether Conduit lists the agent no more, and nothing of it is asked for by name."""
        return not self.listed and not self.wanted

    @property
    def window_complete(self) -> bool:
        """Whether the window holds every run that waits, so that it can be kept up by hand."""
        return not self.window_stale and len(self.window) == self.awaiting_total

    @property
    def awaiting_total(self) -> int:
        """How many runs wait for their detail."""
        return sum(self.awaiting.values())

    def fallen(self) -> dict[str, InFlight]:
        """The runs in flight that head pages no longer show."""
        return {
            run_id: run
            for run_id, run in self.in_flight.items()
            if run.deep and run_id not in self.ended
        }


@dataclass(slots=True)
class WorkspaceState:
    """One workspace: its budget, its agents and how its last contact went."""

    no: int
    id: str
    name: str
    budget: RequestBudget
    agents: dict[str, AgentState] = field(default_factory=dict)
    agents_due_s: float = float("-inf")
    agents_cursor: str | None = None
    agents_listing: set[str] = field(default_factory=set)
    agents_busy: bool = False
    discovered: bool = False
    up: bool | None = None
    failures: int = 0
    rest_until_s: float = float("-inf")
    trouble: str | None = None
    # How far head scans have run ahead of their share while details wait.
    head_lead: float = 0.0
    backlog_turn: bool = False
    # No page of a reconcile before this: it takes a tenth of the budget at most.
    reconcile_ready_s: float = float("-inf")

    @property
    def details_wait(self) -> bool:
        """Whether any run waits for its detail, so that requests are scarce."""
        return any(agent.awaiting for agent in self.agents.values())

    @property
    def backlog_waits(self) -> bool:
        """Whether any run of the look-back waits for its detail."""
        return any(
            urgency > Urgency.FRESH for agent in self.agents.values() for urgency in agent.awaiting
        )
