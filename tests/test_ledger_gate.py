"""Many callers, one commit; a refusing disk makes them wait and loses nothing."""

import asyncio
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from exporter.errors import LedgerUnavailable
from exporter.ledger import families, schema
from exporter.ledger.database import Database
from exporter.ledger.gate import LedgerGate
from exporter.ledger.ledger import Ledger, Work
from exporter.ledger.totals import TotalKey
from exporter.models import Agent, Workspace
from tests.factories import make_run, make_sighting
from tests.fakes import START_NS, FakeClock, inline

R = TypeVar("R")


class FailingLedger(Ledger):
    """A ledger whose disk refuses a given number of times, before or after it has committed."""

    refusals = 0
    after_commit = False
    commits = 0

    def transact(self, works: Any) -> list[Any]:
        if self.refusals and not self.after_commit:
            self.refusals -= 1
            raise LedgerUnavailable("disk I/O error")
        results = super().transact(works)
        self.commits += 1
        if self.refusals:
            self.refusals -= 1
            raise LedgerUnavailable("connection lost during COMMIT")
        return results


def gated(tmp_path: Path, test: Callable[[LedgerGate, FailingLedger], Any]) -> None:
    ledger = FailingLedger(Database(url=f"sqlite:///{tmp_path / 'l.db'}", base_url="https://x"))
    number = ledger.transact([lambda one: one.agents.put_workspace(Workspace("ws1", "W"))])[0]
    agent = Agent("ag1", "ws1", "A")
    ledger.transact([lambda one: one.agents.put_agent(agent, workspace_no=number, floor_ns=0)])
    ledger.commits = 0

    async def main() -> None:
        gate = LedgerGate(ledger, executor=inline, clock=FakeClock(), rng=random.Random(1))
        await test(gate, ledger)
        await gate.close()

    asyncio.run(main())


def count(name: str) -> Callable[[Ledger], Any]:
    sighting = make_sighting(make_run(name))
    return lambda one: one.runs.record_page(1, [sighting], floor_ns=0, now_ns=START_NS)


def runs_counted(ledger: Ledger) -> object:
    return ledger.totals.get(TotalKey(families.RUNS, 1, "completed", "resolved"))


def test_works_that_wait_together_are_committed_together(tmp_path: Path) -> None:
    """Ten callers at once cost two commits at most, not ten."""

    async def test(gate: LedgerGate, ledger: FailingLedger) -> None:
        await asyncio.gather(*(gate.transact(count(f"ar{i}")) for i in range(10)))
        assert ledger.commits <= 2
        assert runs_counted(ledger) == 10

    gated(tmp_path, test)


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_refusing_disk_is_waited_out(tmp_path: Path, after_commit: bool) -> None:  # noqa: FBT001 - a test parameter
    """Whether or not the failed commit reached the disk, each run is counted once."""

    async def test(gate: LedgerGate, ledger: FailingLedger) -> None:
        ledger.refusals, ledger.after_commit = 3, after_commit
        await gate.transact(count("ar1"))
        assert gate.fault is None
        assert runs_counted(ledger) == 1

    gated(tmp_path, test)


def _divides_by_zero(_: Ledger) -> None:
    raise ZeroDivisionError


def _breaks_a_constraint(ledger: Ledger) -> None:
    ledger._db.execute(insert(schema.meta).values(key="base_url", value="twice"))


def _stores_what_cannot_be(ledger: Ledger) -> None:
    ledger.agents._move_frontier.run({"agent": 1, "to": object()})


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (_divides_by_zero, ZeroDivisionError),
        (_breaks_a_constraint, IntegrityError),
        (_stores_what_cannot_be, sqlite3.ProgrammingError),
    ],
)
def test_one_bad_work_does_not_take_the_others_down(
    tmp_path: Path, bad: Work[None], error: type[Exception]
) -> None:
    """Its caller gets its error and nobody waits for it to mend; the rest is committed."""

    async def test(gate: LedgerGate, ledger: FailingLedger) -> None:
        results = await asyncio.gather(
            gate.transact(count("ar1")),
            gate.transact(bad),
            gate.transact(count("ar2")),
            return_exceptions=True,
        )
        assert isinstance(results[1], error)
        assert runs_counted(ledger) == 2

    gated(tmp_path, test)


def test_closing_while_the_disk_refuses_gives_up_clearly(tmp_path: Path) -> None:
    """Callers that still wait are told; nothing hangs."""

    async def test(gate: LedgerGate, ledger: FailingLedger) -> None:
        ledger.refusals = 10**9
        waiting = asyncio.create_task(gate.transact(count("ar1")))
        while gate.fault is None:  # noqa: ASYNC110 - the fault has no event; one turn suffices
            await asyncio.sleep(0)
        await gate.close()
        with pytest.raises(LedgerUnavailable):
            await waiting

    gated(tmp_path, test)


def test_a_ledger_that_does_not_close_in_order_is_only_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was committed is committed; the end of the program goes on."""

    class Unclosable(FailingLedger):
        def close(self) -> None:
            super().close()
            raise LedgerUnavailable("disk I/O error")

    async def test(gate: LedgerGate, ledger: FailingLedger) -> None:
        ledger.__class__ = Unclosable
        await gate.transact(count("ar1"))

    gated(tmp_path, test)
    assert "not closed in order: disk I/O error" in caplog.text


def test_patient_works_share_a_commit_with_what_comes_soon(tmp_path: Path) -> None:
    """One that is in a hurry takes those along that were waiting."""

    async def test(gate: LedgerGate, ledger: FailingLedger) -> None:
        first = asyncio.create_task(gate.transact(lambda _: 1, patient=True))
        await asyncio.sleep(0)
        second = asyncio.create_task(gate.transact(lambda _: 2, patient=True))
        await asyncio.sleep(0)
        assert not first.done()
        assert await gate.transact(lambda _: 3) == 3
        assert [first.result(), second.result()] == [1, 2]
        assert ledger.commits == 1

    gated(tmp_path, test)


def test_a_patient_work_that_nobody_joins_is_committed_all_the_same(tmp_path: Path) -> None:
    """After a moment, and the next one waits its own moment."""

    async def test(gate: LedgerGate, ledger: FailingLedger) -> None:
        assert await gate.transact(lambda _: 1, patient=True) == 1
        assert await gate.transact(lambda _: 2, patient=True) == 2
        assert ledger.commits == 2

    gated(tmp_path, test)
