"""The ledger's outbox as delivery wants it: the live one, and one of what was delivered before."""

from collections.abc import Sequence
from dataclasses import replace

from exporter.convert.otlp import without_content
from exporter.ledger.gate import LedgerGate
from exporter.ledger.records import Settlement, StoredTrace, TraceState
from exporter.ledger.totals import Family


class LedgerOutbox:
    """Undelivered traces; implements `exporter.delivery.service.Outbox`.

    Unless `content` is asked for now, what was captured before does not leave.
    """

    def __init__(self, gate: LedgerGate, *, content: bool) -> None:
        self._gate = gate
        self._content = content

    async def due(self, *, now_ns: int, max_traces: int, max_bytes: int) -> Sequence[StoredTrace]:
        """The oldest traces that may be sent now."""
        if not self._gate.ledger.totals.get(Family.TRACES_PENDING):
            return []
        due = await self._gate.transact(
            lambda ledger: ledger.traces.due(
                now_ns=now_ns, max_traces=max_traces, max_bytes=max_bytes
            )
        )
        return due if self._content else [_without_content(one) for one in due]

    async def settle(
        self,
        results: Sequence[Settlement],
        *,
        now_ns: int,
        spans_delivered: int,
        spans_rejected: int,
    ) -> None:
        """Record what became of traces."""
        await self._gate.transact(
            lambda ledger: ledger.traces.settle(
                results,
                now_ns=now_ns,
                spans_delivered=spans_delivered,
                spans_rejected=spans_rejected,
            )
        )

    async def unpark(self) -> None:
        """Make every parked trace due now."""
        await self._gate.transact(lambda ledger: ledger.traces.unpark())


class ReplayOutbox:
    """Settled traces, each due once, with content as above; nothing is written down."""

    def __init__(self, gate: LedgerGate, *, since_ns: int, content: bool) -> None:
        self._gate = gate
        self._content = content
        self._since_ns = since_ns
        self._waiting: list[StoredTrace] = []
        self._read_to = 0
        self.delivered = 0
        self.settled = 0

    async def count(self) -> int:
        """How many traces there are."""
        return await self._gate.transact(
            lambda ledger: ledger.traces.count_settled(since_ns=self._since_ns)
        )

    async def due(self, *, now_ns: int, max_traces: int, max_bytes: int) -> Sequence[StoredTrace]:
        """The next traces that were not sent again yet."""
        del now_ns
        if not self._waiting:
            read_to = self._read_to
            found = await self._gate.transact(
                lambda ledger: ledger.traces.settled(
                    since_ns=self._since_ns,
                    after_no=read_to,
                    max_traces=max_traces,
                    max_bytes=max_bytes,
                )
            )
            self._waiting = found if self._content else [_without_content(one) for one in found]
            self._read_to = self._waiting[-1].no if self._waiting else read_to
        return self._waiting[:max_traces]

    async def settle(
        self,
        results: Sequence[Settlement],
        *,
        now_ns: int,
        spans_delivered: int,
        spans_rejected: int,
    ) -> None:
        """Go on behind these; what the backend does not take is not tried a second time."""
        del now_ns, spans_delivered, spans_rejected
        settled = {one.no for one in results}
        self._waiting = [one for one in self._waiting if one.no not in settled]
        self.settled += len(settled)
        self.delivered += sum(one.state is TraceState.DELIVERED for one in results)

    async def unpark(self) -> None:
        """Nothing is parked here."""


def _without_content(trace: StoredTrace) -> StoredTrace:
    return replace(trace, payload=without_content(trace.payload))
