"""Each decision of the plan, and why."""

import random
from typing import Any

import pytest

from exporter.ledger.records import AwaitedRun, GapRecord
from exporter.ledger.schema import GapPurpose, Urgency
from exporter.sync.budget import RequestBudget, backoff_s
from exporter.sync.plan import (
    HEAD_SHARE,
    RECONCILE_SHARE_IN_BACKLOG,
    Decision,
    ReadAgain,
    ReadAgents,
    ReadGap,
    ReadHead,
    ReadRun,
    ReadStatus,
    RefillWindow,
    Wait,
    note_spent,
    plan,
)
from exporter.sync.state import AgentState, InFlight, Retry, Slot, WorkspaceState

NOW_S = 1000.0


def agent(agent_id: str = "ag1", **over: Any) -> AgentState:
    state = AgentState(no=1, id=agent_id, name=agent_id, floor_ns=0, frontier_ns=100)
    state.head_due_s = NOW_S + 10
    state.window_stale = False
    state.reconcile_due_s = NOW_S + 3600
    for name, value in over.items():
        setattr(state, name, value)
    return state


def workspace(*agents: AgentState, **over: Any) -> WorkspaceState:
    state = WorkspaceState(no=1, id="ws1", name="W", budget=RequestBudget(requests_per_minute=90))
    state.agents = {one.id: one for one in agents}
    state.agents_due_s = NOW_S + 600
    for name, value in over.items():
        setattr(state, name, value)
    return state


def waiting(*urgencies: Urgency) -> dict[str, Any]:
    window = [AwaitedRun(f"ar{i}", urgency, i) for i, urgency in enumerate(urgencies)]
    return {
        "window": window,
        "awaiting": {urgency: urgencies.count(urgency) for urgency in urgencies},
    }


def gap(purpose: GapPurpose) -> list[GapRecord]:
    return [GapRecord(1, purpose, 10, 20, "c")]


def decide(state: WorkspaceState, *, details: bool = True) -> Decision:
    return plan(state, NOW_S, details=details)


def test_agents_are_listed_first() -> None:
    """Without them nothing else can be asked."""
    assert isinstance(decide(workspace(agents_due_s=NOW_S)), ReadAgents)


def test_a_due_head_scan_goes_before_everything_else() -> None:
    """Head scans feed all metrics."""
    busy = agent(head_due_s=NOW_S, gaps=gap(GapPurpose.FRESH), **waiting(Urgency.MUST))
    assert isinstance(decide(workspace(busy)), ReadHead)


def test_the_most_overdue_head_is_read_first() -> None:
    """Fair among agents: who has waited longest."""
    first, second = agent("ag1", head_due_s=NOW_S - 1), agent("ag2", head_due_s=NOW_S - 2)
    decision = decide(workspace(first, second))
    assert isinstance(decision, ReadHead)
    assert decision.agent == "ag2"


def test_heads_leave_a_share_to_waiting_details() -> None:
    """With more agents than the pace allows, details still get their part."""
    agents = [agent(f"ag{i}", head_due_s=NOW_S - 1, **waiting(Urgency.FRESH)) for i in range(9)]
    state = workspace(*agents)
    kinds = []
    for _ in range(200):
        decision = decide(state)
        assert isinstance(decision, (ReadHead, ReadRun))
        note_spent(state, decision, NOW_S)
        kinds.append(isinstance(decision, ReadHead))
    assert abs(sum(kinds) / len(kinds) - HEAD_SHARE) < 0.02


def test_a_fresh_gap_goes_before_details() -> None:
    """A hundred runs counted for one request."""
    state = workspace(agent(gaps=gap(GapPurpose.FRESH), **waiting(Urgency.MUST)))
    assert isinstance(decide(state), ReadGap)


def test_the_look_back_takes_turns_with_fresh_details() -> None:
    """Neither starves the other."""
    state = workspace(agent(gaps=gap(GapPurpose.LOOKBACK), **waiting(Urgency.FRESH)))
    kinds = []
    for _ in range(4):
        decision = decide(state)
        assert isinstance(decision, (ReadGap, ReadRun))
        note_spent(state, decision, NOW_S)
        kinds.append(type(decision).__name__)
    assert kinds == ["ReadRun", "ReadGap", "ReadRun", "ReadGap"]


def test_the_look_back_goes_before_its_own_details() -> None:
    """Counting everything comes before tracing the old."""
    state = workspace(agent(gaps=gap(GapPurpose.LOOKBACK), **waiting(Urgency.BACKLOG)))
    assert isinstance(decide(state), ReadGap)


