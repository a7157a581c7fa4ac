"""What /metrics and readiness say while the exporter works, against the truth."""

import math
from decimal import Decimal

from exporter.simulator.hotel import DEMO_TOKEN, hospitality
from tests.simulation.promises import counted, settle, total
from tests.simulation.scenarios import HOUR_S, MINUTE_S, agents
from tests.simulation.world import World, simulated


@simulated(
    lambda start_ns: hospitality(seed=1, start_ns=start_ns, history_s=900, rate=0.3),
    token=DEMO_TOKEN,
)
async def test_the_counters_are_the_sums_over_the_api(world: World) -> None:
    """The demo's hotel group: runs, tokens, cost, unpriced, durations and tools, to the digit."""
    await world.sleep(HOUR_S / 2)
    await settle(world)
    assert total(world, "conduit_exporter_traces_delivered_total") == len(world.backend.traced)
    truth = world.conduit.data.truth(with_tools=True)
    cost = total(world, "conduit_run_cost_usd_total")
    assert math.isclose(cost, sum(truth.cost_usd.values(), Decimal()), rel_tol=1e-12)
    for name, tools in (
        ("conduit_tool_calls_total", truth.tool_calls),
        ("conduit_tool_call_errors_total", truth.tool_errors),
    ):
        assert counted(world, name, "agent_id", "tool") == {
            key: value for key, value in tools.items() if value
        }
    measured = total(world, "conduit_run_duration_seconds_count")
    assert measured == len([run for run in world.conduit.data.ended_runs() if run.duration_ns])


@simulated(
    agents(1, per_hour=100, history_s=10 * HOUR_S), settings={"CONDUIT_REQUESTS_PER_MINUTE": "6"}
)
async def test_series_of_an_agent_appear_once_its_first_scan_is_complete(world: World) -> None:
    """A first start does not look like a spike; readiness waits for it."""
    assert not world.ready()
    await world.sleep(40)
    assert not any(name == "conduit_runs_total" for name, _ in world.samples())
    assert not world.ready()
    await world.sleep(10 * MINUTE_S)
    assert world.ready()
    assert total(world, "conduit_runs_total") > 900
    # Known statuses and dispositions exist from the start, at zero.
    said = [dict(labels) for name, labels in world.samples() if name == "conduit_runs_total"]
    assert {("failed", "no_op"), ("completed", "proactive")} <= {
        (labels["status"], labels["disposition"]) for labels in said
    }


@simulated(agents(1, per_hour=240, duration_s=(60.0, 120.0, 300.0)))
async def test_live_gauges_tell_what_is_going_on(world: World) -> None:
    """What is in flight and since when, the last poll, the last run, the budget."""
    await world.sleep(HOUR_S / 2)
    now_s = world.clock.now_ns() / 1e9
    assert counted(world, "conduit_runs_in_flight", "status")["running",] > 0
    oldest = total(world, "conduit_oldest_in_flight_run_timestamp_seconds")
    assert now_s - 330 < oldest < now_s
    polled = total(world, "conduit_exporter_last_poll_success_timestamp_seconds")
    assert now_s - 65 < polled <= now_s
    assert now_s - 135 < total(world, "conduit_last_run_timestamp_seconds") <= now_s
    assert total(world, "conduit_exporter_api_budget_requests_per_minute") == 90
