"""Faults and deaths at the ledger's commits: whatever the disk does, nothing is lost or twice."""

from pathlib import Path

import pytest

from exporter.errors import LedgerUnavailable
from exporter.ledger import families
from tests.simulation.scenarios import HOUR_S, agents, assert_exact, settle
from tests.simulation.world import World


def world_of(folder: Path, *, seed: int = 1) -> World:
    """Two busy agents with a little history."""
    return World(
        folder,
        scenario=agents(2, per_hour=240, history_s=HOUR_S / 4),
        token="token",
        seed=seed,
        settings={"CONDUIT_REQUESTS_PER_MINUTE": "118"},
    )


async def _a_day(world: World) -> None:
    await world.sleep(24 * HOUR_S)


async def _to_the_end(world: World) -> None:
    await settle(world)
    assert_exact(world)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_death_at_each_commit_in_turn_loses_nothing(tmp_path: Path, moment: str) -> None:
    """The first life dies at its first commit, the second at its second, and so on."""
    world = world_of(tmp_path)
    for number in range(1, 41):
        assert world.run_until_death_at_commit(_a_day, **{moment: number})
    world.run(_to_the_end)


def test_a_full_disk_stops_everything_and_loses_nothing(tmp_path: Path) -> None:
    """Nothing more is fetched while nothing can be written, readiness says so, and it recovers."""
    world = world_of(tmp_path)
    full = False
    world.disk.before.append(lambda _: full)

    async def script(_: World) -> None:
        nonlocal full
        await world.sleep(120)
        full = True
        await world.sleep(60)
        assert world.exporter is not None
        assert world.exporter.gate.fault is not None
        asked = world.conduit.asked.total
        counted = world.sums()[families.RUNS]
        await world.sleep(HOUR_S)
        # Each agent's request that was under way waits at the gate, and no further one is made.
        assert world.conduit.asked.total - asked < 20
        assert world.sums()[families.RUNS] == counted
        full = False
        await _to_the_end(world)

    world.run(script)
    assert world.disk.struck > 10


def test_commits_of_unknown_outcome_are_repeated_and_count_once(tmp_path: Path) -> None:
    """Every third commit is written and reported as failed: the repeat adds nothing."""
    world = world_of(tmp_path)
    world.disk.after.append(lambda call: call % 3 == 0)

    async def script(_: World) -> None:
        await world.sleep(HOUR_S / 2)
        world.disk.after.clear()
        await _to_the_end(world)

    world.run(script)
    assert world.disk.struck > 20


@pytest.mark.parametrize("seed", range(3))
def test_a_disk_that_fails_now_and_then_changes_no_figure(tmp_path: Path, seed: int) -> None:
    """One call in ten fails, before or after it is written, for an hour."""
    world = world_of(tmp_path, seed=seed)
    world.disk.before.append(lambda _: world.rng.random() < 0.05)
    world.disk.after.append(lambda _: world.rng.random() < 0.05)

    async def script(_: World) -> None:
        await world.sleep(HOUR_S)
        world.disk.before.clear()
        world.disk.after.clear()
        await _to_the_end(world)

    world.run(script)


def test_a_disk_that_never_works_is_an_error_not_a_hang(tmp_path: Path) -> None:
    """Closing the exporter ends those who wait for a commit that never comes."""
    world = world_of(tmp_path)
    world.disk.before.append(lambda call: call < 40)

    async def script(_: World) -> None:
        await world.sleep(60)
        assert world.exporter is not None
        assert isinstance(world.exporter.gate.fault, LedgerUnavailable)

    world.run(script)
