"""The ledger: one open file, its totals, and the transactions that change both together.

Synchronous and single-threaded on purpose: `LedgerGate` hands it to an executor. What a work does
it does through `agents`, `runs`, `traces` and `history`, inside the transaction of `transact`, so
several works share one commit. A repeat of any of them changes nothing.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

from exporter.ledger.agents import AgentTables
from exporter.ledger.file import LedgerFile, reading, translated
from exporter.ledger.history import RunHistory
from exporter.ledger.runs import RunTables
from exporter.ledger.totals import Number, TotalKey, Totals, TotalsDelta, number_to_text, plus
from exporter.ledger.traces import TraceTables

R = TypeVar("R")
Work = Callable[["Ledger"], R]

_PUT_TOTAL: Final = """
INSERT INTO total (family, agent_no, label1, label2, value) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value
"""
_PUT_DAY_COST: Final = """
INSERT INTO day_cost (day, agent_no, value) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value
"""
# Commits between two looks at the file's size.
_MEASURED_EVERY: Final = 16
DAY_COSTS_KEPT: Final = timedelta(days=400)
# A month, a day on each side for time zones, and a day of slack.
_DAYS_IN_MEMORY: Final = timedelta(days=34)


class Ledger:
    """One ledger, open; `agents`, `runs`, `traces`, `history` belong inside a `transact`.

    `totals`, `day_costs` and `oldest_pending_ns` are the last committed ones and may be read at any
    time. `today` is the present day in the time zone of the calendar.
    """

    def __init__(self, file: LedgerFile, *, today: Callable[[], date]) -> None:
        self._file = file
        self._today = today
        self._db = file.connection
        self.agents = AgentTables(self._db)
        self.traces = TraceTables(self._db)
        self.runs = RunTables(self._db, agents=self.agents, traces=self.traces)
        self.history = RunHistory(self._db)
        self.totals = Totals()
        self.day_costs: dict[tuple[str, int], Decimal] = {}
        self.oldest_pending_ns: int | None = None
        self.size_bytes = self.free_bytes = 0
        self._commits = 0
        try:
            self.reload()
            with translated(), reading():
                ((created,),) = self._db.execute("SELECT value FROM meta WHERE key = 'created_ns'")
                self.created_ns = int(created)
        except BaseException:
            file.close()
            raise

    @property
    def path(self) -> str:
        """The file, for messages."""
        return str(self._file.path)

    def labels_of(self, family: str) -> list[tuple[int, str]]:
        """The (agent number, first label) pairs that a family of totals has series for."""
        return [
            (key.agent_no, key.label1) for key, _ in self.totals.items() if key.family == family
        ]

    def close(self) -> None:
        """Give the file back. Raises LedgerError for the database's faults."""
        with translated():
            self._file.close()

    def reload(self) -> None:
        """Read what is held in memory from the file again, after a commit of unknown outcome."""
        with translated(), reading():
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self.totals = Totals(
                (TotalKey(family, agent_no, label1, label2), value)
                for family, agent_no, label1, label2, value in self._db.execute(
                    "SELECT family, agent_no, label1, label2, value FROM total"
                )
            )
            since = (self._today() - _DAYS_IN_MEMORY).isoformat()
            self.day_costs = {
                (day, agent_no): Decimal(value)
                for day, agent_no, value in self._db.execute(
                    "SELECT day, agent_no, value FROM day_cost WHERE day >= ?", (since,)
                )
            }
            self.oldest_pending_ns = self.traces.oldest_waiting_ns()
        self._measure()

    def transact(self, works: Sequence[Work[Any]]) -> list[Any]:
        """Do all of `works` in one commit and give back what each returned.

        Nothing of any of them stands if one raises. Raises LedgerError for the database's faults.
        """
        delta = self.runs.delta = self.traces.delta = TotalsDelta()
        with translated():
            self._file.check_in_place()
            self._db.execute("BEGIN IMMEDIATE")
            try:
                results = [work(self) for work in works]
                totals = self.totals.after(delta)
                day_costs = self._write_totals(totals, delta)
                oldest_pending_ns = self.traces.oldest_waiting_ns()
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        self.totals.apply(totals)
        self.day_costs.update(day_costs)
        self.oldest_pending_ns = oldest_pending_ns
        self._commits += 1
        if self._commits % _MEASURED_EVERY == 0:
            self._measure()
        return results

    def prune_day_costs(self) -> None:
        """Let go of the costs of days that no calendar month needs any more."""
        before = (self._today() - DAY_COSTS_KEPT).isoformat()
        self._db.execute("DELETE FROM day_cost WHERE day < ?", (before,))
        kept = (self._today() - _DAYS_IN_MEMORY).isoformat()
        for key in [key for key in self.day_costs if key[0] < kept]:
            del self.day_costs[key]

    def _write_totals(
        self, totals: dict[TotalKey, Number], delta: TotalsDelta
    ) -> dict[tuple[str, int], Decimal]:
        self._db.executemany(
            _PUT_TOTAL, [(*key, number_to_text(value)) for key, value in totals.items()]
        )
        day_costs: dict[tuple[str, int], Decimal] = {}
        for (day, agent_no), amount in delta.day_costs.items():
            row = self._db.execute(
                "SELECT value FROM day_cost WHERE day = ? AND agent_no = ?", (day, agent_no)
            ).fetchone()
            with reading():
                value = Decimal(plus(Decimal(row[0] if row else 0), amount))
            self._db.execute(_PUT_DAY_COST, (day, agent_no, number_to_text(value)))
            day_costs[day, agent_no] = value
        return day_costs

    def _measure(self) -> None:
        with translated():
            self.size_bytes, self.free_bytes = self._file.size_bytes(), self._file.free_bytes()
