"""Faults and deaths at the ledger's commits: whatever the disk does, nothing is lost or twice."""

import pytest

from exporter.delivery.outcome import Outcome, Unavailable
from tests.simulation.conduit import Disorder
from tests.simulation.promises import assert_no_detail_twice, settle, total
from tests.simulation.scenarios import DAY_S, HOUR_S, MINUTE_S, agents
from tests.simulation.world import World, simulated

# Two busy agents with a little history.
BUSY = agents(2, per_hour=240, history_s=HOUR_S / 4)
FAST = {"CONDUIT_REQUESTS_PER_MINUTE": "118"}


@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
def test_death_at_each_commit_in_turn_loses_nothing(moment: str) -> None:
    """The first life dies at its first commit, the second at its second, and so on."""
    world = World(scenario=BUSY, settings=FAST)
    for number in range(1, 41):
        assert world.run_until_killed(lambda _: world.sleep(DAY_S), **{moment: number})
    world.run(lambda _: settle(world, within_s=HOUR_S))


@simulated(BUSY, settings=FAST)
async def test_a_full_disk_stops_everything_and_loses_nothing(world: World) -> None:
    """Nothing more is fetched while nothing can be written, readiness says so, and it recovers."""
    await world.sleep(2 * MINUTE_S)
    assert world.ready()
    world.disk.before.append(lambda _: True)
    await world.sleep(MINUTE_S)
    assert not world.ready()
    asked, counted = world.conduit.asked.total, total(world, "conduit_runs_total")
    await world.sleep(HOUR_S)
    # Requests that were under way wait to be written, and few further ones are made.
    assert world.conduit.asked.total - asked < 20
    assert total(world, "conduit_runs_total") == counted
    world.disk.before.clear()
    await settle(world, within_s=30 * MINUTE_S)
    assert world.ready()
    assert world.disk.struck > 10


@simulated(BUSY, settings=FAST)
async def test_commits_of_unknown_outcome_are_repeated_and_count_once(world: World) -> None:
    """Every third commit is written and reported as failed: the repeat adds nothing."""
    world.disk.after.append(lambda call: call % 3 == 0)
    await world.sleep(HOUR_S / 2)
    world.disk.after.clear()
    await settle(world, within_s=30 * MINUTE_S)
    assert world.disk.struck > 20


def test_retention_changes_no_figure() -> None:
    """A short retention over hours and a restart: every sum is that of all, nothing comes twice.

    Rows that come late are found by a second reading before they are too old to be counted.
    """
    disorder = Disorder(late_ratio=0.1, late_s=(600, 900))
    world = World(
        scenario=agents(2, per_hour=60, disorder=disorder),
        settings={"EXPORTER_RETENTION": "1h", "EXPORTER_LOOKBACK": "30m"},
    )
    world.run_for(3 * HOUR_S)
    assert len(world.backend.traced) > 300

    async def script(_: World) -> None:
        await world.sleep(HOUR_S)
        await settle(world, within_s=2 * HOUR_S)

    world.run(script)
    assert max(world.backend.received.values()) == 1


@simulated(
    agents(1, per_hour=20), settings={"EXPORTER_RETENTION": "1h", "EXPORTER_LOOKBACK": "30m"}
)
async def test_an_outage_of_the_backend_costs_no_request_and_no_trace(world: World) -> None:
    """After eight hours, longer than the retention, it gets everything; Conduit is asked once."""
    refusal: list[Outcome] = [Unavailable("connection refused", answered=False)]
    world.backend.before.append(lambda _: refusal[0] if refusal else None)

    await world.sleep(8 * HOUR_S)
    refusal.clear()
    await settle(world, within_s=HOUR_S)
    assert_no_detail_twice(world)