def test_details_go_by_urgency_over_all_agents() -> None:
    """A failed run of one agent goes before a fresh one of another."""
    fresh, failed = agent("ag1", **waiting(Urgency.FRESH)), agent("ag2", **waiting(Urgency.MUST))
    decision = decide(workspace(fresh, failed))
    assert isinstance(decision, ReadRun)
    assert decision.agent == "ag2"


def test_agents_of_equal_urgency_take_turns() -> None:
    """The one served longest ago comes next, however long another's queue is."""
    first = agent("ag1", served_s=NOW_S - 1, **waiting(*[Urgency.FRESH] * 50))
    second = agent("ag2", served_s=NOW_S - 2, **waiting(Urgency.FRESH))
    decision = decide(workspace(first, second))
    assert isinstance(decision, ReadRun)
    assert decision.agent == "ag2"


def test_a_run_under_way_is_not_asked_for_again() -> None:
    """A detail is requested once."""
    state = workspace(agent(fetching={"ar0"}, **waiting(Urgency.FRESH, Urgency.FRESH)))
    decision = decide(state)
    assert isinstance(decision, ReadRun)
    assert decision.run_id == "ar1"


def test_a_failed_detail_waits_for_its_retry() -> None:
    """The rest goes on meanwhile, and the wait ends when the retry is due."""
    state = workspace(agent(retries={"ar0": Retry(1, NOW_S + 5)}, **waiting(Urgency.FRESH)))
    assert decide(state) == Wait(NOW_S + 5)


def test_a_full_outbox_stops_details_alone() -> None:
    """Counting goes on: metrics do not depend on the trace backend."""
    state = workspace(agent(gaps=gap(GapPurpose.LOOKBACK), **waiting(Urgency.MUST)))
    assert isinstance(decide(state, details=False), ReadGap)
    state.agents["ag1"].gaps = []
    assert isinstance(decide(state, details=False), Wait)


def test_a_sweep_looks_for_runs_that_fell_off_the_head() -> None:
    """One status page tells of a hundred runs, for the price of one get-run."""
    decision = decide(workspace(off_the_head(running=2)))
    assert isinstance(decision, ReadStatus)
    assert decision.status == "running"


def test_a_single_run_off_the_head_is_asked_for_by_name() -> None:
    """That costs what a page costs, and when it has ended nothing more."""
    decision = decide(workspace(off_the_head(running=1)))
    assert isinstance(decision, ReadRun)
    assert decision.reason == "1 in flight off its head: no dearer than a page"


def test_runs_whose_status_is_not_known_take_two_pages_or_two_get_runs() -> None:
    """After a restart a run may be accepted or running, and each has a list of its own."""
    assert isinstance(decide(workspace(off_the_head(unknown=2))), ReadRun)
    assert isinstance(decide(workspace(off_the_head(unknown=3))), ReadStatus)


def test_a_run_that_was_asked_for_is_looked_for_on_pages_from_then_on() -> None:
    """It was still going, and may be for long: its detail is asked for once more, when it ended."""
    single = off_the_head(running=1, retries={"ar0": Retry(1, NOW_S)})
    assert isinstance(decide(workspace(single)), ReadStatus)
    single.sweep_due_s = NOW_S + 30
    assert isinstance(decide(workspace(single)), Wait)


def test_with_a_full_outbox_a_page_tells_of_a_single_run_too() -> None:
    """Its trace could not be written."""
    assert isinstance(decide(workspace(off_the_head(running=1)), details=False), ReadStatus)


def off_the_head(*, running: int = 0, unknown: int = 0, **over: Any) -> AgentState:
    """An agent with so many runs in flight that head pages do not show."""
    statuses = ["running"] * running + [""] * unknown
    runs = {f"ar{number}": InFlight(5, status, deep=True) for number, status in enumerate(statuses)}
    return agent(in_flight=runs, has_fallen=True, **over)


def test_a_second_reading_takes_a_tenth_of_the_budget_at_most() -> None:
    """Its pages come ten paces apart, whatever waits: a slow reading would cost more of them."""
    state = workspace(agent(reconcile_due_s=NOW_S, **waiting(Urgency.FRESH)))
    decision = decide(state)
    assert isinstance(decision, ReadAgain)
    note_spent(state, decision, NOW_S)
    assert isinstance(decide(state), ReadRun)
    assert state.reconcile_ready_s == pytest.approx(NOW_S + 10 * 60 / 90)


