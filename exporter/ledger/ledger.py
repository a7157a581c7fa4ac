"""The ledger's work: whole transactions, each of them safe to repeat.

Synchronous and single-threaded on purpose: `LedgerGate` hands it to an executor. Whatever a method
does it does inside the transaction of `transact`, so several of them share one commit. A repeat of
any of them changes nothing: rows are found by their keys and states only move on.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from exporter.errors import LedgerUnavailable
from exporter.ledger import schema
from exporter.ledger.compression import compress
from exporter.ledger.counting import add_counted, add_tools
from exporter.ledger.database import Database, translated
from exporter.ledger.families import QUARANTINED
from exporter.ledger.outbox import OutboxTables
from exporter.ledger.records import (
    AgentRecord,
    AwaitedRun,
    Coverage,
    DetailRecorded,
    EncodedTrace,
    GapRecord,
    InFlightRun,
    OutboxState,
    PageRecorded,
    Seen,
    Sighting,
)
from exporter.ledger.schema import GapPurpose, RunState, Urgency
from exporter.ledger.totals import TotalKey, Totals, TotalsDelta, number_to_text
from exporter.models import Agent, Run, Unreadable, Workspace

R = TypeVar("R")
Work = Callable[["Ledger"], R]

_run = schema.run
_FIND_RUNS: Final = select(_run.c.id, _run.c.state).where(
    _run.c.agent_no == bindparam("agent"), _run.c.id.in_(bindparam("ids", expanding=True))
)
_FIND_RUN: Final = select(_run.c.no, _run.c.state, _run.c.urgency).where(
    _run.c.agent_no == bindparam("agent"), _run.c.id == bindparam("id_")
)
_ADD_RUNS: Final = insert(_run)
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
_PUT_TOTAL: Final = upsert(schema.total).on_conflict_do_update(
    index_elements=["family", "agent_no", "label1", "label2"],
    set_={"value": upsert(schema.total).excluded.value},
)
# Not counted yet: a run seen in flight, or one that could not be read when it was first shown.
_UNCOUNTED: Final = (RunState.SEEN, RunState.UNREADABLE)
_EVER: Final = -(1 << 63)


class Ledger:
    """One ledger, open; every method but `transact`, `reload` and `close` belongs in a `transact`.

    `totals` and `outbox_state` are the last committed ones and may be read at any time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._db = database.connection
        self._delta = TotalsDelta()
        self._traces = OutboxTables(self._db, self._delta_add)
        self.totals = Totals()
        self.outbox_state = OutboxState()
        self.size_bytes = 0
        self.reload()

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    def reload(self) -> None:
        """Read what is held in memory from the file again, after a commit of unknown outcome."""
        with translated(), self._db.begin():
            rows = self._db.execute(select(schema.total)).all()
            self.totals = Totals(
                (TotalKey(row.family, row.agent_no, row.label1, row.label2), row.value)
                for row in rows
            )
            self.outbox_state = self._traces.count()
        self.size_bytes = self._database.size_bytes()

    def transact(self, works: Sequence[Work[Any]]) -> list[Any]:
        """Do all of `works` in one commit and give back what each returned.

        Nothing of any of them stands if one raises. Raises LedgerError for the database's faults.
        """
        self._delta = TotalsDelta()
        try:
            with translated(), self._db.begin():
                results = [work(self) for work in works]
                values = self.totals.after(self._delta)
                if values:
                    self._db.execute(
                        _PUT_TOTAL,
                        [
                            {**key._asdict(), "value": number_to_text(value)}
                            for key, value in values.items()
                        ],
                    )
        except BaseException:
            self._traces.staged = self.outbox_state
            raise
        self.totals.apply(values)
        self.outbox_state = self._traces.staged
        self.size_bytes = self._database.size_bytes()
        return results

    # --- what is watched ---------------------------------------------------------------------

    def put_workspace(self, workspace: Workspace) -> int:
        """Note a workspace and its present name; the number that stands for it."""
        self._db.execute(
            upsert(schema.workspace)
            .values(id=workspace.id, name=workspace.name)
            .on_conflict_do_update(index_elements=["id"], set_={"name": workspace.name})
        )
        return int(
            self._db.execute(
                select(schema.workspace.c.no).where(schema.workspace.c.id == workspace.id)
            ).scalar_one()
        )

    def put_agent(self, agent: Agent, *, workspace_no: int, floor_ns: int) -> AgentRecord:
        """Note an agent and its present name; a known one keeps its floor and what was read."""
        table = schema.agent
        self._db.execute(
            upsert(table)
            .values(
                workspace_no=workspace_no,
                id=agent.id,
                name=agent.name,
                floor_ns=floor_ns,
            )
            .on_conflict_do_update(index_elements=["workspace_no", "id"], set_={"name": agent.name})
        )
        row = self._db.execute(
            select(table).where(table.c.workspace_no == workspace_no, table.c.id == agent.id)
        ).one()
        return AgentRecord(
            no=row.no,
            workspace_no=workspace_no,
            workspace_id=agent.workspace_id,
            id=row.id,
            name=row.name,
            floor_ns=row.floor_ns,
            frontier_ns=row.frontier_ns,
        )

    def gaps(self, agent_no: int) -> list[GapRecord]:
        """What of an agent's list is still to be read, newest first."""
        table = schema.gap
        rows = self._db.execute(
            select(table).where(table.c.agent_no == agent_no).order_by(table.c.upper_ns.desc())
        )
        return [
            GapRecord(
                no=row.no,
                purpose=GapPurpose(row.purpose),
                lower_ns=row.lower_ns,
                upper_ns=row.upper_ns,
                cursor=row.cursor,
            )
            for row in rows
        ]

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
        rows = self._db.execute(_AWAITING, {"agent": agent_no, "most": most})
        return [AwaitedRun(row.id, Urgency(row.urgency), row.created_ns) for row in rows]

    def awaiting_counts(self, agent_no: int) -> dict[Urgency, int]:
        """How many runs of an agent wait for their detail, by urgency."""
        rows = self._db.execute(
            select(_run.c.urgency, func.count())
            .where(schema.RUN_AWAITS_DETAIL, _run.c.agent_no == agent_no)
            .group_by(_run.c.urgency)
        )
        return {Urgency(urgency): count for urgency, count in rows}

    def state_of(self, agent_no: int, run_id: str) -> RunState | None:
        """How far a run has come; None if it was never seen."""
        row = self._find(agent_no, run_id)
        return None if row is None else RunState(row.state)

    # --- what was learned --------------------------------------------------------------------

    def record_page(
        self,
        agent_no: int,
        sightings: Sequence[Sighting],
        *,
        unreadable: Sequence[Unreadable] = (),
        coverage: Coverage | None = None,
        floor_ns: int,
        now_ns: int,
    ) -> PageRecorded:
        """Record what a page showed: count what has ended, remember what has not, move the reading.

        Counting and the totals share the transaction; a run is counted once, whatever is repeated.
        """
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
                add_counted(self._delta, agent_no, run, sighting.disposition, sighting.bucket)
            if to is None:
                continue
            known[run.id] = to
            if state is None:
                new.append(_run_row(agent_no, run.id, to, sighting.urgency, run.created_ns))
            else:
                moved.append(
                    {"agent": agent_no, "id_": run.id, "to": to, "how_urgent": sighting.urgency}
                )
        for one in unreadable:
            if one.run_id is None or one.run_id in known:
                continue
            known[one.run_id] = RunState.UNREADABLE
            self._delta.add(TotalKey(QUARANTINED, 0, one.reason), 1)
            new.append(_run_row(agent_no, one.run_id, RunState.UNREADABLE, Urgency.FRESH, now_ns))
        if new:
            self._db.execute(_ADD_RUNS, new)
        if moved:
            self._db.execute(_MOVE_RUN, moved)
        for sighting, what in zip(sightings, seen, strict=True):
            if what is Seen.COUNTED and sighting.trace is not None:
                row = self._find(agent_no, sighting.run.id)
                if row is not None:
                    self._write_trace(row.no, sighting.run, sighting.trace, now_ns)
        gap_no = self._cover(agent_no, coverage) if coverage is not None else None
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
        if before is None or before.state in _UNCOUNTED:
            # Asked for by its name, a run counts whenever it was created.
            page = self.record_page(agent_no, [sighting], floor_ns=_EVER, now_ns=now_ns)
            what = page.seen[0]
            row = self._find(agent_no, run.id)
        else:
            what = Seen.KNOWN
            row = before
        awaited = Urgency(before.urgency) if _awaits(before) else None
        if row is None or row.state != RunState.COUNTED or not run.terminal:
            return DetailRecorded(what, awaited if run.terminal else None)
        if trace is not None:
            self._write_trace(row.no, run, trace, now_ns)
            if row.urgency != Urgency.BACKFILL:
                add_tools(self._delta, agent_no, trace.tools)
        elif quarantine is not None:
            self._db.execute(_SET_STATE, {"run": row.no, "to": RunState.QUARANTINED})
            self._delta.add(TotalKey(QUARANTINED, 0, quarantine), 1)
        return DetailRecorded(what, awaited)

    def set_aside(
        self, agent_no: int, run_id: str, *, state: RunState, reason: str | None = None
    ) -> DetailRecorded:
        """Mark a run whose detail will never come (gone, or unreadable)."""
        row = self._find(agent_no, run_id)
        if row is not None and row.state not in (RunState.SEEN, RunState.COUNTED):
            return DetailRecorded(Seen.KNOWN, None)
        if row is not None:
            self._db.execute(_SET_STATE, {"run": row.no, "to": state})
        if reason is not None:
            self._delta.add(TotalKey(QUARANTINED, 0, reason), 1)
        return DetailRecorded(Seen.KNOWN, Urgency(row.urgency) if _awaits(row) else None)

    @property
    def traces(self) -> OutboxTables:
        """The outbox: what delivery, the run view and retention work on."""
        return self._traces

    # --- the inside --------------------------------------------------------------------------

    def _delta_add(self, key: TotalKey, amount: int) -> None:
        self._delta.add(key, amount)

    def _quarantined_rows(
        self,
        agent_no: int,
        unreadable: Sequence[Unreadable],
        known: dict[str, int],
        now_ns: int,
    ) -> list[dict[str, Any]]:
        """Rows for runs that could not be read and were not known: each is quarantined once."""
        rows: list[dict[str, Any]] = []
        for one in unreadable:
            if one.run_id is None or one.run_id in known:
                continue
            known[one.run_id] = RunState.UNREADABLE
            self._delta.add(TotalKey(QUARANTINED, 0, one.reason), 1)
            rows.append(
                {
                    "agent_no": agent_no,
                    "id": one.run_id,
                    "state": RunState.UNREADABLE,
                    "urgency": Urgency.FRESH,
                    "created_ns": now_ns,
                }
            )
        return rows

    def _known(
        self, agent_no: int, sightings: Sequence[Sighting], unreadable: Sequence[Unreadable]
    ) -> dict[str, int]:
        """The states of those of a page's runs that were recorded before."""
        ids = [sighting.run.id for sighting in sightings]
        ids += [one.run_id for one in unreadable if one.run_id is not None]
        if not ids:
            return {}
        found = self._db.execute(_FIND_RUNS, {"agent": agent_no, "ids": ids})
        return {row.id: row.state for row in found}

    def _find(self, agent_no: int, run_id: str) -> Any:
        return self._db.execute(_FIND_RUN, {"agent": agent_no, "id_": run_id}).one_or_none()

    def _write_trace(self, run_no: int, run: Run, trace: EncodedTrace, now_ns: int) -> None:
        self._traces.write(
            run_no=run_no,
            trace=trace,
            stored=compress(trace.payload),
            ended_ns=run.completed_ns,
            now_ns=now_ns,
        )
        self._db.execute(_SET_STATE, {"run": run_no, "to": RunState.FETCHED})

    def _cover(self, agent_no: int, coverage: Coverage) -> int | None:
        changes = {
            name: value
            for name in ("frontier_ns", "floor_ns")
            if (value := getattr(coverage, name)) is not None
        }
        if changes:
            self._db.execute(
                update(schema.agent).where(schema.agent.c.no == agent_no).values(**changes)
            )
        if coverage.closed_gap is not None:
            self._db.execute(delete(schema.gap).where(schema.gap.c.no == coverage.closed_gap))
        gap = coverage.open_gap
        if gap is None:
            return None
        values = {
            "agent_no": agent_no,
            "purpose": gap.purpose,
            "lower_ns": gap.lower_ns,
            "upper_ns": gap.upper_ns,
            "cursor": gap.cursor,
        }
        if gap.no is not None:
            self._db.execute(update(schema.gap).where(schema.gap.c.no == gap.no).values(**values))
            return gap.no
        added = self._db.execute(insert(schema.gap).values(**values)).inserted_primary_key
        if added is None:
            raise LedgerUnavailable("The ledger gave no number for a new gap")
        return int(added[0])


def _fate(sighting: Sighting, state: int | None, floor_ns: int) -> tuple[Seen, RunState | None]:
    """What a sighting comes to, and the state it moves its run to, if any."""
    run = sighting.run
    if state is not None and state not in _UNCOUNTED:
        return Seen.KNOWN, None
    if state is None and run.created_ns < floor_ns:
        return Seen.BELOW_FLOOR, None
    if not run.terminal:
        return Seen.IN_FLIGHT, None if state == RunState.SEEN else RunState.SEEN
    return Seen.COUNTED, RunState.COUNTED if sighting.traced else RunState.SAMPLED_OUT


def _awaits(row: Any) -> bool:
    return row is not None and row.state == RunState.COUNTED


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
