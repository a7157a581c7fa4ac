"""The ledger's promises: counted once, exact sums, refusals, an outbox that forgets nothing."""

import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from exporter.errors import LedgerLocked, LedgerRefused, LedgerUnavailable
from exporter.ledger import families
from exporter.ledger.compression import compress, decompress
from exporter.ledger.database import Database
from exporter.ledger.ledger import Ledger
from exporter.ledger.outbox import Settlement
from exporter.ledger.records import AgentRecord, Coverage, GapRecord, Seen, Sighting
from exporter.ledger.schema import GapPurpose, RunState, TraceState, Urgency
from exporter.ledger.totals import TotalKey
from exporter.models import Agent, Unreadable, Workspace
from tests.factories import make_run, make_sighting, make_trace
from tests.fakes import START_NS

BASE_URL = "https://api.conduit.ai"


def open_ledger(path: Path, base_url: str = BASE_URL) -> Ledger:
    return Ledger(Database(url=f"sqlite:///{path}", base_url=base_url))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger with agent number 1."""
    one = open_ledger(tmp_path / "ledger.db")
    one.transact([_add_agent])
    yield one
    one.close()


def _add_agent(ledger: Ledger) -> int:
    number = ledger.agents.put_workspace(Workspace("ws1", "Harbor Hotels"))
    agent = Agent("ag1", "ws1", "Guest messaging")
    return ledger.agents.put_agent(agent, workspace_no=number, floor_ns=0).no


def record(ledger: Ledger, *sightings: Sighting, floor_ns: int = 0) -> tuple[Seen, ...]:
    page = ledger.transact(
        [
            lambda one: one.runs.record_page(
                1,
                sightings,
                floor_ns=floor_ns,
                now_ns=START_NS,
            )
        ]
    )[0]
    return tuple(page.seen)


def total(ledger: Ledger, family: str, *labels: str, agent_no: int = 1) -> object:
    return ledger.totals.get(TotalKey(family, agent_no, *labels))


def test_a_run_is_counted_once_however_often_it_is_shown(ledger: Ledger) -> None:
    """A second sighting of a counted run adds nothing."""
    assert record(ledger, make_sighting()) == (Seen.COUNTED,)
    assert record(ledger, make_sighting()) == (Seen.KNOWN,)
    assert total(ledger, families.RUNS, "completed", "resolved") == 1
    assert total(ledger, families.TOKENS, "input") == 100


def test_a_run_twice_on_one_page_is_counted_once(ledger: Ledger) -> None:
    """Rows that repeat within a page count once."""
    assert record(ledger, make_sighting(), make_sighting()) == (Seen.COUNTED, Seen.KNOWN)
    assert total(ledger, families.RUNS, "completed", "resolved") == 1


def test_a_run_in_flight_is_counted_when_it_ends(ledger: Ledger) -> None:
    """Nothing is counted before the end, and then everything."""
    running = make_run(status="running", completed_ns=None, disposition=None)
    assert record(ledger, make_sighting(running)) == (Seen.IN_FLIGHT,)
    assert total(ledger, families.RUNS, "running", "none") == 0
    assert [run.id for run in ledger.transact([lambda one: one.runs.in_flight(1)])[0]] == ["ar1"]
    assert record(ledger, make_sighting()) == (Seen.COUNTED,)
    assert ledger.transact([lambda one: one.runs.in_flight(1)])[0] == []


def test_a_run_below_the_floor_is_not_counted(ledger: Ledger) -> None:
    """Runs from before the look-back are none of ours."""
    old = make_sighting(make_run(created_ns=5))
    assert record(ledger, old, floor_ns=6) == (Seen.BELOW_FLOOR,)
    assert record(ledger, old, floor_ns=5) == (Seen.COUNTED,)


def test_money_is_summed_exactly(ledger: Ledger) -> None:
    """A million-million dollars and a thousand-millionth add up to the last digit."""
    costs = [Decimal("0.1"), Decimal("0.2"), Decimal("1E-9"), Decimal("999999.999999999999")]
    record(
        ledger,
        *(make_sighting(make_run(f"ar{i}", cost_usd=cost)) for i, cost in enumerate(costs)),
    )
    assert total(ledger, families.COST_USD) == Decimal("1000000.300000000999")
    record(ledger, make_sighting(make_run("free", cost_usd=None)))
    assert total(ledger, families.UNPRICED) == 1


def test_totals_survive_a_restart(tmp_path: Path) -> None:
    """What is read from the file equals what was held in memory."""
    first = open_ledger(tmp_path / "ledger.db")
    first.transact([_add_agent])
    record(first, make_sighting(), make_sighting(make_run("ar2", cost_usd=Decimal("1E-12"))))
    before = dict(first.totals.items())
    first.close()
    second = open_ledger(tmp_path / "ledger.db")
    assert dict(second.totals.items()) == before
    second.close()


def test_a_transaction_that_fails_leaves_no_trace_of_itself(ledger: Ledger) -> None:
    """Neither rows nor totals nor the outbox remember a transaction that raised."""

    def fails(one: Ledger) -> None:
        one.runs.record_page(1, [make_sighting()], floor_ns=0, now_ns=START_NS)
        one.runs.record_detail(1, make_sighting(), trace=make_trace(), now_ns=START_NS)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.transact([fails])
    assert dict(ledger.totals.items()) == {}
    assert ledger.outbox_state.pending == 0
    assert record(ledger, make_sighting()) == (Seen.COUNTED,)


def test_a_quarantined_run_counts_in_quarantine_once_and_may_be_read_later(ledger: Ledger) -> None:
    """An unreadable run is set aside once, and counted if it is ever understood."""
    bad = Unreadable("ar1", "cost", "negative")
    for _ in range(2):
        ledger.transact(
            [lambda one: one.runs.record_page(1, [], unreadable=[bad], floor_ns=0, now_ns=START_NS)]
        )
    assert total(ledger, families.QUARANTINED, "cost", agent_no=0) == 1
    assert record(ledger, make_sighting()) == (Seen.COUNTED,)


def test_coverage_shares_the_transaction_of_its_page(ledger: Ledger) -> None:
    """A frontier and a gap are stored with the runs that they vouch for."""
    gap = GapRecord(None, GapPurpose.FRESH, 10, 20, "cursor")

    def page(one: Ledger) -> int | None:
        return one.runs.record_page(
            1,
            [make_sighting()],
            coverage=Coverage(frontier_ns=30, open_gap=gap),
            floor_ns=0,
            now_ns=START_NS,
        ).gap_no

    number = ledger.transact([page])[0]
    stored = ledger.transact([lambda one: one.agents.gaps(1)])[0]
    assert stored == [GapRecord(number, GapPurpose.FRESH, 10, 20, "cursor")]
    agent = Agent("ag1", "ws1", "Renamed")
    record_ = ledger.transact(
        [lambda one: one.agents.put_agent(agent, workspace_no=1, floor_ns=99)]
    )[0]
    assert (record_.frontier_ns, record_.floor_ns, record_.name) == (30, 0, "Renamed")


def test_details_are_awaited_by_urgency_then_oldest_first(ledger: Ledger) -> None:
    """Failed runs first, then fresh ones by age, then the backlog."""
    record(
        ledger,
        make_sighting(make_run("new", created_ns=30)),
        make_sighting(make_run("old", created_ns=10)),
        make_sighting(make_run("back", created_ns=1), urgency=Urgency.BACKLOG),
        make_sighting(make_run("failed", created_ns=40), urgency=Urgency.MUST),
        make_sighting(make_run("sampled", created_ns=2), traced=False),
    )
    awaited = ledger.transact([lambda one: one.runs.awaiting(1, most=10)])[0]
    assert [run.id for run in awaited] == ["failed", "old", "new", "back"]
    counts = ledger.transact([lambda one: one.runs.awaiting_counts(1)])[0]
    assert counts == {Urgency.MUST: 1, Urgency.FRESH: 2, Urgency.BACKLOG: 1}


def test_a_trace_goes_from_outbox_to_delivered(ledger: Ledger) -> None:
    """Written, due, delivered: state, totals and counts agree at every step."""
    record(ledger, make_sighting())
    trace = make_trace()
    ledger.transact(
        [lambda one: one.runs.record_detail(1, make_sighting(), trace=trace, now_ns=START_NS)]
    )
    assert ledger.outbox_state.pending == 1
    assert ledger.outbox_state.oldest_ns == START_NS
    assert total(ledger, families.TOOL_CALLS, "get_reservation") == 1
    due = ledger.transact(
        [lambda one: one.traces.due(now_ns=START_NS, max_traces=9, max_bytes=9999)]
    )[0]
    assert [one.payload for one in due] == [trace.payload]
    for _ in range(2):
        ledger.transact(
            [
                lambda one: one.traces.settle(
                    [Settlement(due[0].no, TraceState.DELIVERED)], now_ns=START_NS
                )
            ]
        )
    assert ledger.outbox_state.pending == 0
    assert ledger.outbox_state.stored_bytes == 0
    assert total(ledger, families.TRACES_DELIVERED, agent_no=0) == 1
    assert ledger.transact([lambda one: one.runs.state_of(1, "ar1")]) == [RunState.DELIVERED]


def test_a_detail_is_taken_once(ledger: Ledger) -> None:
    """A second answer for a fetched run changes neither outbox nor totals."""
    for _ in range(2):
        ledger.transact(
            [lambda one: one.runs.record_detail(1, make_sighting(), trace=make_trace(), now_ns=1)]
        )
    assert ledger.outbox_state.pending == 1
    assert total(ledger, families.RUNS, "completed", "resolved") == 1
    assert total(ledger, families.TOOL_CALLS, "get_reservation") == 1


def test_a_parked_trace_is_due_when_its_time_has_come(ledger: Ledger) -> None:
    """Parked traces are counted, wait, and can be woken early."""
    ledger.transact(
        [lambda one: one.runs.record_detail(1, make_sighting(), trace=make_trace(), now_ns=1)]
    )

    def due_at(now_ns: int) -> int:
        return len(
            ledger.transact(
                [lambda one: one.traces.due(now_ns=now_ns, max_traces=9, max_bytes=9999)]
            )[0]
        )

    park = Settlement(1, TraceState.PARKED, until_ns=100)
    ledger.transact([lambda one: one.traces.settle([park], now_ns=50)])
    assert (ledger.outbox_state.pending, ledger.outbox_state.parked) == (1, 1)
    assert (due_at(99), due_at(100)) == (0, 1)
    assert ledger.transact([lambda one: one.traces.unpark()]) == [1]
    assert (ledger.outbox_state.pending, ledger.outbox_state.parked) == (1, 0)
    assert due_at(0) == 1


def test_a_batch_holds_at_least_one_trace_and_at_most_the_bytes(ledger: Ledger) -> None:
    """The limit counts encoded bytes; a trace over it goes alone."""
    for name in ("a", "b", "c"):
        sighting = make_sighting(make_run(name))
        trace = make_trace(payload=name.encode() * 1000)
        ledger.transact(
            [lambda one, s=sighting, t=trace: one.runs.record_detail(1, s, trace=t, now_ns=1)]  # type: ignore[misc]
        )
    for max_bytes, expected in ((10, 1), (1999, 1), (2000, 2), (3000, 3)):
        due = ledger.transact(
            [lambda one, m=max_bytes: one.traces.due(now_ns=1, max_traces=9, max_bytes=m)]  # type: ignore[misc]
        )[0]
        assert len(due) == expected


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """One exporter a file."""
    first = open_ledger(tmp_path / "ledger.db")
    with pytest.raises(LedgerLocked, match="Another process holds the ledger"):
        open_ledger(tmp_path / "ledger.db")
    first.close()
    open_ledger(tmp_path / "ledger.db").close()


def test_another_deployments_ledger_is_refused(tmp_path: Path) -> None:
    """A ledger remembers its base URL."""
    open_ledger(tmp_path / "ledger.db").close()
    with pytest.raises(LedgerRefused, match=r"belongs to https://api\.conduit\.ai"):
        open_ledger(tmp_path / "ledger.db", base_url="https://other")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """An old program never touches what a newer one has written."""
    path = tmp_path / "ledger.db"
    open_ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(LedgerRefused, match="newer conduit-exporter"):
        open_ledger(path)


@pytest.mark.parametrize("content", [b"hello world, this is no database" * 9, b"\x00" * 5000])
def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path, content: bytes) -> None:
    """Never silently started empty over somebody's file."""
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(LedgerRefused, match="not a SQLite database"):
        open_ledger(path)
    assert path.read_bytes() == content


