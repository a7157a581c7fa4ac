"""The ledger's promises: counted once, exact sums, an outbox that forgets nothing."""

import asyncio
import random
import sqlite3
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exporter.conduit.models import Unreadable
from exporter.errors import LedgerUnavailable
from exporter.ledger.gate import LedgerGate
from exporter.ledger.history import RunFilter
from exporter.ledger.ledger import Ledger
from exporter.ledger.records import (
    Coverage,
    Gap,
    GapPurpose,
    Priority,
    Settlement,
    TraceState,
)
from exporter.ledger.totals import Family
from tests.factories import make_record, make_run, make_trace
from tests.fakes import START_NS, FakeClock
from tests.ledger_support import add_agent, do, fetch, open_ledger, record, settle
from tests.simulation.disk import SimulatedDisk

RUNNING = make_run(status="running", completed_ns=None, disposition=None)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger with agent number 1."""
    one = open_ledger(tmp_path / "ledger.db")
    assert add_agent(one) == 1
    yield one
    one.close()


def runs(ledger: Ledger, status: str = "completed", disposition: str = "resolved") -> object:
    return ledger.totals.get(Family.RUNS, 1, status, disposition)


# --- counting ------------------------------------------------------------------------------------


def test_a_run_is_counted_once_however_often_it_is_shown(ledger: Ledger) -> None:
    """Shown again, or twice on one page, a counted run adds nothing."""
    assert len(record(ledger, make_record(), make_record()).counted) == 1
    assert record(ledger, make_record()).counted == ()
    assert runs(ledger) == 1
    assert ledger.totals.get(Family.TOKENS, 1, "input") == 100


def test_a_run_below_the_floor_is_not_counted_unless_it_was_in_flight(ledger: Ledger) -> None:
    """Runs from before the look-back are none of ours; what was seen going on is."""
    old = make_record(make_run(created_ns=5))
    assert record(ledger, old, floor_ns=6).counted == ()
    assert len(record(ledger, old, floor_ns=5).counted) == 1
    record(ledger, make_record(make_run("ar2", status="running", created_ns=7)), floor_ns=5)
    ended = make_record(make_run("ar2", created_ns=7))
    assert len(record(ledger, ended, floor_ns=9).counted) == 1


def test_money_is_summed_exactly(ledger: Ledger) -> None:
    """A million dollars and a thousand-millionth add up to the last digit, by day as well."""
    costs = [Decimal("0.1"), Decimal("0.2"), Decimal("1E-9"), Decimal("999999.999999999999")]
    records = [make_record(make_run(f"ar{i}", cost_usd=cost)) for i, cost in enumerate(costs)]
    record(ledger, *records)
    assert ledger.totals.get(Family.COST_USD, 1) == Decimal("1000000.300000000999")
    assert ledger.day_costs == {("2026-04-03", 1): Decimal("1000000.300000000999")}
    record(ledger, make_record(make_run("free", cost_usd=None), day="2026-04-02"))
    assert ledger.totals.get(Family.UNPRICED, 1) == 1


def test_costs_of_former_days_are_kept_for_their_month_and_then_let_go(tmp_path: Path) -> None:
    """The month so far is in memory; days older than 400 are forgotten."""
    path = tmp_path / "ledger.db"
    first = open_ledger(path)
    add_agent(first)
    for day in ("2025-01-01", "2026-03-01", "2026-04-01"):
        record(first, make_record(make_run(day), day=day))
    first.close()
    second = open_ledger(path, today=date(2026, 4, 3))
    assert sorted(day for day, _ in second.day_costs) == ["2026-03-01", "2026-04-01"]
    do(second, lambda one: one.prune_day_costs())
    second.close()
    with sqlite3.connect(path) as connection:
        days = [day for (day,) in connection.execute("SELECT day FROM day_cost ORDER BY day")]
    connection.close()
    assert days == ["2026-03-01", "2026-04-01"]


def test_an_unreadable_row_is_quarantined_once_and_may_be_counted_later(ledger: Ledger) -> None:
    """Rows without an id as well; understood later, a run is counted and traced."""
    rows = [Unreadable("ar1", "cost", "negative"), Unreadable(None, "id", "none", digest="abc")]
    for _ in range(2):
        record(ledger, unreadable=rows)
    assert ledger.totals.get(Family.QUARANTINED, 0, "cost") == 1
    assert ledger.totals.get(Family.QUARANTINED, 0, "id") == 1
    recorded = record(ledger, make_record())
    assert len(recorded.counted) == 1
    assert [run.id for run in recorded.progress.awaiting] == ["ar1"]


def test_a_run_that_changes_afterwards_stays_counted_and_is_a_revision(ledger: Ledger) -> None:
    """A correction of the cost is told once; 0.010 is the same as 0.01."""
    record(ledger, make_record())
    assert record(ledger, make_record(make_run(cost_usd=Decimal("0.010")))).revised == 0
    corrected = make_record(make_run(cost_usd=Decimal("0.02")))
    assert [record(ledger, corrected).revised for _ in range(2)] == [1, 0]
    assert record(ledger, make_record(RUNNING)).revised == 1
    assert ledger.totals.get(Family.COST_USD, 1) == Decimal("0.01")
    assert ledger.totals.get(Family.REVISIONS, 1) == 2


# --- details -------------------------------------------------------------------------------------


def test_details_are_awaited_by_priority_then_oldest_first(ledger: Ledger) -> None:
    """Failed runs first, then fresh ones by age, then the backlog; sampled-out runs never."""
    recorded = record(
        ledger,
        make_record(make_run("new", created_ns=30)),
        make_record(make_run("old", created_ns=10, completed_ns=15)),
        make_record(make_run("back", created_ns=1), priority=Priority.BACKLOG),
        make_record(make_run("failed", created_ns=40), priority=Priority.URGENT),
        make_record(make_run("sampled", created_ns=2), traced=False),
    )
    assert [run.id for run in recorded.progress.awaiting] == ["failed", "old", "new", "back"]
    assert recorded.progress.oldest_awaiting_ns == 15
    assert ledger.totals.get(Family.AWAITING_DETAIL, 1) == 4


def test_a_detail_is_taken_once(ledger: Ledger) -> None:
    """A second answer for a fetched run changes neither outbox nor totals."""
    for _ in range(2):
        assert fetch(ledger, make_record(), make_trace()).progress.awaiting == ()
    assert ledger.totals.get(Family.TRACES_PENDING) == 1
    assert runs(ledger) == 1
    assert ledger.totals.get(Family.TOOL_CALLS, 1, "get_reservation") == 1
    assert ledger.totals.get(Family.AWAITING_DETAIL, 1) == 0


def test_a_detail_that_failed_waits_apart_and_is_remembered(tmp_path: Path) -> None:
    """Attempts and the next moment survive a restart; others are not behind it."""
    first = open_ledger(tmp_path / "ledger.db")
    add_agent(first)
    record(first, make_record(), make_record(make_run("ar2")))
    do(first, lambda one: one.runs.detail_failed(1, "ar1", attempts=3, retry_ns=77))
    first.close()
    second = open_ledger(tmp_path / "ledger.db")
    progress = do(second, lambda one: one.agents.progress(1))
    second.close()
    assert [run.id for run in progress.awaiting] == ["ar2"]
    assert [(run.id, run.attempts, run.retry_ns) for run in progress.retrying] == [("ar1", 3, 77)]


def test_a_trace_that_is_given_up_leaves_its_run_counted(ledger: Ledger) -> None:
    """Counted and traced are two facts: the one is never undone by the other."""
    record(ledger, make_record(RUNNING))

    def give_up(run_id: str) -> None:
        do(
            ledger,
            lambda one: one.runs.give_up(
                1, run_id, reason="gone", attempts=29, named=False, now_ns=START_NS
            ),
        )

    give_up("ar1")
    recorded = record(ledger, make_record())
    assert len(recorded.counted) == 1
    assert recorded.progress.awaiting == ()
    record(ledger, make_record(make_run("ar2")))
    give_up("ar2")
    assert runs(ledger) == 2
    assert ledger.totals.get(Family.AWAITING_DETAIL, 1) == 0
    assert ledger.totals.get(Family.QUARANTINED, 0, "gone") == 2


def test_a_backfilled_run_is_traced_and_never_added_to_the_totals(ledger: Ledger) -> None:
    """Unless it is asked for by name."""
    old = make_record(priority=Priority.BACKFILL)
    assert record(ledger, old).counted == ()
    fetch(ledger, old, make_trace())
    assert runs(ledger) == 0
    assert ledger.totals.get(Family.TRACES_PENDING) == 1
    assert ledger.totals.get(Family.TOOL_CALLS, 1, "get_reservation") == 0
    fetch(ledger, make_record(named=True), make_trace())
    assert runs(ledger) == 1
    assert ledger.totals.get(Family.TRACES_PENDING) == 1


def test_a_run_that_was_known_in_flight_is_counted_though_a_backfill_sees_it_end(
    ledger: Ledger,
) -> None:
    """The floor may have risen above it meanwhile."""
    record(ledger, make_record(RUNNING))
    record(ledger, make_record(priority=Priority.BACKFILL))
    assert runs(ledger) == 1


def test_a_run_that_is_named_after_it_was_counted_is_never_forgotten(ledger: Ledger) -> None:
    """Else it would be asked for and counted again."""
    old = make_record(make_run(created_ns=1, completed_ns=2), traced=False)
    record(ledger, old, coverage=Coverage(frontier_ns=200))
    assert do(ledger, lambda one: one.runs.unsettled(1, ["ar1"])) == []
    do(ledger, lambda one: one.agents.raise_floor(1, 100))
    do(ledger, lambda one: one.runs.prune(before_ns=100, after_no=0, window=100))
    assert do(ledger, lambda one: one.runs.unsettled(1, ["ar1"])) == []


def test_a_row_that_is_readable_later_counts_by_its_own_time(ledger: Ledger) -> None:
    """Below the floor it is left alone; above, its creation is what it says."""
    unreadable = [Unreadable("ar1", "cost", ""), Unreadable("ar2", "cost", "")]
    record(ledger, unreadable=unreadable)
    below, above = make_run("ar1", created_ns=1), make_run("ar2", created_ns=50)
    record(ledger, make_record(below), make_record(above), floor_ns=10)
    assert runs(ledger) == 1
    assert do(ledger, lambda one: one.history.run("ag1", "ar2")).created_ns == 50


# --- the outbox ----------------------------------------------------------------------------------


def test_a_trace_goes_from_the_outbox_to_delivered(ledger: Ledger) -> None:
    """Written, due, delivered once though told twice: rows, totals and ages agree at every step."""
    trace = make_trace()
    fetch(ledger, make_record(), trace)
    oldest_ns = ledger.oldest_pending_ns
    assert oldest_ns == START_NS
    due = do(ledger, lambda one: one.traces.due(now_ns=0, max_traces=9, max_bytes=9999))
    assert [one.payload for one in due] == [trace.payload]
    for _ in range(2):
        settle(ledger, Settlement(due[0].no, TraceState.DELIVERED))
    assert ledger.oldest_pending_ns is None
    for family, expected in (
        (Family.TRACES_PENDING, 0),
        (Family.OUTBOX_BYTES, 0),
        (Family.TRACES_DELIVERED, 1),
        (Family.SPANS_DELIVERED, 2),
    ):
        assert ledger.totals.get(family) == expected
    assert do(ledger, lambda one: one.history.run("ag1", "ar1")).trace is TraceState.DELIVERED


def test_a_parked_trace_is_due_when_its_time_has_come(ledger: Ledger) -> None:
    """Parked traces are counted, wait, and can be woken early."""
    fetch(ledger, make_record(), make_trace())

    def due_at(now_ns: int) -> int:
        return len(
            do(ledger, lambda one: one.traces.due(now_ns=now_ns, max_traces=9, max_bytes=9999))
        )

    settle(ledger, Settlement(1, TraceState.PENDING, parked_until_ns=100, reason="401"))
    assert ledger.totals.get(Family.TRACES_PENDING) == ledger.totals.get(Family.TRACES_PARKED) == 1
    assert (due_at(99), due_at(100)) == (0, 1)
    assert do(ledger, lambda one: one.traces.unpark()) == 1
    assert ledger.totals.get(Family.TRACES_PARKED) == 0
    assert due_at(0) == 1


def test_a_batch_holds_at_least_one_trace_and_at_most_the_bytes(ledger: Ledger) -> None:
    """The limit counts encoded bytes; a trace over it goes alone."""
    for name in ("a", "b", "c"):
        fetch(ledger, make_record(make_run(name)), make_trace(payload=name.encode() * 1000))
    for max_bytes, expected in ((10, 1), (1999, 1), (2000, 2), (3000, 3)):
        due = do(
            ledger,
            lambda one, most=max_bytes: one.traces.due(now_ns=1, max_traces=9, max_bytes=most),  # type: ignore[misc]
        )
        assert len(due) == expected


def test_retention_lets_go_of_what_is_settled_alone(ledger: Ledger) -> None:
    """Pending traces, runs in flight, awaited, named or above the floor stay however old."""
    for name in ("sent", "kept"):
        fetch(ledger, make_record(make_run(name, created_ns=1, completed_ns=2)), make_trace())
    record(
        ledger,
        make_record(make_run("going", status="running", created_ns=1)),
        make_record(make_run("awaited", created_ns=1, completed_ns=2)),
        make_record(make_run("named", created_ns=1, completed_ns=2), traced=False, named=True),
        make_record(make_run("above", created_ns=90, completed_ns=91), traced=False),
        make_record(make_run("old", created_ns=1, completed_ns=2), traced=False),
        coverage=Coverage(frontier_ns=200),
    )
    settle(ledger, Settlement(1, TraceState.DELIVERED), now_ns=50)

    def prune(before_ns: int) -> None:
        do(ledger, lambda one: one.agents.raise_floor(1, 80))
        do(ledger, lambda one: one.traces.prune(settled_before_ns=before_ns, max_traces=9))
        do(ledger, lambda one: one.runs.prune(before_ns=before_ns, after_no=0, window=100))

    def known() -> set[str]:
        names = ["sent", "kept", "going", "awaited", "named", "above", "old"]
        return set(do(ledger, lambda one: one.runs.known(1, names)))

    prune(50)
    assert known() == {"sent", "kept", "going", "awaited", "named", "above"}
    prune(99)
    assert known() == {"kept", "going", "awaited", "named", "above"}


def test_the_run_list_shows_every_counted_run_page_by_page(ledger: Ledger) -> None:
    """Newest end first, traced or not; filters narrow it, and a page goes on where one ended."""
    record(
        ledger,
        *(
            make_record(
                make_run(
                    f"ar{i}",
                    completed_ns=START_NS + i % 3,
                    status="failed" if i == 4 else "completed",
                    conversation_id="cv1" if i < 2 else None,
                ),
                traced=i % 2 == 0,
            )
            for i in range(6)
        ),
        make_record(make_run("going", status="running", completed_ns=None)),
    )

    def page(**wanted: Any) -> list[str]:
        found = do(ledger, lambda one: one.history.runs(RunFilter(**wanted), max_runs=4))
        return [run.id for run in found]

    assert page() == ["ar5", "ar2", "ar4", "ar1"]
    last = do(ledger, lambda one: one.history.run("ag1", "ar1"))
    assert page(before=(last.ended_ns, last.no)) == ["ar3", "ar0"]
    assert page(status="failed") == ["ar4"]
    assert page(agent_id="ag1", disposition="resolved", since_ns=START_NS + 2) == ["ar5", "ar2"]
    assert page(conversation_id="cv1") == ["ar1", "ar0"]
    assert page(agent_id="nobody") == []


# --- the reading of lists ------------------------------------------------------------------------


def test_a_page_and_how_far_it_moves_the_reading_share_a_transaction(ledger: Ledger) -> None:
    """A frontier and a gap are stored with the runs that they vouch for, and a repeat is one."""
    opened = Coverage(frontier_ns=30, open_gap=Gap(None, GapPurpose.FRESH, 10, 20, "c"))
    for _ in range(2):
        progress = record(ledger, make_record(), coverage=opened).progress
    assert progress.gaps == (Gap(1, GapPurpose.FRESH, 10, 20, "c"),)
    assert progress.agent.frontier_ns == 30
    add_agent(ledger, floor_ns=99)
    assert do(ledger, lambda one: one.agents.agent(1)).floor_ns == 0


def test_the_floor_never_rises_above_what_is_unread(ledger: Ledger) -> None:
    """Not into a gap and not above the frontier; a backfill's gap lies below it anyway."""

    def floor_raised_to(wanted_ns: int) -> int:
        do(ledger, lambda one: one.agents.raise_floor(1, wanted_ns))
        raised: int = do(ledger, lambda one: one.agents.agent(1)).floor_ns
        return raised

    assert floor_raised_to(50) == 0
    backfill = Gap(None, GapPurpose.BACKFILL, 1, 5, None)
    record(ledger, coverage=Coverage(frontier_ns=100, open_gap=backfill))
    assert floor_raised_to(40) == 40
    record(ledger, coverage=Coverage(open_gap=Gap(None, GapPurpose.FRESH, 60, 70, None)))
    assert floor_raised_to(90) == 60
    record(ledger, coverage=Coverage(closed_gap=2))
    assert floor_raised_to(200) == 100
    assert floor_raised_to(10) == 100


