"""Scheduled passes, and starts after a while: as complete as a daemon that never stops."""

import sqlite3

from tests.simulation import faults
from tests.simulation.conduit import Disorder
from tests.simulation.promises import assert_no_detail_twice, counted_of, total
from tests.simulation.scenarios import (
    DAY_S,
    HOUR_S,
    MINUTE_S,
    TOKEN,
    agent_id,
    agents,
    workspace_id,
)
from tests.simulation.world import World


def ended(world: World, agent: str) -> int:
    return sum(run.agent_id == agent for run in world.conduit.data.ended_runs())


def test_an_agent_that_appears_while_nobody_looks_is_counted_from_its_first_run() -> None:
    """It was not there when all were last listed, so whatever the look-back, its runs are news."""
    world = World(scenario=agents(2), settings={"EXPORTER_LOOKBACK": "0s"})
    world.conduit.data.delete_agent(agent_id(1))
    assert world.run_once() == 0
    world.conduit.data.restore_agent(agent_id(1))
    world.wait(HOUR_S)
    world.conduit.data.stop_arrivals()
    world.wait(5 * MINUTE_S)
    assert world.run_once() == 0
    assert counted_of(world, agent_id(1)) == ended(world, agent_id(1)) > 5


def test_an_agent_that_is_watched_later_begins_with_its_look_back() -> None:
    """It was there all the time, and nobody asked for it."""
    settings = {"EXPORTER_LOOKBACK": "1h", "CONDUIT_AGENTS": agent_id(0)}
    world = World(scenario=agents(2), settings=settings)
    world.run_for(6 * HOUR_S)
    world.environ["CONDUIT_AGENTS"] = agent_id(1)
    world.run_for(HOUR_S / 2)
    assert 0 < counted_of(world, agent_id(1)) < ended(world, agent_id(1)) / 3


def test_hourly_passes_miss_no_row_that_comes_late() -> None:
    """They read a second time what a daemon would."""
    disorder = Disorder(late_ratio=0.05, late_s=(60.0, 900.0))
    world = World(
        scenario=agents(1, per_hour=300, disorder=disorder),
        settings={"OTEL_TRACES_EXPORTER": "none"},
    )
    for _ in range(6):
        world.wait(HOUR_S)
        assert world.run_once() == 0
    world.conduit.data.stop_arrivals()
    for _ in range(2):
        world.wait(HOUR_S)
        assert world.run_once() == 0
    assert total(world, "conduit_runs_total") == ended(world, agent_id(0))


def test_a_second_reading_that_comes_to_no_end_is_told() -> None:
    """What it would have found is not counted yet: the next pass begins it again."""
    world = World(scenario=agents(1, per_hour=150, history_s=3 * HOUR_S))
    world.conduit.data.stop_arrivals()
    world.wait(10 * MINUTE_S)
    assert world.run_once() == 0
    world.wait(2 * HOUR_S)
    world.conduit.faults.place(faults.refused(503), when=faults.later_pages)
    assert world.run_once() == 1
    world.conduit.faults.clear()
    assert world.run_once() == 0


def test_a_pass_lets_go_of_what_retention_keeps_no_more() -> None:
    """The ledger of a scheduled job does not grow for ever."""
    world = World(
        scenario=agents(1), settings={"EXPORTER_RETENTION": "2h", "EXPORTER_LOOKBACK": "1h"}
    )
    for _ in range(8):
        world.wait(HOUR_S)
        assert world.run_once() == 0
    ledger = sqlite3.connect(world.environ["EXPORTER_LEDGER"].removeprefix("sqlite:///"))
    ((oldest_ns, kept),) = ledger.execute("SELECT min(settled_ns), count(*) FROM trace")
    ledger.close()
    assert kept > 10
    assert world.clock.now_ns() - oldest_ns < 2.1 * HOUR_S * 1e9


def test_a_backfill_asks_for_nothing_that_retention_has_let_go_of() -> None:
    """It was counted and traced once; what it begins below is where counting began."""
    world = World(
        scenario=agents(1, per_hour=20),
        settings={"EXPORTER_RETENTION": "2h", "EXPORTER_LOOKBACK": "1h"},
    )
    world.run_for(DAY_S / 2)
    world.conduit.data.stop_arrivals()
    world.run_for(HOUR_S / 2)
    asked = world.conduit.asked.total
    assert world.run_backfill(since_s=DAY_S) == 0
    assert_no_detail_twice(world)
    assert world.conduit.asked.total < asked + 10


def test_a_workspace_that_the_token_loses_is_let_go() -> None:
    """Once a second list lacks it, also over a restart; a pass needs but one."""
    world = World(scenario=agents(2, workspaces=2))
    lost = workspace_id(1)
    world.run_for(10 * MINUTE_S)
    world.conduit.data.tokens[TOKEN] = (workspace_id(0),)
    assert world.run_once() == 0

    world.run_for(HOUR_S)
    for _ in range(2):
        up = {
            dict(labels)["workspace_id"] for name, labels in world.samples() if name == "conduit_up"
        }
        assert up == {workspace_id(0)}
        world.run_for(MINUTE_S)

    world.conduit.data.tokens[TOKEN] = (workspace_id(0), lost)
    world.run_for(HOUR_S)
    world.conduit.data.stop_arrivals()
    world.run_for(HOUR_S / 2)
    assert total(world, "conduit_runs_total") == len(list(world.conduit.data.ended_runs()))


def test_a_configured_agent_that_is_deleted_is_missing() -> None:
    """With an old ledger as with a new one; its counters go, they would look alive."""
    world = World(scenario=agents(2), settings={"CONDUIT_AGENTS": f"{agent_id(0)},{agent_id(1)}"})
    world.run_for(HOUR_S / 2)
    world.conduit.data.delete_agent(agent_id(1))
    world.run_for(HOUR_S)
    assert total(world, "conduit_exporter_agents_missing") == 1
    with_runs = {
        dict(labels)["agent_id"] for name, labels in world.samples() if name == "conduit_runs_total"
    }
    assert with_runs == {agent_id(0)}
    assert world.run_once() == 1


def test_one_shard_does_not_miss_the_agents_of_another() -> None:
    """All shards have the same settings."""
    settings = {
        "CONDUIT_AGENTS": ",".join(map(agent_id, range(4))),
        "EXPORTER_TOTAL_SHARDS": "2",
        "EXPORTER_SHARD": "1",
    }
    world = World(scenario=agents(4, workspaces=4), settings=settings)

    async def script(_: World) -> None:
        await world.sleep(10 * MINUTE_S)
        assert world.ready()
        assert total(world, "conduit_exporter_agents_missing") == 0

    world.run(script)
    assert world.run_once() == 0
