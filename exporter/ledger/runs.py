"""Runs and what becomes of them; inside a transaction of the ledger.

Every method may be repeated: rows are found by their keys and states only move on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from exporter.ledger import schema
from exporter.ledger.agents import AgentTables
from exporter.ledger.compression import compress
from exporter.ledger.counting import add_counted, add_tools
from exporter.ledger.families import QUARANTINED, REVISIONS
from exporter.ledger.outbox import OutboxTables
from exporter.ledger.prepared import Prepared
from exporter.ledger.records import (
    AwaitedRun,
    Coverage,
    DetailRecorded,
    EncodedTrace,
    InFlightRun,
    PageRecorded,
    Seen,
    Sighting,
)
from exporter.ledger.schema import RunState, Urgency
from exporter.ledger.totals import TotalKey, TotalsDelta
from exporter.models import Run, Unreadable

_run = schema.run
_FIND_RUNS: Final = select(_run.c.id, _run.c.state).where(
    _run.c.agent_no == bindparam("agent"),
    # One parameter however many ids, so that the statement stays the same.
    _run.c.id.in_(select(func.json_each(bindparam("ids")).table_valued("value").c.value)),
)
_FIND_RUN: Final = select(_run.c.no, _run.c.state, _run.c.urgency).where(
    _run.c.agent_no == bindparam("agent"), _run.c.id == bindparam("id_")
)
_ADD_RUNS: Final = insert(_run).values(
    {name: bindparam(name) for name in ("agent_no", "id", "state", "urgency", "created_ns")}
)
_MOVE_RUN: Final = (
    update(_run)
    .where(_run.c.agent_no == bindparam("agent"), _run.c.id == bindparam("id_"))
    .values(state=bindparam("to"), urgency=bindparam("how_urgent"))
)
_SET_STATE: Final = update(_run).where(_run.c.no == bindparam("run")).values(state=bindparam("to"))
_AWAITING: Final = (
    select(_run.c.id, _run.c.urgency, _run.c.created_ns)
    .where(schema.RUN_AWAITS_DETAIL, _run.c.agent_no == bindparam("agent"))
    .order_by(_run.c.urgency, _run.c.created_ns)
    .limit(bindparam("most"))
)
# A run seen in flight, or one that could not be read when it was first shown.
NOT_COUNTED: Final = (RunState.SEEN, RunState.UNREADABLE)
_EVER: Final = -(1 << 63)


class _Row(NamedTuple):
    no: int
    state: int
    urgency: int


class RunTables:
    """The runs of one ledger; `delta` gives the running transaction's additions to the totals."""

    def __init__(
        self,
        connection: Connection,
        *,
        agents: AgentTables,
        traces: OutboxTables,
        delta: Callable[[], TotalsDelta],
    ) -> None:
        self._db = connection
        self._agents = agents
        self._traces = traces
        self._delta = delta
        self._find_runs = Prepared(connection, _FIND_RUNS)
        self._find_run = Prepared(connection, _FIND_RUN)
        self._add_runs = Prepared(connection, _ADD_RUNS)
        self._move_run = Prepared(connection, _MOVE_RUN)
        self._set_state = Prepared(connection, _SET_STATE)
        self._awaiting = Prepared(connection, _AWAITING)

    def record_page(
        self,
        agent_no: int,
        sightings: Sequence[Sighting],
        *,
        unreadable: Sequence[Unreadable] = (),
        revised: int = 0,
        coverage: Coverage | None = None,
        floor_ns: int,
        now_ns: int,
    ) -> PageRecorded:
        """Record what a page showed: count what has ended, remember what has not, move the reading.

        Counting and the totals share the transaction; a run is counted once, whatever is repeated.
        """
        if revised:
            self._delta().add(TotalKey(REVISIONS, agent_no), revised)
        known = self._known(agent_no, sightings, unreadable)
        new: list[dict[str, Any]] = []
        moved: list[dict[str, Any]] = []
        seen: list[Seen] = []
        for sighting in sightings:
            run = sighting.run
            state = known.get(run.id)
            what, to = _fate(sighting, state, floor_ns)
            seen.append(what)
            if what is Seen.COUNTED and sighting.urgency is not Urgency.BACKFILL:
                add_counted(self._delta(), agent_no, run, sighting.disposition, sighting.bucket)
            if to is None:
                continue
            known[run.id] = to
            if state is None:
                new.append(_run_row(agent_no, run.id, to, sighting.urgency, run.created_ns))
            else:
                moved.append(
                    {"agent": agent_no, "id_": run.id, "to": to, "how_urgent": sighting.urgency}
                )
        new += self._unreadable_rows(agent_no, unreadable, known, now_ns)
        if new:
            self._add_runs.run_many(new)
        if moved:
            self._move_run.run_many(moved)
        self._write_summaries(agent_no, sightings, seen, now_ns)
        gap_no = self._agents.cover(agent_no, coverage) if coverage is not None else None
        return PageRecorded(tuple(seen), gap_no)

    def record_detail(
        self,
        agent_no: int,
        sighting: Sighting,
        *,
        trace: EncodedTrace | None,
        now_ns: int,
        quarantine: str | None = None,
    ) -> DetailRecorded:
        """Record a run's detail: its trace goes into the outbox, or it is set aside with a reason.

        Counts the run first if nothing had done so. From here on Conduit is not asked again. A run
        that has not ended only becomes known.
        """
        run = sighting.run
        before = self._find(agent_no, run.id)
        if before is None or before.state in NOT_COUNTED:
            # Asked for by its name, a run counts whenever it was created.
            page = self.record_page(agent_no, [sighting], floor_ns=_EVER, now_ns=now_ns)
            what = page.seen[0]
            row = self._find(agent_no, run.id)
        else:
            what = Seen.KNOWN
            row = before
        awaited = _awaited(before)
        if row is None or row.state != RunState.COUNTED or not run.terminal:
            return DetailRecorded(what, awaited if run.terminal else None)
        if trace is not None:
            self._write_trace(row, run, trace, now_ns)
            if row.urgency != Urgency.BACKFILL:
                add_tools(self._delta(), agent_no, trace.tools)
        elif quarantine is not None:
            self._set_state.run({"run": row.no, "to": RunState.QUARANTINED})
            self._delta().add(TotalKey(QUARANTINED, 0, quarantine), 1)
        return DetailRecorded(what, awaited)

    def set_aside(
        self, agent_no: int, run_id: str, *, state: RunState, reason: str | None = None
    ) -> DetailRecorded:
        """Mark a run whose detail will never come (gone, or unreadable)."""
        row = self._find(agent_no, run_id)
        if row is not None and row.state not in (RunState.SEEN, RunState.COUNTED):
            return DetailRecorded(Seen.KNOWN, None)
        if row is not None:
            self._set_state.run({"run": row.no, "to": state})
        if reason is not None:
            self._delta().add(TotalKey(QUARANTINED, 0, reason), 1)
        return DetailRecorded(Seen.KNOWN, _awaited(row))

    def prune(self, *, after_no: int, window: int) -> int | None:
        """Let go of settled runs below their agent's floor, in one window; None at the end.

        They can never come back: what is created below the floor is not counted.
        """
        floor = select(schema.agent.c.floor_ns).where(schema.agent.c.no == _run.c.agent_no)
        kept = select(schema.trace.c.run_no).where(schema.trace.c.run_no == _run.c.no)
        self._db.execute(
            delete(_run).where(
                _run.c.no > after_no,
                _run.c.no <= after_no + window,
                _run.c.state.not_in((RunState.SEEN, RunState.COUNTED, RunState.FETCHED)),
                _run.c.created_ns < floor.scalar_subquery(),
                ~kept.exists(),
            )
        )
        following = self._db.execute(
            select(func.min(_run.c.no)).where(_run.c.no > after_no + window)
        ).scalar()
        return None if following is None else following - 1

    def in_flight(self, agent_no: int) -> list[InFlightRun]:
        """The runs that had not ended when they were last seen."""
        rows = self._db.execute(
            select(_run.c.id, _run.c.created_ns).where(
                schema.RUN_IS_IN_FLIGHT, _run.c.agent_no == agent_no
            )
        )
        return [InFlightRun(row.id, row.created_ns) for row in rows]

    def awaiting(self, agent_no: int, *, most: int) -> list[AwaitedRun]:
        """The runs whose detail is wanted first: by urgency, then oldest first."""
        rows = self._awaiting.rows({"agent": agent_no, "most": most})
        return [AwaitedRun(run_id, Urgency(urgency), at_ns) for run_id, urgency, at_ns in rows]

    def awaiting_counts(self, agent_no: int) -> dict[Urgency, int]:
        """How many runs of an agent wait for their detail, by urgency."""
        rows = self._db.execute(
            select(_run.c.urgency, func.count())
            .where(schema.RUN_AWAITS_DETAIL, _run.c.agent_no == agent_no)
            .group_by(_run.c.urgency)
        )
        return {Urgency(urgency): count for urgency, count in rows}

    def states_of(self, agent_no: int, run_ids: Sequence[str]) -> dict[str, RunState]:
        """How far each of these runs has come; those that were never seen are left out."""
        rows = self._find_runs.rows({"agent": agent_no, "ids": json.dumps(list(run_ids))})
        return {run_id: RunState(state) for run_id, state in rows}

    def counted_since(self, agent_no: int, since_ns: int) -> int:
        """How many runs created since then were counted; looks at every run of the agent."""
        return int(
            self._db.execute(
                select(func.count()).where(
                    _run.c.agent_no == agent_no,
                    _run.c.created_ns >= since_ns,
                    _run.c.state.not_in(NOT_COUNTED),
                )
            ).scalar_one()
        )

    def state_of(self, agent_no: int, run_id: str) -> RunState | None:
        """How far a run has come; None if it was never seen."""
        row = self._find(agent_no, run_id)
        return None if row is None else RunState(row.state)

    def _known(
        self, agent_no: int, sightings: Sequence[Sighting], unreadable: Sequence[Unreadable]
    ) -> dict[str, int]:
        """The states of those of a page's runs that were recorded before."""
        ids = [sighting.run.id for sighting in sightings]
        ids += [one.run_id for one in unreadable if one.run_id is not None]
        if not ids:
            return {}
        return dict(self._find_runs.rows({"agent": agent_no, "ids": json.dumps(ids)}))

    def _unreadable_rows(
        self,
        agent_no: int,
        unreadable: Sequence[Unreadable],
        known: Mapping[str, int],
        now_ns: int,
    ) -> list[dict[str, Any]]:
        """Rows of the runs that could not be read and are not known yet, each quarantined once."""
        new = {
            one.run_id: one
            for one in unreadable
            if one.run_id is not None and one.run_id not in known
        }
        for one in new.values():
            self._delta().add(TotalKey(QUARANTINED, 0, one.reason), 1)
        return [
            _run_row(agent_no, run_id, RunState.UNREADABLE, Urgency.FRESH, now_ns) for run_id in new
        ]

    def _find(self, agent_no: int, run_id: str) -> _Row | None:
        row = self._find_run.first({"agent": agent_no, "id_": run_id})
        return None if row is None else _Row(*row)

    def _write_summaries(
        self, agent_no: int, sightings: Sequence[Sighting], seen: Sequence[Seen], now_ns: int
    ) -> None:
        """Put into the outbox the traces that a list page alone was enough for."""
        for sighting, what in zip(sightings, seen, strict=True):
            if what is Seen.COUNTED and sighting.trace is not None:
                row = self._find(agent_no, sighting.run.id)
                if row is not None:
                    self._write_trace(row, sighting.run, sighting.trace, now_ns)

    def _write_trace(self, row: _Row, run: Run, trace: EncodedTrace, now_ns: int) -> None:
        self._traces.write(
            run_no=row.no,
            trace=trace,
            stored=compress(trace.payload),
            # No delay is measured of what waited in the API's list before anybody looked.
            ended_ns=run.completed_ns if row.urgency <= Urgency.FRESH else None,
            now_ns=now_ns,
        )
        self._set_state.run({"run": row.no, "to": RunState.FETCHED})


def _fate(sighting: Sighting, state: int | None, floor_ns: int) -> tuple[Seen, RunState | None]:
    """What a sighting comes to, and the state it moves its run to, if any."""
    run = sighting.run
    if state is not None and state not in NOT_COUNTED:
        return Seen.KNOWN, None
    if state is None and run.created_ns < floor_ns:
        return Seen.BELOW_FLOOR, None
    if not run.terminal:
        return Seen.IN_FLIGHT, None if state == RunState.SEEN else RunState.SEEN
    return Seen.COUNTED, RunState.COUNTED if sighting.traced else RunState.SAMPLED_OUT


def _awaited(row: _Row | None) -> Urgency | None:
    """The urgency under which a run waits for its detail; None if it does not."""
    return Urgency(row.urgency) if row is not None and row.state == RunState.COUNTED else None


def _run_row(
    agent_no: int, run_id: str, state: RunState, urgency: Urgency, created_ns: int
) -> dict[str, Any]:
    return {
        "agent_no": agent_no,
        "id": run_id,
        "state": state,
        "urgency": urgency,
        "created_ns": created_ns,
    }
