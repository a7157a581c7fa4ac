"""Requests, throughput and delays in simulated time: what the API's budget is spent on."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, at_least, at_most, percentile
from bench.worlds import (
    HOUR_S,
    LIMIT,
    MINUTE_S,
    Agents,
    Stretch,
    Watch,
    delivered,
    measure_stretch,
    open_world,
    run_pass,
)
from tests.simulation.world import Script, World

_LOWEST_OVER = 10  # minutes


def measure_history(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - one shape for all
    """Requests of everything from the first start until a history is delivered."""
    runs = 300 if quick else 1_200
    for budget, once, how in (
        (120, False, "daemon, budget 120"),
        (90, False, "daemon, budget 90"),
        (90, True, "one pass (`once`)"),
    ):
        watch = Watch()
        with tempfile.TemporaryDirectory() as folder:
            world = open_world(Path(folder), Agents(), history=runs, budget=budget)
            watch.over(world.conduit)
            if once:
                run_pass(world)
            else:
                world.run(_delivering(runs))
        yield Figure(
            what=f"requests a traced run, history of {runs:,}, {how}",
            measured=world.conduit.asked.total / max(1, len(world.backend.traces)),
            # At 90 a minute it takes 13.3 minutes, and a head page each minute shows what is new:
            # 1,227 requests are the least that a daemon can do with.
            bound=at_most(1.02) if budget == LIMIT or once else None,
            limit="1.01",
            note=", ".join(f"{purpose} {count}" for purpose, count in watch.asked.most_common()),
        )


def _delivering(runs: int) -> Script:
    async def script(world: World) -> None:
        while delivered(world) < runs:
            await world.sleep(1)

    return script


def measure_arriving(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - one shape for all
    """Requests once a hundred runs a minute arrive, many of them long."""
    agents = Agents(runs_per_hour=6_000, duration_s=(4.0, 60.0, 600.0))
    with tempfile.TemporaryDirectory() as folder:
        world = open_world(Path(folder), agents, budget=120)
        stretch = measure_stretch(
            world, warm_s=1200 if quick else 1800, seconds=600 if quick else 2 * HOUR_S
        )
    yield Figure(
        what="requests a traced run, 100 runs a minute arriving, one agent",
        measured=stretch.requests / max(1, stretch.traces),
        bound=at_most(1.06),
        limit="1.04",
        note=_spent(stretch),
    )
    yield Figure(
        what="get-runs spent on runs still in flight, share of runs",
        measured=100 * stretch.in_flight_served / max(1, delivered(world)),
        unit="%",
        bound=at_most(1.0),
        limit="0",
        note=f"{stretch.in_flight_served} of {delivered(world)} runs",
    )


def measure_backlog(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - one shape for all
    """Traces a minute from a backlog, nothing new arriving, at the whole documented limit."""
    minutes = 15 if quick else 60
    for count, least, limit in ((1, 115, "118.8"), (10, 106, "108.9")):
        with tempfile.TemporaryDirectory() as folder:
            world = open_world(
                Path(folder), Agents(count=count), history=120 * (minutes + 20), budget=120
            )
            stretch = measure_stretch(world, warm_s=600, seconds=minutes * MINUTE_S)
        agents = "one agent" if count == 1 else f"{count} agents"
        yield Figure(
            what=f"traces a minute from a backlog, budget 120, {agents}",
            measured=stretch.traces / (stretch.seconds / MINUTE_S),
            bound=at_least(least),
            limit=limit,
            note=_spent(stretch),
        )
        yield Figure(
            what=f"... in the lowest ten minutes, {agents}",
            measured=_lowest(stretch),
            bound=at_least(least),
            limit=limit,
        )
        yield Figure(
            what=f"... 429 answers, {agents}",
            measured=stretch.refused,
            bound=at_most(0),
            note=f"busiest sixty seconds {world.conduit.busiest_minute('j57bench')}",
        )


def measure_mixed(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - one shape for all
    """The budget when there is more to do than it allows: fresh runs first, no request idle."""
    agents = Agents(count=10, runs_per_hour=360)
    minutes = 15 if quick else 60
    with tempfile.TemporaryDirectory() as folder:
        world = open_world(Path(folder), agents, history=120 * (minutes + 20), budget=120)
        stretch = measure_stretch(world, warm_s=600, seconds=minutes * MINUTE_S)
    whole = 120 * stretch.seconds / MINUTE_S
    yield Figure(
        what="budget used, ten agents, 60 runs a minute arriving and a backlog",
        measured=100 * stretch.requests / whole,
        unit="%",
        bound=at_least(97),
        limit="99 %",
        note=_spent(stretch),
    )
    yield Figure(
        what="... fresh runs, completed to counted, p95",
        measured=percentile(stretch.count_delays, 0.95),
        unit="s",
        bound=at_most(17),
        limit="15 s",
    )
    other = stretch.requests - stretch.asked["head"] - stretch.asked["detail"]
    yield Figure(
        what="... requests that are neither head page nor detail",
        measured=100 * other / max(1, stretch.requests),
        unit="%",
        bound=at_most(1),
        limit="0",
    )
    yield Figure(what="... 429 answers", measured=stretch.refused, bound=at_most(0))


def measure_delays(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - one shape for all
    """How long after its end a run is counted, and its trace acknowledged."""
    agents = Agents(count=10, runs_per_hour=180)
    with tempfile.TemporaryDirectory() as folder:
        world = open_world(Path(folder), agents, budget=90)
        stretch = measure_stretch(world, warm_s=300, seconds=600 if quick else 2 * HOUR_S)
    yield Figure(
        what="completed to counted, polls of 15 s, 10 agents, budget 90, p95",
        measured=percentile(stretch.count_delays, 0.95),
        unit="s",
        bound=at_most(17),
        limit="15 s",
        note=f"median {percentile(stretch.count_delays, 0.5):.1f} s",
    )
    yield Figure(
        what="completed to acknowledged within the budget, p95",
        measured=percentile(stretch.trace_delays, 0.95),
        unit="s",
        bound=at_most(25),
        note=f"median {percentile(stretch.trace_delays, 0.5):.1f} s; {_spent(stretch)}",
    )


def _lowest(stretch: Stretch) -> float:
    """Traces a minute in the worst ten minutes on end."""
    counts = stretch.traces_each_minute
    windows = range(max(1, len(counts) - _LOWEST_OVER + 1))
    return min(
        sum(counts[at : at + _LOWEST_OVER]) / len(counts[at : at + _LOWEST_OVER]) for at in windows
    )


def _spent(stretch: Stretch) -> str:
    minutes = stretch.seconds / MINUTE_S
    return "a minute: " + ", ".join(
        f"{purpose} {count / minutes:.1f}" for purpose, count in stretch.asked.most_common()
    )
