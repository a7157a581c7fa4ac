"""The commands that look back, and the settings that save requests, on simulated accounts."""

import pytest

from exporter.delivery.outcome import Outcome, Unavailable
from exporter.simulator.conduit import Endpoint
from tests.simulation.promises import (
    assert_exact,
    assert_no_detail_twice,
    settle,
    total,
    truth_of,
)
from tests.simulation.scenarios import HOUR_S, LARGE_TRACES, MINUTE_S, agent_id, agents
from tests.simulation.world import World


def world_of(*, history_s: float = 20 * HOUR_S) -> World:
    """Two agents with a history that is far longer than the look-back, read for some minutes."""
    world = World(
        scenario=agents(2, per_hour=30, history_s=history_s),
        settings={"CONDUIT_REQUESTS_PER_MINUTE": "118", "EXPORTER_LOOKBACK": "1h"},
    )
    world.run(lambda _: settle(world))
    return world


def since(world: World, seconds: float) -> set[str]:
    """The runs that were created since then and have ended."""
    from_ns = world.clock.true_ns() - round(seconds * 1e9)
    return world.conduit.data.truth(created_from_ns=from_ns).run_ids


def test_a_backfill_that_is_killed_goes_on_where_it_was() -> None:
    """The same call asks for no detail twice but what was under way; none of it is counted."""
    world = world_of()
    counted, wanted = total(world, "conduit_runs_total"), since(world, 12 * HOUR_S)

    for _ in range(3):
        with pytest.raises(TimeoutError):
            world.run_backfill(since_s=12 * HOUR_S, within_s=MINUTE_S)
    assert world.run_backfill(since_s=12 * HOUR_S) == 0

    assert world.backend.traced == wanted
    assert total(world, "conduit_runs_total") == counted
    assert total(world, "conduit_exporter_traces_delivered_total") == len(wanted)
    assert len(world.conduit.asked.fetched_twice) <= 3 * 24


def test_a_backfill_ends_where_it_is_told() -> None:
    """A range of its own, older than what the daemon reads, each detail once."""
    world = world_of()
    before = set(world.backend.traced)
    wanted = since(world, 15 * HOUR_S) - since(world, 10 * HOUR_S)

    assert world.run_backfill(since_s=15 * HOUR_S, until_s=10 * HOUR_S) == 0

    assert world.backend.traced - before == wanted
    assert_no_detail_twice(world)


def test_reconcile_finds_and_repairs_what_the_ledger_lacks() -> None:
    """A dry run only says so; the repair counts and traces; a second one finds nothing."""
    world = world_of(history_s=HOUR_S / 2)
    data = world.conduit.data
    hidden = {f"ar77late{number:024d}" for number in range(3)}
    for number, run_id in enumerate(sorted(hidden)):
        like = data.run(data.run_ids(agent_id(number % 2))[5])
        data.add_run(like._replace(id=run_id, trace_id=None, created_ns=like.created_ns + 1))
    counted = total(world, "conduit_runs_total")

    code, lacking = world.run_reconcile(since_s=HOUR_S, repair=False)
    assert (code, lacking) == (0, hidden)
    assert total(world, "conduit_runs_total") == counted

    assert world.run_reconcile(since_s=HOUR_S, repair=True) == (0, hidden)
    assert_exact(world)

    assert world.run_reconcile(since_s=HOUR_S, repair=True) == (0, set())


def test_replay_brings_back_what_a_backend_lost_without_a_request() -> None:
    """Every trace, its bytes unchanged, and no counter moves."""
    world = world_of(history_s=HOUR_S / 2)
    sent, asked = dict(world.backend.spans), world.conduit.asked.total
    counted = total(world, "conduit_runs_total")
    world.backend.spans.clear()

    assert world.run_replay(since_s=HOUR_S) == len(world.backend.traced)

    assert world.backend.spans == sent
    assert world.conduit.asked.total == asked
    assert world.run_replay(since_s=0) == 0
    world.run_for(1)
    assert total(world, "conduit_runs_total") == counted


def test_once_gives_up_where_the_outbox_is_full_and_nothing_leaves_it() -> None:
    """A dead backend ends the pass with 1; what is in the ledger goes out with the next one."""
    world = World(
        scenario=agents(1, per_hour=60, history_s=3 * HOUR_S),
        settings=LARGE_TRACES | {"CONDUIT_REQUESTS_PER_MINUTE": "6000"},
        limit=10_000,
    )
    world.conduit.data.stop_arrivals()
    world.wait(10 * MINUTE_S)
    refusal: list[Outcome] = [Unavailable("connection refused", answered=False)]
    world.backend.before.append(lambda _: refusal[0] if refusal else None)

    assert world.run_once() == 1
    fetched = world.conduit.asked.answers[Endpoint.RUN, 200]
    assert 0 < fetched < total(world, "conduit_runs_total")

    refusal.clear()
    assert world.run_once() == 0
    assert_exact(world)
    assert_no_detail_twice(world)


def test_once_outlasts_a_backend_that_is_busy_for_half_a_minute() -> None:
    """It has the patience that the daemon, told to stop, has not."""
    world = World(scenario=agents(1, per_hour=60, history_s=HOUR_S))
    world.conduit.data.stop_arrivals()
    world.wait(10 * MINUTE_S)
    busy: list[Outcome] = [Unavailable("503", 5.0)] * 6
    world.backend.before.append(lambda _: busy.pop() if busy else None)
    assert world.run_once() == 0
    assert not busy
    assert_exact(world)


@pytest.mark.parametrize("detail", ["full", "summary"])
def test_sampling_and_summaries_save_the_details(detail: str) -> None:
    """All runs are counted; a sampled run costs one request, a summary costs none."""
    world = World(
        scenario=agents(2, per_hour=60, history_s=2 * HOUR_S),
        settings={
            "EXPORTER_TRACE_SAMPLE_RATIO": "0.1" if detail == "full" else "1.0",
            "EXPORTER_TRACE_DETAIL": detail,
        },
    )

    async def script(_: World) -> None:
        await world.sleep(HOUR_S / 2)
        world.conduit.data.stop_arrivals()
        await world.sleep(10 * MINUTE_S)

    world.run(script)
    runs = len(truth_of(world).run_ids)
    details = world.conduit.asked.answers[Endpoint.RUN, 200]
    assert total(world, "conduit_runs_total") == runs
    if detail == "summary":
        assert details == 0
        assert_exact(world)
        assert len(world.backend.spans) == runs
    else:
        # A tenth by the trace id, and every tenth run is escalated, which is always kept.
        assert 0.13 * runs < details < 0.27 * runs
        assert details == len(world.backend.traced)
