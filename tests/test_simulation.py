"""Hours of the whole exporter in simulated time: nothing lost, nothing twice."""

import random
from collections.abc import Callable
from typing import NoReturn

import pytest

from exporter.delivery.outcome import Refused, Unavailable
from exporter.errors import LedgerRefused
from exporter.simulator.conduit import Endpoint
from tests.simulation import faults
from tests.simulation.conduit import Disorder
from tests.simulation.faults import Failure
from tests.simulation.promises import (
    assert_no_detail_twice,
    assert_within_budget,
    settle,
    total,
    truth_of,
)
from tests.simulation.scenarios import DAY_S, HOUR_S, MINUTE_S, agent_id, agents
from tests.simulation.world import StageEnded, World, simulated


@pytest.mark.slow
@simulated(
    agents(3, per_hour=12, disorder=Disorder(long_ratio=0.01, stuck_ratio=0.002)),
    settings={"EXPORTER_POLL_INTERVAL": "3m"},
)
async def test_an_ordinary_day_is_counted_and_traced_exactly(world: World) -> None:
    """Three agents, runs that stay in flight, no fault: all of it, once, and within the budget."""
    await world.sleep(DAY_S)
    await settle(world, within_s=7 * HOUR_S)
    assert_no_detail_twice(world)
    assert_within_budget(world)
    assert max(world.backend.received.values()) == 1


@simulated(agents(2, per_hour=30))
async def test_an_outage_of_conduit_for_eight_hours_leaves_no_gap(world: World) -> None:
    """Everything that happened meanwhile is read afterwards."""
    await world.sleep(10 * MINUTE_S)
    away = faults.between(world.clock.true_ns(), world.ns_in(8 * HOUR_S))
    world.conduit.faults.place(faults.unreachable, when=away)
    await world.sleep(8 * HOUR_S)
    await settle(world, within_s=HOUR_S)
    assert_no_detail_twice(world)


@simulated(agents(2, per_hour=120))
async def test_lost_answers_resend_the_same_bytes(world: World) -> None:
    """The backend takes a request and its answer is lost: at least once, and identical."""
    world.backend.after.append(
        lambda rng: Unavailable("connection closed") if rng.random() < 0.4 else None
    )
    world.backend.before.append(
        lambda rng: Refused("401 Unauthorized") if rng.random() < 0.1 else None
    )

    await world.sleep(HOUR_S / 2)
    await settle(world, within_s=2 * HOUR_S)
    assert max(world.backend.received.values()) > 1


@simulated(
    agents(3, per_hour=60, disorder=Disorder(late_ratio=0.05, long_ratio=0.02, long_s=(600, 3000)))
)
async def test_a_bad_day_of_the_api_loses_nothing(world: World) -> None:
    """Errors of every kind on one request in five, rows that come late and shift."""
    rng = random.Random(1)
    for fault, share in (
        (faults.refused(503), 0.05),
        (faults.failing(Failure.READ_TIMEOUT), 0.02),
        (faults.html(), 0.03),
        (faults.rate_limited("7"), 0.02),
        (faults.rate_limited(None), 0.01),
        (faults.truncated(), 0.03),
        (faults.redirected(), 0.01),
    ):
        world.conduit.faults.place(fault, when=faults.chance(share, rng))

    await world.sleep(2 * HOUR_S)
    world.conduit.faults.clear()
    await settle(world, within_s=2 * HOUR_S)


@simulated(agents(2))
async def test_hours_of_a_proxys_page_quarantine_nothing(world: World) -> None:
    """A login page with status 200 in place of every answer: no run is to blame, all are traced.

    What was scanned stays scanned: readiness is about this process, `conduit_up` about Conduit.
    """
    await world.sleep(5 * MINUTE_S)
    world.conduit.faults.place(faults.html(), when=faults.always)
    await world.sleep(3 * HOUR_S)
    assert total(world, "conduit_up") == 0
    assert world.ready()
    world.conduit.faults.clear()
    await settle(world, within_s=HOUR_S)
    assert total(world, "conduit_up") == 1
    assert total(world, "conduit_exporter_runs_quarantined_total") == 0


