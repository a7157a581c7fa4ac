"""The outbox: encoded traces from the moment they are written until retention lets them go.

Used inside a transaction of the ledger. It decides nothing about sending; it remembers.
"""

import json
import logging
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from typing import Final

from exporter.ledger.records import EncodedTrace, Settlement, StoredTrace, TraceState
from exporter.ledger.totals import Family, TotalsDelta

logger = logging.getLogger("exporter.ledger")

# Why a trace is dead whose stored bytes cannot be read any more: a value of a metric's label.
DAMAGED: Final = "damaged"

_ADD: Final = """
INSERT INTO trace (run_no, trace_id, spans, size, payload, ended_ns, written_ns)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_DUE: Final = """
SELECT no, trace_id, payload, spans, ended_ns, size FROM trace
WHERE settled_ns IS NULL AND (parked_until_ns IS NULL OR parked_until_ns <= ?)
ORDER BY no LIMIT ?
"""
_SETTLED: Final = """
SELECT no, trace_id, payload, spans, ended_ns, size FROM trace
WHERE settled_ns >= ? AND no > ? ORDER BY no LIMIT ?
"""
_WAITING: Final = """
SELECT no, run_no, parked_until_ns IS NOT NULL, length(payload) FROM trace
WHERE settled_ns IS NULL AND no IN (SELECT value FROM json_each(?))
"""
_OLDEST: Final = "SELECT written_ns FROM trace WHERE settled_ns IS NULL ORDER BY no LIMIT 1"
_COUNTED_AS: Final = {
    TraceState.DELIVERED: Family.TRACES_DELIVERED,
    TraceState.REJECTED: Family.TRACES_REJECTED,
}


class TraceTables:
    """The traces of one ledger; `delta` collects the transaction's additions to the totals."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.delta = TotalsDelta()

    def add(
        self,
        run_no: int,
        trace: EncodedTrace,
        *,
        ended_ns: int | None,
        now_ns: int,
    ) -> None:
        """Add a trace at the end of the outbox."""
        stored = zlib.compress(trace.payload)
        self._db.execute(
            _ADD,
            (
                run_no,
                trace.trace_id,
                trace.spans,
                len(trace.payload),
                stored,
                ended_ns,
                now_ns,
            ),
        )
        self.delta.add(Family.TRACES_PENDING, 1)
        self.delta.add(Family.OUTBOX_BYTES, len(stored))

    def due(self, *, now_ns: int, max_traces: int, max_bytes: int) -> list[StoredTrace]:
        """The oldest undelivered traces, `max_bytes` of them at most, but at least one.

        One whose bytes are damaged is given up: it holds up no other.
        """
        found, damaged = _within(self._db.execute(_DUE, (now_ns, max_traces)), max_bytes)
        for no in damaged:
            self._give_up(no, now_ns)
        return found

    def settle(
        self,
        settlements: Sequence[Settlement],
        *,
        now_ns: int,
        spans_delivered: int,
        spans_rejected: int,
    ) -> None:
        """Record what became of traces; one that is settled already is left as it is."""
        rows = self._db.execute(_WAITING, (json.dumps([one.no for one in settlements]),))
        waiting = {row[0]: row[1:] for row in rows.fetchall()}
        is_repeat = not any(one.no in waiting and one.state in _COUNTED_AS for one in settlements)
        for one in settlements:
            if one.no not in waiting:
                continue
            run_no, was_parked, stored_bytes = waiting[one.no]
            family = _COUNTED_AS.get(one.state)
            self._db.execute(
                "UPDATE trace SET parked_until_ns = ?, settled_ns = ? WHERE no = ?",
                (one.parked_until_ns, None if family is None else now_ns, one.no),
            )
            self._db.execute(
                "UPDATE run SET trace = ?, reason = ? WHERE no = ?",
                (one.state, one.reason, run_no),
            )
            parked = one.parked_until_ns is not None
            self.delta.add(Family.TRACES_PARKED, parked - was_parked)
            if family is not None:
                self.delta.add(family, 1)
                self.delta.add(Family.TRACES_PENDING, -1)
                self.delta.add(Family.OUTBOX_BYTES, -stored_bytes)
        if not is_repeat:
            self.delta.add(Family.SPANS_DELIVERED, spans_delivered)
            self.delta.add(Family.SPANS_REJECTED, spans_rejected)

    def unpark(self) -> int:
        """Make every parked trace due now; how many there were."""
        done = self._db.execute(
            "UPDATE trace SET parked_until_ns = NULL "
            "WHERE settled_ns IS NULL AND parked_until_ns IS NOT NULL"
        ).rowcount
        self.delta.add(Family.TRACES_PARKED, -done)
        return done

    def oldest_waiting_ns(self) -> int | None:
        """When the oldest undelivered trace was written."""
        row = self._db.execute(_OLDEST).fetchone()
        return None if row is None else int(row[0])

    def of_run(self, agent_no: int, run_id: str) -> StoredTrace | None:
        """The trace of a run, as long as it is kept."""
        row = self._db.execute(
            """
            SELECT trace.no, trace_id, payload, spans, trace.ended_ns FROM trace
            JOIN run ON run.no = run_no WHERE agent_no = ? AND id = ?
            """,
            (agent_no, run_id),
        ).fetchone()
        return None if row is None else _stored(*row)

    def _give_up(self, no: int, now_ns: int) -> None:
        logger.error("a stored trace is damaged and cannot be sent: number %d", no)
        ((run_no, stored_bytes),) = self._db.execute(
            "SELECT run_no, length(payload) FROM trace WHERE no = ?", (no,)
        )
        self._db.execute(
            "UPDATE trace SET settled_ns = ?, parked_until_ns = NULL WHERE no = ?", (now_ns, no)
        )
        self._db.execute(
            "UPDATE run SET trace = ?, reason = ? WHERE no = ?", (TraceState.DEAD, DAMAGED, run_no)
        )
        self.delta.add(Family.TRACES_PENDING, -1)
        self.delta.add(Family.OUTBOX_BYTES, -stored_bytes)
        self.delta.add(Family.QUARANTINED, 1, label1=DAMAGED)

    def settled(
        self, *, since_ns: int, after_no: int, max_traces: int, max_bytes: int
    ) -> list[StoredTrace]:
        """Traces that were settled since then, in the order of the outbox, behind `after_no`."""
        return _within(self._db.execute(_SETTLED, (since_ns, after_no, max_traces)), max_bytes)[0]

    def count_settled(self, *, since_ns: int) -> int:
        """How many traces were settled since then."""
        ((count,),) = self._db.execute(
            "SELECT count(*) FROM trace WHERE settled_ns >= ?", (since_ns,)
        )
        return int(count)

    def prune(self, *, settled_before_ns: int, max_traces: int) -> bool:
        """Let go of some traces that were settled before; whether there may be more of them.

        Rejected traces are kept as long as delivered ones: until then `replay` can send them.
        """
        done = self._db.execute(
            """
            DELETE FROM trace WHERE no IN (
                SELECT no FROM trace WHERE settled_ns IS NOT NULL AND settled_ns < ? LIMIT ?
            )
            """,
            (settled_before_ns, max_traces),
        ).rowcount
        return done == max_traces


def _within(
    rows: Iterable[tuple[int, bytes, bytes, int, int | None, int]], max_bytes: int
) -> tuple[list[StoredTrace], list[int]]:
    """The first traces of together at most `max_bytes`, and the numbers of damaged ones."""
    chosen: list[StoredTrace] = []
    damaged: list[int] = []
    total = 0
    for no, trace_id, payload, spans, ended_ns, size in rows:
        total += size
        if chosen and total > max_bytes:
            break
        trace = _stored(no, trace_id, payload, spans, ended_ns)
        if trace is None:
            damaged.append(no)
        else:
            chosen.append(trace)
    return chosen, damaged


def _stored(
    no: int, trace_id: bytes, payload: bytes, spans: int, ended_ns: int | None
) -> StoredTrace | None:
    """The trace as it was written; None where zlib's checksum finds it damaged."""
    try:
        return StoredTrace(no, trace_id, zlib.decompress(payload), spans, ended_ns)
    except (zlib.error, TypeError):
        return None
