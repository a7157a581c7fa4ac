"""What goes into the ledger and comes out of it, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from exporter.conduit.models import Run


class TraceState(IntEnum):
    """What became of a run's trace. DEAD: it will never come (gone, quarantined, given up)."""

    NONE = 0
    AWAITING_DETAIL = 1
    PENDING = 2
    DELIVERED = 3
    REJECTED = 4
    DEAD = 5


class Priority(IntEnum):
    """The order in which details are fetched, first things first.

    URGENT are runs that failed or were handed to a person. The backlog is what the look-back found.
    BACKFILL runs are traced but never added to the totals.
    """

    URGENT = 0
    FRESH = 1
    BACKLOG_URGENT = 2
    BACKLOG = 3
    BACKFILL = 4


class GapPurpose(IntEnum):
    """Why a stretch of an agent's list is still to be read."""

    FRESH = 0
    LOOKBACK = 1
    BACKFILL = 2


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of an agent's list that is still to be read: lower_ns <= created < upper_ns.

    `no` is None until it is stored. `cursor` continues the reading; None reads from the head.
    `restarts` counts readings from the head in a row that brought nothing new.
    """

    no: int | None
    purpose: GapPurpose
    lower_ns: int
    upper_ns: int
    cursor: str | None
    restarts: int = 0


class AgentRecord(NamedTuple):
    """An agent as the ledger knows it."""

    no: int
    id: str
    workspace_id: str
    name: str
    listed: bool
    floor_ns: int
    frontier_ns: int | None
    reread_ns: int | None
    full_reread_ns: int | None
    counted_from_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedTrace:
    """A converted run: the encoded OTLP request of its trace alone, and what it called.

    `tools` counts the calls by the tool's name and whether they failed.
    """

    trace_id: bytes
    payload: bytes
    spans: int
    tools: Mapping[tuple[str, bool], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as Conduit showed it, with what was decided about it by looking at it alone.

    `disposition` and `conversation_id` are as they may be shown. `traced` False: no detail is
    wanted. `trace` is set where what was shown is all that is wanted. The buckets are upper bounds
    of the histograms as text, None where the figure is unknown; `day` is the calendar day on which
    the run ended.
    """

    run: Run
    disposition: str
    conversation_id: str | None
    priority: Priority
    traced: bool = True
    trace: EncodedTrace | None = None
    named: bool = False
    duration_bucket: str | None = None
    price_bucket: str | None = None
    day: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How a page moves the reading of an agent's list; None leaves a field as it is."""

    frontier_ns: int | None = None
    closed_gap: int | None = None
    open_gap: Gap | None = None
    reread_ns: int | None = None
    full_reread_ns: int | None = None


@dataclass(frozen=True, slots=True)
class AwaitedRun:
    """A run whose detail is wanted; `attempts` requests for it have failed so far."""

    id: str
    priority: Priority
    created_ns: int
    attempts: int = 0
    retry_ns: int | None = None


@dataclass(frozen=True, slots=True)
class InFlightRun:
    """A run that had not ended when it was last seen."""

    id: str
    created_ns: int
    status: str
    attempts: int = 0
    retry_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProgress:
    """An agent and what is still to be done for it, as the ledger holds it at a commit.

    `awaiting` are the first of the runs whose detail was never asked for in vain, in order;
    `retrying` all others that wait. `oldest_awaiting_ns` is the end of the oldest one outside of
    the backlog.
    """

    agent: AgentRecord
    gaps: tuple[Gap, ...] = ()
    in_flight: tuple[InFlightRun, ...] = ()
    awaiting: tuple[AwaitedRun, ...] = ()
    retrying: tuple[AwaitedRun, ...] = ()
    oldest_awaiting_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The outcome of recording runs: which of them were news, and where the agent stands now."""

    counted: tuple[RunRecord, ...]
    appeared: int
    revised: int
    progress: AgentProgress


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """A trace of the outbox, its bytes as they were encoded.

    `ended_ns` is when its run ended; None where no delay is measured.
    """

    no: int
    trace_id: bytes
    payload: bytes
    spans: int
    ended_ns: int | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of one trace: delivered, rejected, or pending until a moment (parked)."""

    no: int
    state: TraceState
    parked_until_ns: int | None = None
    reason: str | None = None


class RunSummary(NamedTuple):
    """A counted run as the run list shows it; `cost_usd` is decimal text."""

    no: int
    agent_id: str
    agent_name: str
    workspace_id: str
    id: str
    status: str
    disposition: str | None
    created_ns: int
    ended_ns: int
    duration_ns: int | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: str | None
    conversation_id: str | None
    tool_calls: int | None
    tool_errors: int | None
    trace: TraceState
    reason: str | None
    trace_id: bytes | None
    parked_until_ns: int | None
    settled_ns: int | None