def test_kill_9_at_any_step_loses_nothing_and_counts_nothing_twice() -> None:
    """Forty deaths at random steps: sums stay exact, every trace arrives, bytes are the same."""
    world = World(
        scenario=agents(2, per_hour=240, history_s=HOUR_S / 2),
        settings={"CONDUIT_REQUESTS_PER_MINUTE": "118"},
    )
    rng = random.Random(1)
    for _ in range(40):
        assert world.run_until_killed(lambda _: world.sleep(DAY_S), at_step=rng.randint(1, 1500))
    world.run(lambda _: settle(world, within_s=2 * HOUR_S))


@simulated(
    agents(1, per_hour=60, history_s=12 * HOUR_S), settings={"CONDUIT_REQUESTS_PER_MINUTE": "30"}
)
async def test_rows_that_move_up_while_pages_are_read_are_found(world: World) -> None:
    """Deletions make offset cursors skip rows; the second reading finds every one."""
    data, rng = world.conduit.data, random.Random(3)

    def delete_some() -> None:
        for run_id in rng.sample(data.run_ids(agent_id())[:60], 5):
            data.delete_run(run_id)

    # Between the pages of the first look-back, which come two seconds apart.
    for number in range(10):
        data.at(world.ns_in(3 + 2 * number), delete_some)

    await world.sleep(HOUR_S)
    world.conduit.data.stop_arrivals()
    await world.sleep(HOUR_S)
    assert truth_of(world).run_ids <= world.backend.traced
    assert_no_detail_twice(world)


@simulated(agents(1))
async def test_runs_that_share_a_moment_are_all_counted(world: World) -> None:
    """Two hundred and fifty at one nanosecond, more than a page, seen while they arrive."""
    data = world.conduit.data

    def place(numbers: range, created_ns: int) -> None:
        like = data.run(data.run_ids(agent_id())[-1])
        for number in numbers:
            data.add_run(
                like._replace(
                    id=f"ar77same{number:024d}",
                    trace_id=None,
                    created_ns=created_ns,
                    completed_ns=created_ns + 10**9,
                )
            )

    await world.sleep(10 * MINUTE_S)
    moment_ns = world.clock.true_ns() - 5 * 10**9
    place(range(120), moment_ns)
    await world.sleep(20)
    # The head has met the frontier at this very moment, and more of it appears.
    place(range(120, 250), moment_ns)
    await settle(world, within_s=2 * HOUR_S)


# A fault of ours


def _raises(*_: object) -> NoReturn:
    raise RuntimeError("a fault of ours")


def _refuses(*_: object) -> NoReturn:
    raise LedgerRefused("damaged")


BREAKS: dict[str, Callable[[World], None]] = {
    "a page": lambda world: world.conduit.faults.place(_raises, when=faults.to(Endpoint.RUNS)),
    "a detail": lambda world: world.conduit.faults.place(_raises, when=faults.to(Endpoint.RUN)),
    "a delivery": lambda world: world.backend.before.append(_raises),
    "the ledger": lambda world: world.disk.before.append(_refuses),
}


@pytest.mark.parametrize("moment_s", [0, 300], ids=["at the start", "later"])
@pytest.mark.parametrize("break_something", BREAKS.values(), ids=BREAKS)
def test_a_fault_of_ours_in_any_stage_ends_the_process(
    break_something: Callable[[World], None], moment_s: float
) -> None:
    """It never goes on without a part of itself; the next life does what is left."""
    world = World(scenario=agents(2, per_hour=60, history_s=HOUR_S / 2))

    async def script(_: World) -> None:
        await world.sleep(moment_s)
        break_something(world)
        await world.sleep(HOUR_S)

    with pytest.raises(StageEnded):
        world.run(script)
    world.conduit.faults.clear()
    world.backend.before.clear()
    world.disk.before.clear()
    world.run(lambda _: settle(world, within_s=30 * MINUTE_S))