def test_a_foreign_database_is_refused_untouched(tmp_path: Path) -> None:
    """Another program's database stays as it is."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LedgerRefused, match="another program"):
        open_ledger(path)
    assert path.read_bytes() == before


def test_a_truncated_ledger_is_refused(tmp_path: Path) -> None:
    """A file that lost its tail is named as such and kept."""
    path = tmp_path / "ledger.db"
    open_ledger(path).close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LedgerRefused, match="cut short"):
        open_ledger(path)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    """Damage inside a page is found at start, not weeks later."""
    path = tmp_path / "ledger.db"
    ledger = open_ledger(path)
    ledger.transact([_add_agent])
    record(ledger, *(make_sighting(make_run(f"ar{i:030d}")) for i in range(500)))
    ledger.close()
    damaged = bytearray(path.read_bytes())
    for place in range(4096 * 3, 4096 * 3 + 64):
        damaged[place] ^= 0xFF
    path.write_bytes(bytes(damaged))
    with pytest.raises(LedgerRefused, match="damaged"):
        open_ledger(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A volume that is not mounted is a clear error."""
    with pytest.raises(LedgerUnavailable, match="cannot be opened"):
        open_ledger(tmp_path / "nowhere" / "ledger.db")


def test_compression_gives_the_same_bytes_back() -> None:
    """What is stored comes back byte for byte, and a flipped bit does not."""
    payload = bytes(range(256)) * 9
    stored = compress(payload)
    assert decompress(stored) == payload
    with pytest.raises(LedgerRefused):
        decompress(stored[:-1] + bytes((stored[-1] ^ 1,)))
    with pytest.raises(LedgerRefused):
        decompress(stored[:-3])