def test_a_backfill_ends_where_counting_begins_and_goes_on_where_it_was(ledger: Ledger) -> None:
    """Its cursor is kept, unless more is asked for at the upper end."""
    number = add_agent(ledger, "ag2", floor_ns=100)
    do(ledger, lambda one: one.agents.cover(number, Coverage(frontier_ns=200)))

    def asked(since_ns: int, until_ns: int | None) -> list[tuple[int, int, str | None]]:
        do(
            ledger,
            lambda one: one.agents.open_backfill(number, since_ns=since_ns, until_ns=until_ns),
        )
        found = do(ledger, lambda one: one.agents.gaps(number))
        return [(gap.lower_ns, gap.upper_ns, gap.cursor) for gap in found]

    assert asked(50, 150) == [(50, 100, None)]
    read = Coverage(open_gap=Gap(1, GapPurpose.BACKFILL, 50, 70, "c"))
    do(ledger, lambda one: one.agents.cover(number, read))
    assert asked(50, None) == [(50, 70, "c")]
    assert asked(30, 60) == [(30, 70, "c")]
    assert asked(50, 90) == [(30, 90, None)]


# --- the gate ------------------------------------------------------------------------------------


def gated(ledger: Ledger, test: Callable[[LedgerGate], Any], disk: SimulatedDisk) -> None:
    """Run a test with a gate whose commits go to this disk."""

    async def main() -> None:
        await test(LedgerGate(ledger, executor=disk, clock=FakeClock(), rng=random.Random(1)))

    asyncio.run(main())


