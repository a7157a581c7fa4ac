"""Runs in flight that have fallen off the head of a list, and end where two pages meet."""

from pathlib import Path
from typing import Any

import pytest

from exporter.simulator.directory import Scenario, SimAgent, SimWorkspace
from exporter.simulator.runs import SECOND_NS, SimRun
from exporter.ledger import families
from tests.fakes import START_NS
from tests.simulation.world import World

AGENT = "ag77sweep"
WORKSPACE = "j57sweep"
STUCK = 150
ENDS_AFTER_S = 60


def scenario(_start_ns: int) -> Scenario:
    """One agent without generated runs."""
    return Scenario(
        workspaces=[SimWorkspace(WORKSPACE, "Simulated")],
        agents=[SimAgent(id=AGENT, workspace_id=WORKSPACE, name="Sweeper")],
        tokens={"sweep-token": (WORKSPACE,)},
    )


def placed(number: int, *, completed_ns: int | None) -> SimRun:
    """A run created so many seconds before the start."""
    created_ns = START_NS - number * SECOND_NS
    return SimRun(
        id=f"ar77at{number}",
        agent_id=AGENT,
        created_ns=created_ns,
        running_ns=created_ns,
        completed_ns=completed_ns,
        cost="0.01",
    )


@pytest.mark.parametrize("steady", [False, True], ids=["cursors vary", "steady cursors"])
def test_run_that_ends_at_a_seam_of_a_sweep_is_counted_soon(
    tmp_path: Path, *, steady: bool
) -> None:
    """Where a hundred runs are stuck and no row moves, the run between two pages is found too.

    Nor does the head page change, which is no reason to forget what has fallen off it.
    """
    world = World(tmp_path, scenario=scenario, token="sweep-token", steady_cursors=steady)
    ended = [placed(number, completed_ns=START_NS) for number in range(1, 121)]
    # The page of a sweep ends after a hundred stuck runs: the next row is the one that ends.
    stuck = [placed(1000 + number, completed_ns=None) for number in range(STUCK)]
    ends_ns = START_NS + ENDS_AFTER_S * SECOND_NS
    seam = placed(1100, completed_ns=ends_ns)._replace(
        id="ar77seam", created_ns=START_NS - 1099 * SECOND_NS - SECOND_NS // 2
    )
    for run in (*ended, *stuck, seam):
        world.conduit.data.add_run(run)

    async def script(world: World) -> dict[str, Any]:
        await world.sleep(ENDS_AFTER_S + 600)
        return world.sums()

    assert world.run(script)[families.RUNS] == len(ended) + 1
    assert world.conduit.asked.runs_served["ar77seam"] == 1