def test_a_second_reading_leaves_a_backlog_nearly_all_of_the_budget() -> None:
    """Its pages come some seventy paces apart: as many runs are read again as are traced."""
    state = workspace(agent(reconcile_due_s=NOW_S, **waiting(Urgency.BACKLOG)))
    decision = decide(state)
    assert isinstance(decision, ReadAgain)
    note_spent(state, decision, NOW_S)
    assert isinstance(decide(state), ReadRun)
    assert state.reconcile_ready_s == pytest.approx(NOW_S + 60 / 90 / RECONCILE_SHARE_IN_BACKLOG)


def test_runs_that_ended_out_of_sight_are_fetched_first() -> None:
    """One get-run counts and traces them."""
    state = workspace(agent(ended={"ar7": 5}, **waiting(Urgency.MUST)))
    decision = decide(state)
    assert isinstance(decision, ReadRun)
    assert decision.run_id == "ar7"


def test_a_resting_agent_does_not_hold_up_the_others() -> None:
    """A failure rests as far as it reaches."""
    resting = agent("ag1", rest_until_s=NOW_S + 60, head_due_s=NOW_S - 5)
    decision = decide(workspace(resting, agent("ag2", head_due_s=NOW_S)))
    assert isinstance(decision, ReadHead)
    assert decision.agent == "ag2"


def test_a_resting_workspace_waits() -> None:
    """After a 401 or an outage nothing is asked until the rest is over."""
    state = workspace(agent(head_due_s=NOW_S), rest_until_s=NOW_S + 7)
    assert decide(state) == Wait(NOW_S + 7)


def test_nothing_due_waits_for_the_next_head() -> None:
    """Time alone makes the next head scan due."""
    assert decide(workspace(agent(), agent("ag2", head_due_s=NOW_S + 3))) == Wait(NOW_S + 3)


def test_a_stale_window_is_refilled_before_it_is_used() -> None:
    """More urgent runs may have come meanwhile."""
    state = workspace(agent(window_stale=True, awaiting={Urgency.FRESH: 3}))
    assert decide(state) == RefillWindow("ag1")


def test_a_head_under_way_is_not_read_twice() -> None:
    """One head scan an agent at a time."""
    state = workspace(agent(head_due_s=NOW_S, busy={Slot.HEAD}))
    assert isinstance(decide(state), Wait)


def test_a_strict_minute_never_holds_more_than_the_budget() -> None:
    """Evenly paced, late wake-ups made up for: no window of sixty seconds exceeds the limit."""
    rng = random.Random(7)
    budget = RequestBudget(requests_per_minute=120)
    now_s, taken = 0.0, []
    for _ in range(2000):
        now_s = max(now_s, budget.ready_at()) + rng.choice([0.0, 0.0, 0.003, 0.09, 0.4])
        budget.take(now_s)
        taken.append(now_s)
    for first, later in zip(taken, taken[120:], strict=False):
        assert later - first > 60.0


def test_a_rest_lasts_as_long_as_was_asked() -> None:
    """Retry-After is honoured; without it a jittered backoff grows."""
    budget, rng = RequestBudget(requests_per_minute=60), random.Random(1)
    assert budget.rest(100.0, 30.0, rng) == 30.0
    assert budget.ready_at() == 130.0
    assert 0.5 <= backoff_s(1, rng) <= 1.0
    assert 30.0 <= backoff_s(50, rng) <= 60.0


def test_a_backfill_waits_for_everything_else() -> None:
    """Its pages and its details come last, however long it has waited."""
    parts = waiting(Urgency.BACKLOG, Urgency.BACKFILL)
    asked = agent(gaps=gap(GapPurpose.BACKFILL), **parts)
    decision = decide(workspace(asked))
    assert isinstance(decision, ReadRun)
    assert decision.urgency is Urgency.BACKLOG


def test_of_a_backfill_the_list_is_read_before_the_details() -> None:
    """A page is a hundred runs: soon it is known how much there is to fetch."""
    asked = agent(gaps=gap(GapPurpose.BACKFILL), **waiting(Urgency.BACKFILL))
    assert isinstance(decide(workspace(asked)), ReadGap)
    asked.gaps = []
    decision = decide(workspace(asked))
    assert isinstance(decision, ReadRun)
    assert decision.urgency is Urgency.BACKFILL


def test_a_head_scan_goes_before_a_backfill_whatever_its_share() -> None:
    """The share of head scans protects details that are wanted now, and a backfill is not."""
    due = agent(head_due_s=NOW_S, **waiting(Urgency.BACKFILL))
    assert isinstance(decide(workspace(due, head_lead=2.0)), ReadHead)
