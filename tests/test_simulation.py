"""Hours and days of the whole exporter in simulated time: nothing lost, nothing twice."""

import random
from pathlib import Path
from typing import Any

import pytest

from exporter.delivery.outcome import Outcome, Refused, Unavailable
from exporter.simulator import faults
from exporter.simulator.answers import Endpoint, Failure
from exporter.simulator.generator import Disorder
from exporter.simulator.scenario import DEMO_TOKEN, hospitality
from exporter.ledger import families
from tests.simulation.scenarios import HOUR_S, agents, assert_exact, settle
from tests.simulation.world import World, percentile


def test_an_ordinary_hour_is_counted_and_traced_exactly(tmp_path: Path) -> None:
    """Ten agents, runs that stay in flight, no fault: all of it, once, and within the budget."""
    world = World(tmp_path, scenario=agents(10, per_hour=60), token="token")

    async def script(_: World) -> None:
        await world.sleep(HOUR_S)
        await settle(world)
        assert_exact(world)

    world.run(script)
    assert world.conduit.asked.fetched_twice == {}
    assert world.conduit.asked.over_limit.total() == 0
    assert max(world.backend.received.values()) == 1


def test_the_same_seed_replays_the_same_history(tmp_path: Path) -> None:
    """Event for event: the same requests, deliveries and steps of the loop."""

    def history(seed: int, name: str) -> tuple[Any, ...]:
        folder = tmp_path / name
        folder.mkdir()
        world = World(folder, scenario=agents(3), token="token", seed=seed)

        async def script(_: World) -> tuple[Any, ...]:
            await world.sleep(HOUR_S / 4)
            return (
                world.loop.steps,
                dict(world.conduit.asked.answers),
                list(world.backend.spans),
                world.count_delays,
            )

        result: tuple[Any, ...] = world.run(script)
        return result

    first = history(1, "first")
    assert history(1, "again") == first
    assert history(2, "other") != first


def test_a_first_look_back_is_read_whole_and_goes_before_nothing_fresh(tmp_path: Path) -> None:
    """Twelve hours of history are counted within minutes, and every one of them traced."""
    world = World(tmp_path, scenario=agents(2, per_hour=50, history_s=12 * HOUR_S), token="token")

    async def script(_: World) -> None:
        await world.sleep(60)
        assert world.exporter is not None
        known = world.sums()[families.RUNS]
        assert known >= len(world.conduit.data.truth().run_ids) - 5
        await settle(world)
        assert_exact(world)

    world.run(script)
    assert world.conduit.asked.fetched_twice == {}


def test_an_outage_of_conduit_for_eight_hours_leaves_no_gap(tmp_path: Path) -> None:
    """Everything that happened meanwhile is read afterwards."""
    world = World(tmp_path, scenario=agents(2, per_hour=120), token="token")

    async def script(_: World) -> None:
        await world.sleep(600)
        start_ns = world.clock.now_ns()
        world.conduit.faults.place(
            faults.unreachable,
            when=faults.between(start_ns, start_ns + round(8 * HOUR_S * 1e9)),
        )
        await world.sleep(8 * HOUR_S + 60)
        await settle(world, most_s=24 * HOUR_S)
        assert_exact(world)

    world.run(script)


def test_an_outage_of_the_backend_costs_no_request(tmp_path: Path) -> None:
    """Traces wait on the disk; Conduit is not asked again; then all of them arrive."""
    world = World(tmp_path, scenario=agents(2), token="token")
    down = True

    def outage(_: random.Random) -> Outcome | None:
        return Unavailable("connection refused", answered=False) if down else None

    world.backend.before.append(outage)

    async def script(_: World) -> None:
        nonlocal down
        await world.sleep(2 * HOUR_S)
        assert world.backend.traces == set()
        down = False
        await settle(world)
        assert_exact(world)

    world.run(script)
    assert world.conduit.asked.fetched_twice == {}


def test_lost_answers_resend_the_same_bytes(tmp_path: Path) -> None:
    """The backend takes a request and its answer is lost: at least once, and identical."""
    world = World(tmp_path, scenario=agents(2, per_hour=120), token="token")
    world.backend.after.append(
        lambda rng: Unavailable("connection closed") if rng.random() < 0.4 else None
    )
    world.backend.before.append(
        lambda rng: Refused("401 Unauthorized") if rng.random() < 0.1 else None
    )

    async def script(_: World) -> None:
        await world.sleep(HOUR_S)
        await settle(world)
        assert_exact(world)

    world.run(script)
    assert max(world.backend.received.values()) > 1


