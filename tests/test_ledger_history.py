"""The pages' queries: exact, and none of them reads more of a ledger than it shows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter.ledger.history import Outcomes, RunFilter
from exporter.ledger.ledger import Ledger
from tests.factories import make_record, make_run
from tests.fakes import START_NS
from tests.ledger_support import add_agent, do, open_ledger, record

FILTERS: dict[str, dict[str, str]] = {
    "all": {},
    "agent": {"agent_id": "ag1"},
    "failed": {"status": "failed"},
    "escalated": {"disposition": "escalated"},
    "failed of an agent": {"agent_id": "ag1", "status": "failed"},
    "escalated of an agent": {"agent_id": "ag1", "disposition": "escalated"},
    "both": {"agent_id": "ag1", "status": "completed", "disposition": "escalated"},
    "conversation": {"conversation_id": "cv1"},
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db")
    add_agent(opened)
    yield opened
    opened.close()


def plan_of(ledger: Ledger, work: str, **given: object) -> list[str]:
    """How SQLite answers what `history` asks: a line a step."""
    asked: list[str] = []
    ledger.history._db.set_trace_callback(asked.append)
    do(ledger, lambda one: getattr(one.history, work)(**given))
    ledger.history._db.set_trace_callback(None)
    (query,) = [one for one in asked if "FROM run" in one]
    return [row[3] for row in ledger.history._db.execute(f"EXPLAIN QUERY PLAN {query}")]


@pytest.mark.parametrize("before", [None, (START_NS, 7)], ids=["first page", "next page"])
@pytest.mark.parametrize("since_ns", [0, START_NS], ids=["any time", "since"])
@pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS)
def test_a_page_of_runs_is_read_from_an_index_in_its_order(
    ledger: Ledger, wanted: dict[str, str], since_ns: int, before: tuple[int, int] | None
) -> None:
    """No filter walks over runs that the page does not show, or sorts them."""
    asked = RunFilter(**wanted, since_ns=since_ns, before=before)
    plan = plan_of(ledger, "runs", wanted=asked, max_runs=50)
    assert any(step.startswith("SEARCH run USING INDEX run_") for step in plan)
    assert not [step for step in plan if "SCAN run" in step or "TEMP B-TREE" in step]


def test_what_ended_today_is_counted_within_today_alone(ledger: Ledger) -> None:
    """Each of the three counts has its index, and reads no other day."""
    plan = plan_of(ledger, "outcomes", since_ns=1, until_ns=2)
    steps = [step for step in plan if "run" in step]
    assert len(steps) == 3
    for step in steps:
        assert step.startswith("SEARCH run USING INDEX run_agent_")
        assert step.endswith("ended_ns>? AND ended_ns<?)")


def test_outcomes_are_those_of_the_stretch_of_time_alone(ledger: Ledger) -> None:
    """From its first nanosecond on, without its end; runs in flight are none."""
    ends = {"before": 9, "first": 10, "failed": 15, "last": 19, "after": 20}
    over: dict[str, dict[str, Any]] = {
        "failed": {"status": "failed", "disposition": None},
        "first": {"disposition": "escalated"},
        "last": {"disposition": "escalation_and_answer"},
    }
    runs = [
        make_run(name, created_ns=1, completed_ns=end, **over.get(name, {}))
        for name, end in ends.items()
    ]
    running = make_run("running", created_ns=12, completed_ns=None, status="running")
    record(ledger, *(make_record(run) for run in (*runs, running)))
    found = do(ledger, lambda one: one.history.outcomes(since_ns=10, until_ns=20))
    assert found == {1: Outcomes(runs=3, failed=1, escalated=2)}
