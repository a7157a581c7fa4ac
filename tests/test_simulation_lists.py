"""Lists that change while they are read: rows that shift, come late, or share a moment."""

import random
from pathlib import Path

from exporter.convert.ids import trace_id_of
from exporter.simulator.answers import Endpoint, SimRequest
from exporter.simulator.generator import Disorder
from exporter.simulator.runs import SimRun
from exporter.ledger.schema import RunState
from tests.simulation.scenarios import HOUR_S, ONE_WORKSPACE, agents, assert_exact, settle
from tests.simulation.world import World

_COUNTED = (
    RunState.COUNTED,
    RunState.FETCHED,
    RunState.DELIVERED,
    RunState.REJECTED,
    RunState.SAMPLED_OUT,
)


def uncounted(world: World) -> list[str]:
    """The runs that have ended, are listed now, and were not counted."""
    assert world.exporter is not None
    ledger = world.exporter.ledger
    found = []
    for agent_id in world.conduit.data.agents:
        (agent_no,) = ledger.transact([lambda one: one.agents.numbers_of(agent_id)])[0]  # noqa: B023 - called at once
        ended = set(world.conduit.data.truth().run_ids) & set(world.conduit.data.run_ids(agent_id))
        states = ledger.transact([lambda one: one.runs.states_of(agent_no, sorted(ended))])[0]  # noqa: B023 - called at once
        found += [run_id for run_id in ended if states.get(run_id) not in _COUNTED]
    return found


def test_rows_that_move_up_while_pages_are_read_are_found_by_the_second_reading(
    tmp_path: Path,
) -> None:
    """Deletions make offset cursors skip rows; within two hours nothing listed is missing."""
    world = World(
        tmp_path,
        scenario=agents(1, per_hour=100, history_s=12 * HOUR_S),
        token="token",
        settings={"CONDUIT_REQUESTS_PER_MINUTE": "30"},
    )
    data, rng = world.conduit.data, random.Random(3)
    (agent_id,) = data.agents
    start_ns = world.clock.now_ns()

    def delete_some() -> None:
        for run_id in rng.sample(data.run_ids(agent_id)[:60], 5):
            data.delete_run(run_id)

    # Between the pages of the first look-back, which come two seconds apart.
    for number in range(10):
        data.at(start_ns + round((3 + 2 * number) * 1e9), delete_some)
    skipped: list[int] = []

    async def script(_: World) -> None:
        await world.sleep(60)
        skipped.append(len(uncounted(world)))
        await world.sleep(2 * HOUR_S)
        assert len(uncounted(world)) <= 2  # what ended within the last seconds

    world.run(script)
    assert skipped[0] > 5


def test_rows_that_come_late_are_found_within_a_tenth_of_the_budget(tmp_path: Path) -> None:
    """Every tenth run becomes visible minutes after newer ones; all of them are counted."""
    world = World(
        tmp_path,
        scenario=agents(2, per_hour=240, disorder=Disorder(late_ratio=0.1, late_s=(60, 900))),
        token="token",
    )
    pages = 0

    def note(request: SimRequest) -> bool:
        nonlocal pages
        pages += request.endpoint is Endpoint.RUNS and request.cursor is not None
        return False

    world.conduit.faults.place(lambda _request, truthful: truthful(), when=note)

    async def script(_: World) -> None:
        await world.sleep(4 * HOUR_S)
        await settle(world, most_s=3 * HOUR_S)
        assert_exact(world)

    world.run(script)
    minutes = world.clock.now_ns() / 60e9 - _started_minutes(world)
    assert pages <= 0.1 * 90 * minutes


def _started_minutes(world: World) -> float:
    assert world.exporter is not None
    return world.exporter.started_ns / 60e9


def test_runs_that_share_a_moment_are_all_counted(tmp_path: Path) -> None:
    """Two hundred and fifty at one nanosecond, more than a page, seen while they arrive."""
    world = World(tmp_path, scenario=agents(1, per_hour=60), token="token")
    data = world.conduit.data
    (agent_id,) = data.agents

    def place(first: int, count: int, created_ns: int) -> None:
        like = data.run(data.run_ids(agent_id)[-1])
        for number in range(first, first + count):
            data.add_run(
                SimRun(
                    **{
                        **like._asdict(),
                        "id": f"ar77same{number:024d}",
                        "trace_id": None,
                        "created_ns": created_ns,
                        "completed_ns": created_ns + 10**9,
                    }
                )
            )

    async def script(_: World) -> None:
        await world.sleep(600)
        moment_ns = world.clock.now_ns() - 5 * 10**9
        place(0, 120, moment_ns)
        await world.sleep(20)
        # The head has met the frontier at this very moment, and more of it appears.
        place(120, 130, moment_ns)
        await settle(world, most_s=4 * HOUR_S)
        assert uncounted(world) == []
        seen = {
            trace_id_of(raw=None, workspace_id=ONE_WORKSPACE, run_id=f"ar77same{number:024d}")
            for number in range(250)
        }
        assert seen <= world.backend.traces

    world.run(script)