@pytest.mark.parametrize("seed", range(4))
def test_a_bad_day_of_the_api_loses_nothing(tmp_path: Path, seed: int) -> None:
    """Errors of every kind on one request in five, rows that come late and shift."""
    disorder = Disorder(late_ratio=0.05, long_ratio=0.02, long_s=(600, 3000))
    world = World(
        tmp_path, scenario=agents(3, per_hour=60, disorder=disorder), token="token", seed=seed
    )
    rng = random.Random(seed)
    plan = world.conduit.faults
    plan.place(faults.refused(503), when=faults.chance(0.05, rng))
    plan.place(faults.failing(Failure.READ_TIMEOUT), when=faults.chance(0.02, rng))
    plan.place(faults.html(), when=faults.chance(0.03, rng))
    plan.place(faults.rate_limited("7"), when=faults.chance(0.02, rng))
    plan.place(faults.rate_limited(None), when=faults.chance(0.01, rng))
    plan.place(faults.truncated(), when=faults.chance(0.03, rng))
    plan.place(faults.redirected(), when=faults.chance(0.01, rng))
    plan.place(faults.empty_page, when=faults.both(faults.later_pages, faults.chance(0.05, rng)))

    async def script(_: World) -> None:
        await world.sleep(4 * HOUR_S)
        plan.clear()
        await settle(world, most_s=4 * HOUR_S)
        assert_exact(world)

    world.run(script)


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_at_any_step_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, seed: int
) -> None:
    """Thirty deaths at random steps: sums stay exact, every trace arrives, bytes are the same."""
    world = World(
        tmp_path,
        scenario=agents(3, per_hour=240, history_s=HOUR_S / 2),
        token="token",
        seed=seed,
        settings={"CONDUIT_REQUESTS_PER_MINUTE": "118"},
    )
    rng = random.Random(seed)

    async def until_killed(_: World) -> None:
        await world.sleep(24 * HOUR_S)

    for _ in range(30):
        assert world.run_killed(until_killed, at_step=rng.randint(1, 1500))

    async def script(_: World) -> None:
        await settle(world, most_s=12 * HOUR_S)
        assert_exact(world)

    world.run(script)


def test_an_expired_cursor_reads_the_list_again(tmp_path: Path) -> None:
    """410 in the midst of the look-back costs a reading from the head, and no run."""
    world = World(tmp_path, scenario=agents(1, per_hour=100, history_s=10 * HOUR_S), token="token")
    world.conduit.faults.place(faults.refused(410), when=faults.later_pages, times=2)

    async def script(_: World) -> None:
        await settle(world, most_s=24 * HOUR_S)
        assert_exact(world)

    world.run(script)


def test_hours_of_a_proxys_page_quarantine_nothing(tmp_path: Path) -> None:
    """A login page with status 200 in place of every answer: no run is to blame, all are traced."""
    world = World(tmp_path, scenario=agents(2, per_hour=60), token="token")

    async def script(_: World) -> None:
        await world.sleep(300)
        world.conduit.faults.place(faults.html(), when=lambda _: True)
        await world.sleep(6 * HOUR_S)
        world.conduit.faults.clear()
        await settle(world, most_s=12 * HOUR_S)
        assert_exact(world)
        assert families.QUARANTINED not in world.sums()

    world.run(script)


def test_a_run_whose_answer_is_never_one_is_quarantined_alone(tmp_path: Path) -> None:
    """Its get-run is cut short again and again while all else is well: the rest goes on."""
    world = World(tmp_path, scenario=agents(1, per_hour=60), token="token")

    async def script(_: World) -> None:
        await world.sleep(300)
        like = world.conduit.data.run(min(world.conduit.data.truth().run_ids))
        late = like._replace(id=f"{like.id[:-4]}late", trace_id=None)
        world.conduit.data.add_run(late)
        world.conduit.faults.place(
            faults.truncated(), when=lambda request: request.run_id == late.id
        )
        await world.sleep(8 * HOUR_S)
        assert world.sums()[families.QUARANTINED] == 1
        assert world.sums()[families.RUNS] >= len(world.conduit.data.truth().run_ids) - 2

    world.run(script)


def test_hospitality_runs_in_two_workspaces(tmp_path: Path) -> None:
    """The demo's own scenario, odd tool items and all, is exact too."""
    world = World(
        tmp_path,
        scenario=lambda start_ns: hospitality(seed=1, start_ns=start_ns, history_s=600, rate=0.2),
        token=DEMO_TOKEN,
    )

    async def script(_: World) -> None:
        await world.sleep(HOUR_S / 2)
        await settle(world)
        truth = world.conduit.data.truth(with_tools=True)
        sums = world.sums()
        assert sums[families.RUNS] == len(truth.run_ids)
        assert sums[families.COST_USD] == sum(truth.cost_usd.values())
        assert sums[families.TOOL_CALLS] == sum(truth.tool_calls.values())
        assert sums[families.TOOL_ERRORS] == sum(truth.tool_errors.values())

    world.run(script)
    assert percentile(world.count_delays, 0.95) < 60
    assert world.conduit.asked.answers[Endpoint.RUN, 404] == 0
