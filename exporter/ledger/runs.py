"""Runs: counted once, and what becomes of their traces; inside a transaction of the ledger.

Every method may be repeated: rows are found by their keys, and a run is counted once whatever
happens. Never decides what is worth a request.
"""

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final, NamedTuple

from exporter.conduit.models import Run, Unreadable
from exporter.ledger.agents import AgentTables
from exporter.ledger.records import (
    AgentProgress,
    Coverage,
    EncodedTrace,
    Priority,
    Recorded,
    RunRecord,
    TraceState,
)
from exporter.ledger.totals import Family, TotalsDelta
from exporter.ledger.traces import TraceTables

_FIND: Final = """
SELECT id, no, counted, trace, priority, attempts, status, fingerprint FROM run
WHERE agent_no = ? AND id IN (SELECT value FROM json_each(?))
"""
_ADD: Final = """
INSERT INTO run (agent_no, id, counted, trace, priority, named, status, disposition, created_ns,
    ended_ns, duration_ns, input_tokens, output_tokens, cost_usd, conversation_id, reason,
    fingerprint)
VALUES (:agent_no, :id, :counted, :trace, :priority, :named, :status, :disposition, :created_ns,
    :ended_ns, :duration_ns, :input_tokens, :output_tokens, :cost_usd, :conversation_id, :reason,
    :fingerprint)
"""
_PUT: Final = """
UPDATE run SET counted = :counted, trace = :trace, priority = :priority,
    named = max(named, :named), status = :status, disposition = :disposition,
    created_ns = :created_ns, ended_ns = :ended_ns, duration_ns = :duration_ns,
    input_tokens = :input_tokens, output_tokens = :output_tokens, cost_usd = :cost_usd,
    conversation_id = :conversation_id, reason = :reason,
    fingerprint = :fingerprint
WHERE agent_no = :agent_no AND id = :id
"""
_NAME: Final = """
UPDATE run SET named = 1
WHERE agent_no = ? AND id IN (SELECT value FROM json_each(?)) AND named = 0
"""
# Settled, below the floor (so that it cannot be counted again), and old.
_PRUNE: Final = """
DELETE FROM run WHERE no > :after AND no <= :after + :window AND trace NOT IN (1, 2) AND named = 0
AND NOT (counted = 0 AND trace = 0)
AND created_ns < (SELECT floor_ns FROM agent WHERE agent.no = run.agent_no)
AND coalesce(ended_ns, created_ns) < :before_ns
AND NOT EXISTS (SELECT 1 FROM trace WHERE run_no = run.no)
"""


# Two, so that each finds its rows by its index.
_AWAITING: Final = ("trace = 1 AND attempts = 0", "trace = 1 AND attempts > 0")


class _Row(NamedTuple):
    no: int
    counted: int
    trace: int
    priority: int
    attempts: int
    status: str
    fingerprint: int

    @property
    def given_up(self) -> bool:
        """Whether its detail was asked for in vain until nobody will ask again."""
        return self.trace == TraceState.DEAD and self.attempts > 0


