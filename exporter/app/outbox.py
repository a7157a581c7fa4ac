"""The ledger's outbox as delivery wants it: the live one, and one of what was delivered before."""

from collections.abc import Sequence

from exporter.delivery.outbox import Delivered, Parked, PendingTrace, Result
from exporter.ledger.gate import LedgerGate
from exporter.ledger.records import Settlement, StoredTrace, TraceState
from exporter.ledger.totals import Family


class LedgerOutbox:
    """Undelivered traces; implements `exporter.delivery.outbox.Outbox`."""

    def __init__(self, gate: LedgerGate) -> None:
        self._gate = gate

    async def due(self, *, now_ns: int, max_traces: int, max_bytes: int) -> Sequence[PendingTrace]:
        """The oldest traces that may be sent now."""
        if not self._gate.ledger.totals.get(Family.TRACES_PENDING):
            return []
        stored = await self._gate.transact(
            lambda ledger: ledger.traces.due(
                now_ns=now_ns, max_traces=max_traces, max_bytes=max_bytes
            )
        )
        return [_pending(one, one.ended_ns) for one in stored]

    async def settle(
        self,
        results: Sequence[Result],
        *,
        now_ns: int,
        spans_delivered: int,
        spans_rejected: int,
    ) -> None:
        """Record what became of traces."""
        settlements = [_settlement(one) for one in results]
        await self._gate.transact(
            lambda ledger: ledger.settle(
                settlements,
                now_ns=now_ns,
                spans_delivered=spans_delivered,
                spans_rejected=spans_rejected,
            )
        )

    async def unpark(self) -> int:
        """Make every parked trace due now."""
        return await self._gate.transact(lambda ledger: ledger.unpark())


class ReplayOutbox:
    """Settled traces, each due once; nothing is written down."""

    def __init__(self, gate: LedgerGate, *, since_ns: int) -> None:
        self._gate = gate
        self._since_ns = since_ns
        self._waiting: list[PendingTrace] = []
        self._read_to = 0
        self.delivered = 0
        self.settled = 0

    async def count(self) -> int:
        """How many traces there are."""
        return await self._gate.transact(
            lambda ledger: ledger.traces.count_settled(since_ns=self._since_ns)
        )

    async def due(self, *, now_ns: int, max_traces: int, max_bytes: int) -> Sequence[PendingTrace]:
        """The next traces that were not sent again yet."""
        del now_ns
        if not self._waiting:
            read_to = self._read_to
            stored = await self._gate.transact(
                lambda ledger: ledger.traces.settled(
                    since_ns=self._since_ns,
                    after_no=read_to,
                    max_traces=max_traces,
                    max_bytes=max_bytes,
                )
            )
            self._waiting = [_pending(one, None) for one in stored]
            self._read_to = stored[-1].no if stored else read_to
        return self._waiting[:max_traces]

    async def settle(
        self,
        results: Sequence[Result],
        *,
        now_ns: int,
        spans_delivered: int,
        spans_rejected: int,
    ) -> None:
        """Go on behind these; what the backend does not take is not tried a second time."""
        del now_ns, spans_delivered, spans_rejected
        settled = {one.seq for one in results}
        self._waiting = [one for one in self._waiting if one.seq not in settled]
        self.settled += len(settled)
        self.delivered += sum(isinstance(one, Delivered) for one in results)

    async def unpark(self) -> int:
        """Nothing is parked here."""
        return 0


def _pending(stored: StoredTrace, ended_ns: int | None) -> PendingTrace:
    return PendingTrace(stored.no, stored.trace_id, stored.payload, stored.spans, ended_ns)


def _settlement(result: Result) -> Settlement:
    if isinstance(result, Parked):
        return Settlement(result.seq, TraceState.PENDING, result.until_ns, result.reason)
    if isinstance(result, Delivered):
        return Settlement(result.seq, TraceState.DELIVERED)
    return Settlement(result.seq, TraceState.REJECTED, reason=result.reason)
