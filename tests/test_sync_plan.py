"""What the plan asks for next and what a page adds, where a simulation would take days."""

from typing import Any

import pytest

from exporter.conduit.models import Page, Unreadable
from exporter.ledger.records import (
    AgentProgress,
    AgentRecord,
    AwaitedRun,
    Gap,
    GapPurpose,
    InFlightRun,
    Priority,
)
from exporter.sync.budget import RequestBudget
from exporter.sync.coverage import cover_head
from exporter.sync.health import Retry
from exporter.sync.plan import Present, plan
from exporter.sync.requests import Purpose, ReadPage, Request, Wait
from exporter.sync.state import AgentState, WorkspaceState
from tests.factories import make_run
from tests.fakes import START_NS

NOW = Present(s=10_000.0, ns=START_NS, poll_interval_s=15, once=False, details=True)


def agent(number: int, **progress: Any) -> AgentState:
    """An agent whose list was read a moment ago."""
    record = AgentRecord(
        no=number,
        id=f"ag{number}",
        workspace_id="ws1",
        name="",
        listed=True,
        floor_ns=0,
        frontier_ns=START_NS,
        reread_ns=None,
        full_reread_ns=None,
        counted_from_ns=0,
    )
    state = AgentState(progress=AgentProgress(agent=record, **progress))
    state.head_s, state.head_interval_s, state.reread_due_s = NOW.s, 15.0, NOW.s + 3600
    return state


def workspace(*agents: AgentState) -> WorkspaceState:
    """A workspace whose list of agents was read a moment ago."""
    return WorkspaceState(
        id="ws1",
        name="",
        budget=RequestBudget(requests_per_minute=90),
        agents={one.id: one for one in agents},
        agents_due_s=NOW.s + 900,
    )


def asked(state: WorkspaceState, count: int) -> list[Request]:
    """The next requests, none of which is answered."""
    requests = []
    for _ in range(count):
        decision = plan(state, NOW)
        assert not isinstance(decision, Wait)
        held = state.begin(decision, NOW.s)
        state.end(decision, held)
        requests.append(decision)
    return requests


def test_runs_off_the_head_are_asked_for_agents_in_turn() -> None:
    """An agent whose sweep has no end keeps neither another's sweep nor a lost run waiting."""
    in_flight = tuple(InFlightRun(f"ar{number}", 1, "running") for number in range(9))
    sweeping = [agent(number, in_flight=in_flight) for number in range(2)]
    for one in sweeping:
        one.head_oldest_ns = 2
    losing = agent(2)
    losing.lost["ar1"] = 1
    requests = asked(workspace(*sweeping, losing), 6)
    assert {one.purpose for one in requests} == {Purpose.IN_FLIGHT}
    assert {getattr(one, "agent", None) for one in requests} == {"ag0", "ag1", "ag2"}


def test_second_readings_begin_with_the_one_that_waits_longest() -> None:
    """However many agents there are, the last one has its turn."""
    agents = [agent(number) for number in range(3)]
    for one, due_s in zip(agents, (-10.0, -50.0, -30.0), strict=True):
        one.reread_due_s = NOW.s + due_s
    (first,) = asked(workspace(*agents), 1)
    assert (first.purpose, getattr(first, "agent", None)) == (Purpose.SECOND_READING, "ag1")


def test_a_look_back_keeps_its_turn_beside_a_gap() -> None:
    """Cursors may not live long: what is read of another agent meanwhile does not end a turn."""
    fresh = agent(1, gaps=(Gap(1, GapPurpose.FRESH, 0, 9, "c"),))
    old = [
        agent(number, gaps=(Gap(number, GapPurpose.LOOKBACK, 0, 9, "c"),)) for number in (2, 3, 4)
    ]
    requests = asked(workspace(fresh, *old), 20)
    read = {one.agent for one in requests if isinstance(one, ReadPage) and one.target != 1}
    assert len(requests) > len(read) == 1


def test_a_fresh_detail_that_failed_once_does_not_wait_for_the_whole_look_back() -> None:
    """It goes behind the fresh ones that were never asked for, and before the look-back."""
    backlog = tuple(AwaitedRun(f"old{number}", Priority.BACKLOG, 1) for number in range(32))
    failed = AwaitedRun("failed", Priority.FRESH, 5, attempts=1)
    one = agent(1, awaiting=backlog, retrying=(failed,))
    one.retries["failed"] = Retry(1, NOW.s)
    other = agent(2, awaiting=(AwaitedRun("new", Priority.FRESH, 9),))
    state = workspace(one, other)
    runs = []
    for _ in range(3):
        (request,) = asked(state, 1)
        runs.append(getattr(request, "target", ""))
        state.agents[getattr(request, "agent", "")].under_way.add(runs[-1])
    assert runs == ["new", "failed", "old0"]


ROWS = {
    "unreadable": ((), (Unreadable(None, "created_at", ""),)),
    "ahead of Conduit's present": ((make_run(created_ns=START_NS),), ()),
}


@pytest.mark.parametrize(("rows", "unreadable"), ROWS.values(), ids=ROWS)
def test_head_pages_that_cannot_move_the_frontier_open_one_gap(rows: Any, unreadable: Any) -> None:
    """Else each poll adds a stretch to be read, more than the budget reads."""
    frontier_ns, gaps = START_NS - 3600 * 10**9, list[Gap]()
    for number in range(3):
        present_ns = frontier_ns - 3600 * 10**9 + number
        page = Page(rows, unreadable, f"cursor {number}", has_more=True)
        coverage = cover_head(
            page,
            floor_ns=0,
            frontier_ns=frontier_ns,
            known=(),
            present_ns=present_ns,
            gaps=gaps,
        )
        assert coverage.frontier_ns is None
        gaps += [] if coverage.open_gap is None else [coverage.open_gap]
    assert len(gaps) == 1
