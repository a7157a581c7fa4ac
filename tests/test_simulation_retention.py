"""What retention lets go of, and what it must not: on simulated hours of the whole exporter."""

from pathlib import Path

from sqlalchemy import func, select

from exporter.delivery.outcome import Unavailable
from exporter.ledger import families, schema
from exporter.ledger.ledger import Ledger
from exporter.sync.retention import ROUND_S
from tests.simulation.scenarios import HOUR_S, agents, assert_exact, settle
from tests.simulation.world import World

SETTINGS = {"EXPORTER_RETENTION": "1h", "EXPORTER_LOOKBACK": "30m"}


async def _hours(world: World, hours: float) -> None:
    """Let time pass with retention at its rounds, as the daemon does."""
    assert world.exporter is not None
    for _ in range(round(hours * HOUR_S / ROUND_S)):
        await world.sleep(ROUND_S)
        await world.exporter.retention.run_once(
            [
                agent
                for workspace in world.exporter.workspaces().values()
                for agent in workspace.agents.values()
            ]
        )


def _rows(world: World) -> tuple[int, int]:
    """How many runs and traces the ledger holds."""

    def count(ledger: Ledger) -> tuple[int, int]:
        connection = ledger._db
        runs = connection.execute(select(func.count()).select_from(schema.run)).scalar_one()
        traces = connection.execute(select(func.count()).select_from(schema.trace)).scalar_one()
        return runs, traces

    assert world.exporter is not None
    found: tuple[int, int] = world.exporter.ledger.transact([count])[0]
    return found


def test_the_ledger_keeps_what_is_young_and_no_figure_changes(tmp_path: Path) -> None:
    """After six hours it holds about one; every sum is that of all six, and nothing comes twice."""
    world = World(
        tmp_path, scenario=agents(2, per_hour=60, history_s=0), token="token", settings=SETTINGS
    )

    async def script(_: World) -> None:
        await _hours(world, 6)
        runs, traces = _rows(world)
        counted = world.sums()[families.RUNS]
        assert counted > 600
        assert traces < counted / 3
        assert runs < counted / 3
        await settle(world)
        assert_exact(world)

    world.run(script)
    assert world.conduit.asked.fetched_twice == {}
    assert max(world.backend.received.values()) == 1


def test_what_is_not_delivered_is_kept_however_old(tmp_path: Path) -> None:
    """A backend that was down for longer than the retention gets everything."""
    world = World(tmp_path, scenario=agents(1, per_hour=60), token="token", settings=SETTINGS)
    down = True
    world.backend.before.append(
        lambda _: Unavailable("connection refused", answered=False) if down else None
    )

    async def script(_: World) -> None:
        nonlocal down
        await _hours(world, 4)
        counted = world.sums()[families.RUNS]
        runs, traces = _rows(world)
        assert traces >= counted - 5
        assert runs >= counted
        down = False
        await settle(world)
        assert_exact(world)

    world.run(script)


def test_a_restart_after_retention_counts_nothing_again(tmp_path: Path) -> None:
    """Runs that the ledger has let go of lie below the floor, where nothing is counted."""
    world = World(tmp_path, scenario=agents(1, per_hour=120), token="token", settings=SETTINGS)

    async def first(_: World) -> None:
        await _hours(world, 4)

    async def second(_: World) -> None:
        # A second reading goes down to the floor again.
        await _hours(world, 2)
        await settle(world)
        assert_exact(world)

    world.run(first)
    world.run(second)
    assert world.conduit.asked.fetched_twice == {}
