"""The outbox: encoded traces from the moment they are written until retention lets them go.

Used inside a transaction of the ledger. It decides nothing about sending; it remembers.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from exporter.ledger import families, schema
from exporter.ledger.compression import decompress
from exporter.ledger.prepared import Prepared
from exporter.ledger.records import EncodedTrace, OutboxState
from exporter.ledger.schema import RunState, TraceState
from exporter.ledger.totals import TotalKey, TotalsDelta

_trace = schema.trace
_run = schema.run
_WAITING: Final = (TraceState.PENDING, TraceState.PARKED)
_ADD: Final = insert(_trace).values(
    {
        name: bindparam(name)
        for name in (
            *("run_no", "state", "written_ns", "ended_ns"),
            *("trace_id", "spans", "size", "payload"),
        )
    }
)
_DUE: Final = (
    select(
        _trace.c.no,
        _trace.c.trace_id,
        _trace.c.payload,
        _trace.c.spans,
        _trace.c.size,
        _trace.c.ended_ns,
    )
    .where(
        schema.TRACE_IS_UNDELIVERED,
        (_trace.c.state == TraceState.PENDING.value) | (_trace.c.at_ns <= bindparam("now")),
    )
    .order_by(_trace.c.no)
    .limit(bindparam("most"))
)
_OLDEST: Final = (
    select(_trace.c.written_ns).where(schema.TRACE_IS_UNDELIVERED).order_by(_trace.c.no).limit(1)
)
_WEIGHT: Final = func.length(_trace.c.payload)
_FIND: Final = select(_trace.c.no, _trace.c.run_no, _trace.c.state, _WEIGHT.label("weight")).where(
    _trace.c.no.in_(select(func.json_each(bindparam("nos")).table_valued("value").c.value))
)
_SETTLE: Final = (
    update(_trace)
    .where(_trace.c.no == bindparam("trace"))
    .values(state=bindparam("to"), at_ns=bindparam("when"))
)
_MOVE_RUN: Final = update(_run).where(_run.c.no == bindparam("run")).values(state=bindparam("to"))
_FATES: Final = {
    TraceState.DELIVERED: (RunState.DELIVERED, families.TRACES_DELIVERED),
    TraceState.REJECTED: (RunState.REJECTED, families.TRACES_REJECTED),
}


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """A trace of the outbox, its bytes as they were encoded.

    `ended_ns` is when its run ended; None where that is unknown or the run was not a fresh one.
    """

    no: int
    trace_id: bytes
    payload: bytes
    spans: int
    ended_ns: int | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of one trace: its new state, and until when it is parked."""

    no: int
    state: TraceState
    until_ns: int | None = None


