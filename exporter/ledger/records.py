"""What goes into the ledger and comes out of it, as plain values."""

from dataclasses import dataclass
from enum import Enum

from exporter.ledger.schema import GapPurpose, Urgency
from exporter.models import Run


@dataclass(frozen=True, slots=True)
class GapRecord:
    """A stretch of an agent's list that is still to be read: lower_ns <= created < upper_ns.

    `no` is None until it is stored. `cursor` continues the reading; None reads from the head.
    """

    no: int | None
    purpose: GapPurpose
    lower_ns: int
    upper_ns: int
    cursor: str | None


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """An agent as the ledger knows it."""

    no: int
    workspace_no: int
    workspace_id: str
    id: str
    name: str
    floor_ns: int
    frontier_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedTrace:
    """A converted run: the encoded OTLP request of its trace alone, and what it called."""

    trace_id: bytes
    payload: bytes
    spans: int
    tools: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A run as a list page showed it, with what the sync stage decided about it.

    `traced` False: sampled out, no detail is wanted. `trace` is set where the summary is all that
    is wanted: it goes straight into the outbox. `bucket` is the upper bound of the duration's
    histogram bucket as text, None where no duration is known.
    """

    run: Run
    disposition: str
    urgency: Urgency
    traced: bool = True
    trace: EncodedTrace | None = None
    bucket: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How far a page has moved the reading of an agent's list; None leaves a field as it is."""

    frontier_ns: int | None = None
    floor_ns: int | None = None
    closed_gap: int | None = None
    open_gap: GapRecord | None = None


class Seen(Enum):
    """What recording a sighting came to."""

    COUNTED = "counted"
    IN_FLIGHT = "in_flight"
    KNOWN = "known"
    BELOW_FLOOR = "below_floor"


@dataclass(frozen=True, slots=True)
class PageRecorded:
    """The outcome of recording a page: one word a sighting, in order, and the gap's number."""

    seen: tuple[Seen, ...]
    gap_no: int | None


@dataclass(frozen=True, slots=True)
class DetailRecorded:
    """The outcome of recording a get-run; `awaited`: the urgency under which it was waited for."""

    seen: Seen
    awaited: Urgency | None


@dataclass(frozen=True, slots=True)
class AwaitedRun:
    """A run whose detail is wanted."""

    id: str
    urgency: Urgency
    created_ns: int


@dataclass(frozen=True, slots=True)
class InFlightRun:
    """A run that had not ended when it was last seen."""

    id: str
    created_ns: int


@dataclass(frozen=True, slots=True)
class OutboxState:
    """The undelivered traces as last committed. Bytes are as stored, compressed."""

    pending: int = 0
    parked: int = 0
    stored_bytes: int = 0
    oldest_ns: int | None = None
