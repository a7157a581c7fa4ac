"""The ledger: one open database, its totals, and the transactions that change both together.

Synchronous and single-threaded on purpose: `LedgerGate` hands it to an executor. What a work does
it does through `agents`, `runs` and `traces`, inside the transaction of `transact`, so several
works share one commit. A repeat of any of them changes nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.sqlite import insert as upsert

from exporter.ledger import schema
from exporter.ledger.agents import AgentTables
from exporter.ledger.database import Database, translated
from exporter.ledger.outbox import OutboxTables
from exporter.ledger.prepared import Prepared
from exporter.ledger.records import OutboxState
from exporter.ledger.runs import RunTables
from exporter.ledger.totals import TotalKey, Totals, TotalsDelta, number_to_text

R = TypeVar("R")
Work = Callable[["Ledger"], R]

_ADD_TOTAL = upsert(schema.total).values(
    {column.name: bindparam(column.name) for column in schema.total.columns}
)
_PUT_TOTAL: Final = _ADD_TOTAL.on_conflict_do_update(
    index_elements=["family", "agent_no", "label1", "label2"],
    set_={"value": _ADD_TOTAL.excluded.value},
)
# Commits between two looks at the file's size.
_MEASURED_EVERY: Final = 16


class Ledger:
    """One ledger, open; `agents`, `runs` and `traces` belong inside a `transact`.

    `totals` and `outbox_state` are the last committed ones and may be read at any time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._db = database.connection
        self._delta = TotalsDelta()
        self._put_total = Prepared(self._db, _PUT_TOTAL)
        self.traces = OutboxTables(self._db, lambda: self._delta)
        self.agents = AgentTables(self._db)
        self.runs = RunTables(
            self._db, agents=self.agents, traces=self.traces, delta=lambda: self._delta
        )
        self.totals = Totals()
        self.outbox_state = OutboxState()
        self.size_bytes = 0
        self._commits = 0
        self.reload()

    def seen_labels(self, family: str) -> list[tuple[int, str]]:
        """The (agent number, first label) pairs that a family of totals has series for."""
        return [
            (key.agent_no, key.label1) for key, _ in self.totals.items() if key.family == family
        ]

    def close(self) -> None:
        """Give the file back. Raises LedgerError for the database's faults."""
        with translated():
            self._database.close()

    def reload(self) -> None:
        """Read what is held in memory from the file again, after a commit of unknown outcome."""
        with translated(), self._db.begin():
            rows = self._db.execute(select(schema.total)).all()
            self.totals = Totals(
                (TotalKey(row.family, row.agent_no, row.label1, row.label2), row.value)
                for row in rows
            )
            self.outbox_state = self.traces.count()
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
                    self._put_total.run_many(
                        [
                            {**key._asdict(), "value": number_to_text(value)}
                            for key, value in values.items()
                        ],
                    )
        except BaseException:
            self.traces.staged = self.outbox_state
            raise
        self.totals.apply(values)
        self.outbox_state = self.traces.staged
        self._commits += 1
        if self._commits % _MEASURED_EVERY == 0:
            self.size_bytes = self._database.size_bytes()
        return results