class RunTables:
    """The runs of one ledger; `delta` collects the transaction's additions to the totals."""

    def __init__(
        self, connection: sqlite3.Connection, *, agents: AgentTables, traces: TraceTables
    ) -> None:
        self._db = connection
        self._agents = agents
        self._traces = traces
        self.delta = TotalsDelta()

    # --- what Conduit shows -------------------------------------------------------------------

    def record_page(
        self,
        agent_no: int,
        runs: Sequence[Run],
        *,
        decide: Callable[[Run], RunRecord],
        unreadable: Sequence[Unreadable] = (),
        coverage: Coverage | None = None,
        floor_ns: int,
        now_ns: int,
    ) -> Recorded:
        """Record what a page showed: count what has ended, remember what has not, move the reading.

        Counting and the totals share the transaction. `decide` is asked about runs that are not
        counted yet; those created before `floor_ns` that are not known are left alone.
        """
        unique: dict[str, Run] = {}
        for run in runs:
            # A row may stand on a page twice.
            if run.terminal or run.id not in unique:
                unique[run.id] = run
        rows = self._find(agent_no, list(unique))
        counted: list[RunRecord] = []
        appeared = revised = 0
        for run_id, run in unique.items():
            row = rows.get(run_id)
            if (row is None or not row.status) and run.created_ns < floor_ns:
                # Not known, or known as a row that could not be read.
                continue
            if row is not None and row.counted:
                revised += self._note_revision(agent_no, run, row)
                continue
            record = decide(run)
            if _may_count(row, record):
                appeared += row is None
                if self._take(agent_no, record, row, now_ns):
                    counted.append(record)
        self._quarantine_rows(agent_no, unreadable, now_ns)
        if coverage is not None:
            self._agents.cover(agent_no, coverage)
        return self._recorded(agent_no, counted, appeared, revised)

    def record_detail(
        self,
        agent_no: int,
        record: RunRecord,
        *,
        trace: EncodedTrace | None,
        now_ns: int,
        quarantine: str | None = None,
    ) -> Recorded:
        """Record a run's detail: its trace goes into the outbox, or is dead for a reason.

        Counts the run first if nothing had done so. From here on Conduit is not asked again. A run
        that has not ended only becomes known.
        """
        run = record.run
        row = self._find(agent_no, [run.id]).get(run.id)
        appeared = row is None
        counted: list[RunRecord] = []
        if _may_count(row, record):
            if self._take(agent_no, record, row, now_ns):
                counted.append(record)
            row = self._find(agent_no, [run.id]).get(run.id)
        if row is not None and run.terminal and row.trace == TraceState.AWAITING_DETAIL:
            if trace is not None:
                self._write_trace(
                    agent_no, row.no, record, trace, Priority(row.priority), now_ns=now_ns
                )
            elif quarantine is not None:
                self._bury(agent_no, row, quarantine)
        return self._recorded(agent_no, counted, int(appeared), 0)

    def detail_failed(
        self, agent_no: int, run_id: str, *, attempts: int, retry_ns: int
    ) -> AgentProgress:
        """Note that a request for a run's detail failed, and when the next one is due."""
        self._db.execute(
            "UPDATE run SET attempts = ?, retry_ns = ? WHERE agent_no = ? AND id = ?",
            (attempts, retry_ns, agent_no, run_id),
        )
        return self._agents.progress(agent_no)

    def give_up(
        self, agent_no: int, run_id: str, *, reason: str, attempts: int, named: bool, now_ns: int
    ) -> AgentProgress:
        """Mark a run whose detail will never come; whether it is counted stays as it is."""
        row = self._find(agent_no, [run_id]).get(run_id)
        if row is None:
            self._add_unreadable(agent_no, run_id, reason, now_ns, named=named)
            self.delta.add(Family.QUARANTINED, 1, label1=reason)
        elif row.trace in (TraceState.NONE, TraceState.AWAITING_DETAIL):
            self._bury(agent_no, row, reason)
        self._db.execute(
            "UPDATE run SET attempts = ?, named = max(named, ?) WHERE agent_no = ? AND id = ?",
            (attempts, named, agent_no, run_id),
        )
        return self._agents.progress(agent_no)

    def forget_awaiting(self) -> None:
        """Want no detail any more that is still awaited."""
        for awaiting in _AWAITING:
            counts = f"SELECT agent_no, count(*) FROM run WHERE {awaiting} GROUP BY agent_no"  # noqa: S608 - constants
            for agent_no, count in self._db.execute(counts).fetchall():
                self.delta.add(Family.AWAITING_DETAIL, -count, agent_no)
            # What a backfill found is not counted: left as it is, it would be taken for in flight.
            self._db.execute(
                f"UPDATE run SET trace = CASE counted WHEN 1 THEN ? ELSE ? END WHERE {awaiting}",  # noqa: S608 - constants
                (TraceState.NONE, TraceState.DEAD),
            )

    # --- what is still to be done -------------------------------------------------------------

    def unsettled(self, agent_no: int, run_ids: Iterable[str]) -> list[str]:
        """Those of these named runs that are neither counted nor given up; none is forgotten."""
        ids = list(run_ids)
        self._db.execute(_NAME, (agent_no, json.dumps(ids)))
        rows = self._find(agent_no, ids)
        return [
            one
            for one in ids
            if (row := rows.get(one)) is None or not (row.counted or row.given_up)
        ]

    def known(self, agent_no: int, run_ids: Sequence[str]) -> dict[str, bool]:
        """Those of these runs that were ever seen, and whether each is counted."""
        return {run_id: bool(row.counted) for run_id, row in self._find(agent_no, run_ids).items()}

    def counted_since(self, agent_no: int, since_ns: int) -> int:
        """How many runs created since then are counted; looks at every run of the agent."""
        ((count,),) = self._db.execute(
            "SELECT count(*) FROM run WHERE agent_no = ? AND created_ns >= ? AND counted = 1",
            (agent_no, since_ns),
        )
        return int(count)

    def prune(self, *, before_ns: int, after_no: int, window: int) -> int | None:
        """Let go of settled runs in one window of rows; where to go on, None at the end."""
        self._db.execute(_PRUNE, {"after": after_no, "window": window, "before_ns": before_ns})
        return _next_window(self._db, "run", after_no + window)

    # --- rows ---------------------------------------------------------------------------------

    def _take(self, agent_no: int, record: RunRecord, row: _Row | None, now_ns: int) -> bool:
        """Write what is known of a run that was not counted so far; whether it is counted now."""
        run = record.run
        if record.priority is Priority.BACKFILL and row is not None and row.status:
            # Known before, in flight: it is counted, whoever sees it end.
            record = replace(record, priority=Priority(row.priority))
        backfill = record.priority is Priority.BACKFILL
        if backfill and not (run.terminal and record.traced):
            return False
        counts = run.terminal and not backfill
        trace = TraceState.NONE
        if row is not None and (
            row.given_up or row.trace not in (TraceState.NONE, TraceState.DEAD)
        ):
            trace = TraceState(row.trace)
        elif run.terminal and record.traced:
            trace = TraceState.AWAITING_DETAIL
        values = {
            "agent_no": agent_no,
            "id": run.id,
            "counted": counts,
            "trace": trace,
            "priority": record.priority,
            "named": record.named,
            "status": run.status,
            "disposition": record.disposition,
            "created_ns": run.created_ns,
            "ended_ns": ended_ns(run) if run.terminal else None,
            "duration_ns": run.duration_ns,
            "input_tokens": run.input_tokens,
            "output_tokens": run.output_tokens,
            "cost_usd": None if run.cost_usd is None else format(run.cost_usd, "f"),
            "conversation_id": record.conversation_id,
            "reason": None,
            "fingerprint": fingerprint(run) if run.terminal else 0,
        }
        if row is None:
            self._db.execute(_ADD, values)
        elif run.terminal or row.status != run.status or row.trace != trace or record.named:
            self._db.execute(_PUT, values)
        if trace is TraceState.AWAITING_DETAIL and (
            row is None or row.trace != TraceState.AWAITING_DETAIL
        ):
            self.delta.add(Family.AWAITING_DETAIL, 1, agent_no)
        if counts:
            self._count(agent_no, record, now_ns)
        if record.trace is not None and trace is TraceState.AWAITING_DETAIL:
            no = self._find(agent_no, [run.id])[run.id].no
            self._write_trace(agent_no, no, record, record.trace, record.priority, now_ns=now_ns)
        return counts

    def _count(self, agent_no: int, record: RunRecord, now_ns: int) -> None:
        run, add = record.run, self.delta.add
        add(Family.RUNS, 1, agent_no, run.status, record.disposition)
        add(Family.TOKENS, run.input_tokens or 0, agent_no, "input")
        add(Family.TOKENS, run.output_tokens or 0, agent_no, "output")
        if run.cost_usd is None:
            add(Family.UNPRICED, 1, agent_no)
        else:
            add(Family.COST_USD, Decimal(run.cost_usd), agent_no)
            self.delta.add_cost(record.day, agent_no, run.cost_usd)
        if record.price_bucket is not None:
            add(Family.PRICE_BUCKET, 1, agent_no, record.price_bucket)
        if record.duration_bucket is not None and run.duration_ns is not None:
            add(Family.DURATION_BUCKET, 1, agent_no, run.status, record.duration_bucket)
            add(Family.DURATION_NS, run.duration_ns, agent_no, run.status)
        # A run that is dated ahead would be the last one until then.
        self.delta.raise_to(Family.LAST_RUN_NS, min(ended_ns(run), now_ns), agent_no)

    def _note_revision(self, agent_no: int, run: Run, row: _Row) -> bool:
        """Keep what a counted run looks like now; whether that is new."""
        found = fingerprint(run)
        if found == row.fingerprint:
            return False
        self._db.execute("UPDATE run SET fingerprint = ? WHERE no = ?", (found, row.no))
        self.delta.add(Family.REVISIONS, 1, agent_no)
        return True

    def _quarantine_rows(
        self, agent_no: int, unreadable: Sequence[Unreadable], now_ns: int
    ) -> None:
        """Remember the rows that could not be understood, so that each counts once."""
        found = {one.key: one for one in unreadable}
        known = self._find(agent_no, list(found))
        for key, one in found.items():
            if key not in known:
                self._add_unreadable(agent_no, key, one.reason, now_ns)
                self.delta.add(Family.QUARANTINED, 1, label1=one.reason)

    def _add_unreadable(
        self, agent_no: int, run_id: str, reason: str, now_ns: int, *, named: bool = False
    ) -> None:
        self._db.execute(
            """
            INSERT INTO run
                (agent_no, id, counted, trace, priority, named, status, created_ns, reason,
                 fingerprint)
            VALUES (?, ?, 0, ?, ?, ?, '', ?, ?, 0)
            """,
            (agent_no, run_id, TraceState.DEAD, Priority.FRESH, named, now_ns, reason),
        )

    def _bury(self, agent_no: int, row: _Row, reason: str) -> None:
        if row.trace == TraceState.AWAITING_DETAIL:
            self.delta.add(Family.AWAITING_DETAIL, -1, agent_no)
        self._db.execute(
            "UPDATE run SET trace = ?, reason = ? WHERE no = ?", (TraceState.DEAD, reason, row.no)
        )
        self.delta.add(Family.QUARANTINED, 1, label1=reason)

    def _write_trace(
        self,
        agent_no: int,
        run_no: int,
        record: RunRecord,
        trace: EncodedTrace,
        priority: Priority,
        *,
        now_ns: int,
    ) -> None:
        self._traces.add(
            run_no,
            trace,
            # No delay is measured of what waited in Conduit's list before anybody looked.
            ended_ns=record.run.completed_ns if priority <= Priority.FRESH else None,
            now_ns=now_ns,
        )
        self._db.execute(
            "UPDATE run SET trace = ?, tool_calls = ?, tool_errors = ? WHERE no = ?",
            (
                TraceState.PENDING,
                sum(trace.tools.values()),
                sum(count for (_, failed), count in trace.tools.items() if failed),
                run_no,
            ),
        )
        self.delta.add(Family.AWAITING_DETAIL, -1, agent_no)
        if priority is not Priority.BACKFILL:
            for (tool, failed), count in trace.tools.items():
                self.delta.add(Family.TOOL_CALLS, count, agent_no, tool)
                self.delta.add(Family.TOOL_ERRORS, count if failed else 0, agent_no, tool)

    def _recorded(
        self, agent_no: int, counted: list[RunRecord], appeared: int, revised: int
    ) -> Recorded:
        return Recorded(
            counted=tuple(counted),
            appeared=appeared,
            revised=revised,
            progress=self._agents.progress(agent_no),
        )

    def _find(self, agent_no: int, run_ids: Sequence[str]) -> dict[str, _Row]:
        rows = self._db.execute(_FIND, (agent_no, json.dumps(list(run_ids))))
        return {row[0]: _Row(*row[1:]) for row in rows}


def _may_count(row: _Row | None, record: RunRecord) -> bool:
    """Whether what is known of a run leaves anything to be learned from a list.

    What a backfill took is counted only where it is asked for by name.
    """
    return row is None or (not row.counted and (row.priority != Priority.BACKFILL or record.named))


def ended_ns(run: Run) -> int:
    """When a run ended, as far as that is known."""
    return run.completed_ns or run.created_ns + (run.duration_ns or 0)


def fingerprint(run: Run) -> int:
    """A number that changes when what is counted of a run changes, the same in every process."""
    cost = None if run.cost_usd is None else run.cost_usd.normalize()
    figures = (run.status, run.disposition, run.duration_ns, run.input_tokens, run.output_tokens)
    return zlib.crc32(f"{figures} {cost}".encode())


def _next_window(connection: sqlite3.Connection, table: str, end_no: int) -> int | None:
    ((following,),) = connection.execute(f"SELECT min(no) FROM {table} WHERE no > ?", (end_no,))  # noqa: S608 - names of ours
    return None if following is None else int(following) - 1
