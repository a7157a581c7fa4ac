"""What Conduit says, as plain values; no parsing, no I/O.

Times are nanoseconds since the Unix epoch, UTC. Money is an exact decimal of US dollars. A field
that Conduit left null is None: unknown, never zero.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

IN_FLIGHT_STATUSES: Final = ("accepted", "running")
TERMINAL_STATUSES: Final = ("completed", "failed")
DISPOSITIONS: Final = (
    "escalated",
    "escalation_and_answer",
    "resolved",
    "unresolved",
    "no_op",
    "proactive",
)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace that the token may see."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent of a workspace."""

    id: str
    workspace_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as a list page shows it.

    `id` is the API's identifier (`ar77...`), `backend_run_id` the field `run_id` (`run_9f3a...`).
    `time_adjusted` is True where a time had to be bent to be understood (leap second, no zone,
    out of range).
    """

    id: str
    backend_run_id: str
    agent_id: str
    workspace_id: str
    status: str
    disposition: str | None = None
    contact_id: str | None = None
    conversation_id: str | None = None
    trigger_id: str | None = None
    error: str | None = None
    duration_ns: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    trace_id: str | None = None
    created_ns: int
    completed_ns: int | None = None
    time_adjusted: bool = False

    @property
    def terminal(self) -> bool:
        """Whether the run has ended; an unknown status counts as in flight."""
        return self.status in TERMINAL_STATUSES


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail:
    """A run as get-run shows it: the summary and what only get-run tells.

    `tool_trace` holds the items as parsed JSON, unchanged and untyped: the API types nothing inside
    an item, and items may be null. Floats in them are decimals, as everywhere in a parsed answer.
    """

    run: Run
    session_id: str | None = None
    disposition_reason: str | None = None
    trigger_event_id: str | None = None
    response: str | None = None
    reflection: str | None = None
    tool_trace: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A run of a page that could not be understood: quarantined, the rest goes on.

    `run_id` is None where even the identifier is unreadable; `reason` is one of a small fixed set
    (a metric label), `detail` says which field and why, without any value of content.
    """

    run_id: str | None
    reason: str
    detail: str
    digest: str = ""

    @property
    def key(self) -> str:
        """What tells this row from others: its id, or a digest where that is unreadable."""
        return self.run_id or f"unreadable:{self.digest}"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list: the rows that were understood, those that were not, and the way on."""

    rows: tuple[T, ...]
    unreadable: tuple[Unreadable, ...]
    next_cursor: str | None
    has_more: bool = False
    date_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A run of a head page, and the row's text that says the same as long as it is the same."""

    text: str
    run: Run


@dataclass(frozen=True, slots=True)
class HeadPage:
    """The first page of an agent's list, and what makes the next reading of it cheap.

    `page` None: its rows are those that the caller knew, word for word. `rows` are those that were
    understood, in order; none where the page had to be read whole.
    """

    page: Page[Run] | None
    rows: tuple[ReadRow, ...]
    has_more: bool