class OutboxTables:
    """The traces of one ledger; keeps count of what is undelivered, so that nothing need count it.

    `staged` is what the counts will be once the running transaction has been committed.
    """

    def __init__(self, connection: Connection, delta: Callable[[], TotalsDelta]) -> None:
        self._db = connection
        self._delta = delta
        self._add = Prepared(connection, _ADD)
        self._due = Prepared(connection, _DUE)
        self._find = Prepared(connection, _FIND)
        self._settle = Prepared(connection, _SETTLE)
        self._move_run = Prepared(connection, _MOVE_RUN)
        self._oldest = Prepared(connection, _OLDEST)
        self.staged = OutboxState()

    def write(
        self,
        *,
        run_no: int,
        trace: EncodedTrace,
        stored: bytes,
        ended_ns: int | None,
        now_ns: int,
    ) -> None:
        """Add a trace at the end of the outbox."""
        self._add.run(
            {
                "run_no": run_no,
                "state": TraceState.PENDING,
                "written_ns": now_ns,
                "ended_ns": ended_ns,
                "trace_id": trace.trace_id,
                "spans": trace.spans,
                "size": len(trace.payload),
                "payload": stored,
            },
        )
        before = self.staged
        self.staged = replace(
            before,
            pending=before.pending + 1,
            stored_bytes=before.stored_bytes + len(stored),
            oldest_ns=now_ns if before.oldest_ns is None else before.oldest_ns,
        )

    def due(self, *, now_ns: int, max_traces: int, max_bytes: int) -> list[StoredTrace]:
        """The oldest undelivered traces, `max_bytes` of them at most, but at least one."""
        chosen: list[StoredTrace] = []
        weight = 0
        for row in self._due.rows({"now": now_ns, "most": max_traces}):
            no, trace_id, payload, spans, size, ended_ns = row
            weight += size
            if chosen and weight > max_bytes:
                break
            chosen.append(StoredTrace(no, trace_id, decompress(payload), spans, ended_ns))
        return chosen

    def settle(
        self,
        settlements: Sequence[Settlement],
        *,
        now_ns: int,
        spans_delivered: int = 0,
        spans_rejected: int = 0,
    ) -> None:
        """Record what became of traces; one that is settled already is left as it is."""
        rows = self._find.rows({"nos": json.dumps([one.no for one in settlements])})
        found = {row[0]: row[1:] for row in rows if row[2] in _WAITING}
        changes: list[dict[str, object]] = []
        moves: list[dict[str, object]] = []
        pending, parked, weight = 0, 0, 0
        for one in settlements:
            row = found.get(one.no)
            if row is None:
                continue
            run_no, state, stored = row
            when = one.until_ns if one.state is TraceState.PARKED else now_ns
            changes.append({"trace": one.no, "to": one.state, "when": when})
            parked += (one.state is TraceState.PARKED) - (state == TraceState.PARKED)
            fate = _FATES.get(one.state)
            if fate is None:
                continue
            run_state, family = fate
            pending += 1
            weight += stored
            moves.append({"run": run_no, "to": run_state})
            self._delta().add(TotalKey(family), 1)
        if changes:
            self._settle.run_many(changes)
        if moves:
            self._move_run.run_many(moves)
        if spans_delivered:
            self._delta().add(TotalKey(families.SPANS_DELIVERED), spans_delivered)
        if spans_rejected:
            self._delta().add(TotalKey(families.SPANS_REJECTED), spans_rejected)
        self.staged = OutboxState(
            pending=self.staged.pending - pending,
            parked=self.staged.parked + parked,
            stored_bytes=self.staged.stored_bytes - weight,
            oldest_ns=self._oldest_ns(),
        )

    def unpark(self) -> int:
        """Make every parked trace due now; how many there were."""
        done = self._db.execute(
            update(_trace)
            .where(schema.TRACE_IS_UNDELIVERED, _trace.c.state == TraceState.PARKED.value)
            .values(state=TraceState.PENDING.value, at_ns=None)
        )
        self.staged = replace(self.staged, parked=0)
        return int(done.rowcount)

    def find(self, agent_no: int, run_id: str) -> StoredTrace | None:
        """The trace of a run, as long as it is kept."""
        row = self._db.execute(
            select(_trace)
            .join(_run, _run.c.no == _trace.c.run_no)
            .where(_run.c.agent_no == agent_no, _run.c.id == run_id)
        ).one_or_none()
        if row is None:
            return None
        return StoredTrace(
            row.no, bytes(row.trace_id), decompress(row.payload), row.spans, row.ended_ns
        )

    def settled(
        self, *, since_ns: int, after_no: int, most: int, max_bytes: int
    ) -> list[StoredTrace]:
        """Traces that were settled since then, in the order of the outbox, behind `after_no`."""
        rows = self._db.execute(
            select(_trace)
            .where(_trace.c.no > after_no, *_settled_since(since_ns))
            .order_by(_trace.c.no)
            .limit(most)
        )
        chosen: list[StoredTrace] = []
        weight = 0
        for row in rows:
            weight += row.size
            if chosen and weight > max_bytes:
                break
            chosen.append(
                StoredTrace(
                    row.no, bytes(row.trace_id), decompress(row.payload), row.spans, row.ended_ns
                )
            )
        return chosen

    def count_settled(self, *, since_ns: int) -> int:
        """How many traces were settled since then; looks at every trace."""
        return int(
            self._db.execute(
                select(func.count()).select_from(_trace).where(*_settled_since(since_ns))
            ).scalar_one()
        )

    def prune(self, *, settled_before_ns: int, after_no: int, window: int) -> int | None:
        """Let go of old settled traces in one window; where to go on, None at the end.

        Rejected traces are kept as long as delivered ones: until then `replay` can send them.
        """
        self._db.execute(
            delete(_trace).where(
                _trace.c.no > after_no,
                _trace.c.no <= after_no + window,
                _trace.c.state.not_in(_WAITING),
                _trace.c.at_ns < settled_before_ns,
            )
        )
        following = self._db.execute(
            select(func.min(_trace.c.no)).where(_trace.c.no > after_no + window)
        ).scalar()
        return None if following is None else following - 1

    def count(self) -> OutboxState:
        """Count what is undelivered from the tables; done once at start."""
        rows = self._db.execute(
            select(_trace.c.state, func.count(), func.sum(_WEIGHT))
            .where(schema.TRACE_IS_UNDELIVERED)
            .group_by(_trace.c.state)
        ).all()
        counts = {row[0]: row[1] for row in rows}
        self.staged = OutboxState(
            pending=sum(counts.values()),
            parked=counts.get(TraceState.PARKED, 0),
            stored_bytes=sum(int(row[2]) for row in rows),
            oldest_ns=self._oldest_ns(),
        )
        return self.staged

    def _oldest_ns(self) -> int | None:
        row = self._oldest.first({})
        return None if row is None else int(row[0])


def _settled_since(since_ns: int) -> tuple[ColumnElement[bool], ...]:
    return _trace.c.state.not_in(_WAITING), _trace.c.at_ns >= since_ns
