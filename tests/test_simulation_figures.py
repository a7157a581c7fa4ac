"""The figures that the request budget is held to; simulated time, so they are exact."""

import pytest

from tests.simulation import measures

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("once", [False, True], ids=["daemon", "once"])
def test_a_history_costs_two_hundredths_more_requests_than_runs(*, once: bool) -> None:
    """1,200 runs: their details, a page for each hundred, and what is asked meanwhile."""
    assert measures.requests_a_traced_run(runs=1_200, once=once) <= 1.02


def test_arriving_runs_cost_six_hundredths_more_requests_than_runs() -> None:
    """A hundred a minute: nearly all of the budget goes to details."""
    assert measures.requests_an_arriving_run(runs_per_minute=100, minutes=15) <= 1.06


@pytest.mark.parametrize(
    ("idle", "traces"), [(0, 115), (10, 106), (100, 75)], ids=["alone", "10 idle", "100 idle"]
)
def test_a_backlog_is_traced_at_nearly_the_pace_of_the_budget(idle: int, traces: float) -> None:
    """Traces a minute from a budget of 120, whoever else is polled."""
    assert measures.traces_a_minute(idle=idle, minutes=6) >= traces


@pytest.mark.parametrize(
    ("idle", "seconds"), [(0, 17), (90, 25)], ids=["10 agents", "10 busy of 100"]
)
def test_a_completed_run_is_counted_soon(idle: int, seconds: float) -> None:
    """The 95th percentile with polls of 15 s and a budget of 90."""
    delays = measures.count_delays_s(busy=10, idle=idle, minutes=8)
    assert len(delays) > 50
    assert measures.percentile(delays, 0.95) <= seconds


def test_a_hundred_agents_are_all_looked_at_within_two_minutes() -> None:
    """Head scans come before the depth of the look-back."""
    assert measures.first_head_scans_s(count=100) <= 120


def test_the_look_back_of_a_hundred_agents_is_counted_within_ten_minutes() -> None:
    """15,000 runs for metrics alone: two pages an agent."""
    assert measures.lookback_s(count=100, runs=150) <= 600


def test_idle_agents_take_a_third_of_the_budget() -> None:
    """However they are many: 110 of them beside a busy one."""
    assert measures.idle_share(idle=110, minutes=30) <= 1 / 3
