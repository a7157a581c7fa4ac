"""The ledger's outbox as delivery wants it: asynchronous, through the gate."""

from collections.abc import Sequence

from exporter.delivery.outbox import Delivered, Parked, PendingTrace, Result
from exporter.ledger.gate import LedgerGate
from exporter.ledger.outbox import Settlement
from exporter.ledger.schema import TraceState


class LedgerOutbox:
    """Implements `exporter.delivery.outbox.Outbox`."""

    def __init__(self, gate: LedgerGate) -> None:
        self._gate = gate

    async def due(self, *, now_ns: int, max_traces: int, max_bytes: int) -> Sequence[PendingTrace]:
        """The oldest traces that may be sent now."""
        if not self._gate.ledger.outbox_state.pending:
            return []
        stored = await self._gate.transact(
            lambda ledger: ledger.traces.due(
                now_ns=now_ns, max_traces=max_traces, max_bytes=max_bytes
            )
        )
        return [
            PendingTrace(one.no, one.trace_id, one.payload, one.spans, one.ended_ns)
            for one in stored
        ]

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
            lambda ledger: ledger.traces.settle(
                settlements,
                now_ns=now_ns,
                spans_delivered=spans_delivered,
                spans_rejected=spans_rejected,
            )
        )

    async def unpark(self) -> int:
        """Make every parked trace due now."""
        return await self._gate.transact(lambda ledger: ledger.traces.unpark())


def _settlement(result: Result) -> Settlement:
    if isinstance(result, Parked):
        return Settlement(result.seq, TraceState.PARKED, result.until_ns)
    if isinstance(result, Delivered):
        return Settlement(result.seq, TraceState.DELIVERED)
    return Settlement(result.seq, TraceState.REJECTED)
