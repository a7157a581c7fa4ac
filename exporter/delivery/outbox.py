"""The outbox as delivery sees it; the ledger keeps it, and this never knows how."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PendingTrace:
    """An undelivered trace; `payload` is an encoded OTLP request that holds this trace alone.

    `ended_ns` is when its run ended, None where no delay is to be measured.
    """

    seq: int
    trace_id: bytes
    payload: bytes
    spans: int
    ended_ns: int | None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The backend acknowledged the trace."""

    seq: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """A dead letter: the backend will never take the trace; its bytes are kept."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Parked:
    """The backend refuses this trace while it takes others: it is due again at `until_ns`."""

    seq: int
    until_ns: int
    reason: str


Result = Delivered | Rejected | Parked


class Outbox(Protocol):
    """Undelivered traces, oldest first."""

    async def due(self, *, now_ns: int, max_traces: int, max_bytes: int) -> Sequence[PendingTrace]:
        """The oldest traces that may be sent now, in order.

        Their payloads sum to `max_bytes` at most, but at least one comes if any is due. Asking
        changes nothing: the same question gets the same answer until something is settled.
        """

    async def settle(
        self,
        results: Sequence[Result],
        *,
        now_ns: int,
        spans_delivered: int,
        spans_rejected: int,
    ) -> None:
        """Record the results and count the spans, all in one transaction.

        A trace that is Delivered or Rejected already stays as it is. Raises LedgerUnavailable
        when nothing was recorded; the same call may then be repeated.
        """

    async def unpark(self) -> int:
        """Make every parked trace due now; returns how many there were."""