def count(name: str) -> Callable[[Ledger], Any]:
    return lambda one: one.runs.record_page(
        1, [make_run(name)], decide=make_record, floor_ns=0, now_ns=START_NS
    )


def test_works_that_wait_together_are_committed_together(ledger: Ledger) -> None:
    """Ten callers at once cost two commits at most, not ten."""
    disk = SimulatedDisk()

    async def test(gate: LedgerGate) -> None:
        await asyncio.gather(*(gate.transact(count(f"ar{i}")) for i in range(10)))

    gated(ledger, test, disk)
    assert disk.calls <= 2
    assert runs(ledger) == 10


def test_totals_that_cannot_be_read_after_a_failed_commit_are_waited_for(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit reached the disk and nobody knows: the run is counted once all the same."""
    disk, reload, refusals = SimulatedDisk(), ledger.reload, ["disk I/O error"] * 2
    disk.after.append(lambda call: call == 1)

    def refusing() -> None:
        if refusals:
            raise LedgerUnavailable(refusals.pop())
        reload()

    monkeypatch.setattr(ledger, "reload", refusing)

    async def test(gate: LedgerGate) -> None:
        recorded = await gate.transact(count("ar1"))
        assert [run.id for run in recorded.progress.awaiting] == ["ar1"]
        assert gate.fault is None

    gated(ledger, test, disk)
    assert runs(ledger) == 1


def test_one_bad_work_does_not_take_the_others_down(ledger: Ledger) -> None:
    """Its caller gets its error and nobody waits for it to mend; nothing of it stays."""

    def breaks_a_constraint(one: Ledger) -> None:
        count("ar3")(one)
        one._db.execute("INSERT INTO meta (key, value) VALUES ('base_url', 'twice')")

    async def test(gate: LedgerGate) -> None:
        results = await asyncio.gather(
            gate.transact(count("ar1")),
            gate.transact(breaks_a_constraint),
            gate.transact(count("ar2")),
            return_exceptions=True,
        )
        assert isinstance(results[1], sqlite3.IntegrityError)

    gated(ledger, test, SimulatedDisk())
    assert runs(ledger) == 2
    assert do(ledger, lambda one: one.runs.known(1, ["ar3"])) == {}


def test_closing_while_the_disk_refuses_gives_up_clearly(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers that still wait are told; nothing hangs."""
    disk = SimulatedDisk()
    disk.before.append(lambda _: True)

    async def test(gate: LedgerGate) -> None:
        waiting = asyncio.create_task(gate.transact(count("ar1")))
        while gate.fault is None:  # noqa: ASYNC110 - the fault has no event; one turn suffices
            await asyncio.sleep(0)
        disk.is_honest = True
        await gate.close()
        with pytest.raises(LedgerUnavailable):
            await waiting

    gated(ledger, test, disk)
    assert "nothing new is fetched until it does" in caplog.text