def test_retention_lets_go_of_settled_traces_alone(ledger: Ledger) -> None:
    """Pending traces stay however old they are."""
    for name in ("a", "b"):
        sighting = make_sighting(make_run(name))
        ledger.transact(
            [lambda one, s=sighting: one.runs.record_detail(1, s, trace=make_trace(), now_ns=1)]  # type: ignore[misc]
        )
    ledger.transact(
        [lambda one: one.traces.settle([Settlement(1, TraceState.DELIVERED)], now_ns=50)]
    )

    def prune(before_ns: int) -> None:
        ledger.transact(
            [lambda one: one.traces.prune(settled_before_ns=before_ns, after_no=0, window=100)]
        )

    prune(50)
    assert ledger.transact([lambda one: one.traces.find(1, "a")])[0] is not None
    prune(51)
    assert ledger.transact([lambda one: one.traces.find(1, "a")]) == [None]
    assert ledger.transact([lambda one: one.traces.find(1, "b")])[0] is not None


def test_a_gap_that_is_recorded_twice_is_one(ledger: Ledger) -> None:
    """The repeat of a page whose commit had an unknown outcome opens no second gap."""
    opened = Coverage(frontier_ns=20, open_gap=GapRecord(None, GapPurpose.FRESH, 10, 20, "c"))

    first, again = (ledger.transact([lambda one: one.agents.cover(1, opened)])[0] for _ in "12")

    assert first == again
    assert len(ledger.transact([lambda one: one.agents.gaps(1)])[0]) == 1


