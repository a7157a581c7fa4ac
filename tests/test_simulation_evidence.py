"""What Conduit says of one thing is never taken for evidence against another."""

from dataclasses import replace

from exporter.simulator.faults import Truthful
from exporter.simulator.messages import SimRequest, SimResponse
from tests.simulation.promises import assert_exact, assert_no_detail_twice, settle
from tests.simulation.scenarios import HOUR_S, MINUTE_S, agent_id, agents
from tests.simulation.world import World


def test_a_backlog_of_details_outlives_a_change_of_sampling() -> None:
    """What was wanted before the restart is traced after it, and asked for once."""
    world = World(scenario=agents(1, per_hour=60, history_s=HOUR_S))
    world.conduit.data.stop_arrivals()
    world.run_for(20)
    world.environ["EXPORTER_TRACE_SAMPLE_RATIO"] = "0.0"
    world.run(lambda _: settle(world, within_s=3 * MINUTE_S))
    assert_no_detail_twice(world)


def _shown_as_running(request: SimRequest, truthful: Truthful) -> SimResponse:
    answer = truthful(request)
    body = answer.body
    for status in (b"completed", b"failed"):
        body = body.replace(b'"status":"%s"' % status, b'"status":"running"')
    return replace(answer, run=None, body=body)


def test_runs_that_only_their_lists_show_as_ended_hold_up_no_other() -> None:
    """Forty of them are counted, asked for seldom, and all other details come."""
    world = World(scenario=agents(1, per_hour=60, history_s=2 * HOUR_S))
    world.conduit.data.stop_arrivals()
    odd = set(world.conduit.data.run_ids(agent_id())[-40:])
    world.conduit.faults.place(_shown_as_running, when=lambda request: request.run_id in odd)

    async def script(_: World) -> None:
        await settle(world, untraced=odd)
        await world.sleep(2 * HOUR_S)

    world.run(script)
    assert_exact(world, untraced=odd)
    assert max(world.conduit.asked.runs_asked[one] for one in odd) <= 8
    assert_no_detail_twice(world)