def test_a_backfill_ends_where_counting_begins(ledger: Ledger) -> None:
    """Above the floor runs are counted; an agent that was never scanned counts from its end on."""
    scanned = ledger.transact([_scanned_agent])[0]
    never = ledger.transact([_never_scanned_agent])[0]

    def gaps_of(agent_no: int) -> list[tuple[int, int]]:
        found = ledger.transact([lambda one: one.agents.gaps(agent_no)])[0]
        return [(gap.lower_ns, gap.upper_ns) for gap in found]

    assert scanned.floor_ns == 100
    assert gaps_of(scanned.no) == [(10, 100)]
    assert never.floor_ns == 150
    assert gaps_of(never.no) == [(10, 150)]


def _scanned_agent(ledger: Ledger) -> AgentRecord:
    added = _watched(ledger, "ag2")
    ledger.agents.cover(added.no, Coverage(frontier_ns=200))
    return ledger.agents.open_backfill(_watched(ledger, "ag2"), since_ns=10, until_ns=150)


def _never_scanned_agent(ledger: Ledger) -> AgentRecord:
    return ledger.agents.open_backfill(_watched(ledger, "ag3"), since_ns=10, until_ns=150)


def _watched(ledger: Ledger, agent_id: str) -> AgentRecord:
    return ledger.agents.put_agent(Agent(agent_id, "ws1", "A"), workspace_no=1, floor_ns=100)


def test_an_unfinished_backfill_goes_on_and_reaches_as_far_as_the_next(ledger: Ledger) -> None:
    """The cursor is kept, unless the new one asks for more at the upper end."""

    def asked(since_ns: int, until_ns: int | None) -> list[tuple[int, int, str | None]]:
        def work(one: Ledger) -> list[GapRecord]:
            one.agents.open_backfill(_watched(one, "ag2"), since_ns=since_ns, until_ns=until_ns)
            return one.agents.gaps(2)

        found = ledger.transact([work])[0]
        return [(gap.lower_ns, gap.upper_ns, gap.cursor) for gap in found]

    assert asked(50, None) == [(50, 100, None)]
    read = Coverage(open_gap=GapRecord(1, GapPurpose.BACKFILL, 50, 70, "c"))
    ledger.transact([lambda one: one.agents.cover(2, read)])
    assert asked(50, None) == [(50, 70, "c")]
    assert asked(30, 60) == [(30, 70, "c")]
    assert asked(50, 90) == [(30, 90, None)]


def test_a_backfill_does_not_hold_retention_back(ledger: Ledger) -> None:
    """Its gap lies below the floor, where nothing is counted."""
    ledger.transact([_scanned_agent])

    assert ledger.transact([lambda one: one.agents.raise_floor(2, 180)])[0] == 180
