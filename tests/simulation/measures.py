"""What the request budget is spent on and how soon a run is counted: figures in simulated time.

Exact and the same on every machine. The tests hold them to their bounds; bench prints them.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise

from exporter.ledger.totals import Family
from exporter.simulator.data import Scenario
from tests.simulation.promises import counted, total, truth_of, unfinished
from tests.simulation.scenarios import HOUR_S, METRICS_ALONE, MINUTE_S, agent_id, agents
from tests.simulation.world import World

LIMIT = 120


def requests_a_traced_run(*, runs: int, once: bool) -> float:
    """Requests of everything until a history is delivered, a run; budget 120."""
    world = _world(agents(1, per_hour=runs / 9, history_s=10 * HOUR_S), budget=LIMIT)
    world.conduit.data.stop_arrivals()
    world.wait(10 * MINUTE_S)
    for run_id in world.conduit.data.run_ids(agent_id())[runs:]:
        world.conduit.data.delete_run(run_id)
    if once:
        assert world.run_once() == 0
    else:

        async def until_done(_: World) -> None:
            for _second in range(round(HOUR_S)):
                if not unfinished(world):
                    return
                await world.sleep(1)

        world.run(until_done)
    return len(world.requests.seen) / len(world.backend.traced)


def requests_an_arriving_run(*, runs_per_minute: float, minutes: int = 30) -> float:
    """Requests a traced run while so many arrive; budget 120."""
    world = _world(agents(1, per_hour=60 * runs_per_minute), budget=LIMIT)

    async def script(_: World) -> float:
        await world.sleep(10 * MINUTE_S)
        requests, traced = len(world.requests.seen), len(world.backend.traced)
        await world.sleep(minutes * MINUTE_S)
        return (len(world.requests.seen) - requests) / (len(world.backend.traced) - traced)

    return world.run(script)


def traces_a_minute(*, idle: int, minutes: int = 10) -> float:
    """Traces delivered a minute by one agent with a backlog beside idle ones; budget 120."""
    world = _world(agents(1, per_hour=300, idle=idle, history_s=10 * HOUR_S), budget=LIMIT)
    world.conduit.data.stop_arrivals()

    async def script(_: World) -> float:
        await world.sleep(10 * MINUTE_S)
        traced = len(world.backend.traced)
        await world.sleep(minutes * MINUTE_S)
        return (len(world.backend.traced) - traced) / minutes

    return world.run(script)


def count_delays_s(
    *, busy: int, idle: int, per_hour: float = 180, minutes: int = 20
) -> list[float]:
    """Seconds from completion to the count of the busy agents' runs; budget 90.

    As a scrape every second would see it: by the committed totals, which are what it shows.
    """
    world = _world(agents(busy, per_hour=per_hour, idle=idle), budget=90)
    names = [agent_id(number) for number in range(busy)]
    moments: list[int] = []
    shown: dict[str, list[float]] = {name: [] for name in names}

    async def script(_: World) -> None:
        await world.sleep(5 * MINUTE_S)
        for _second in range(round(minutes * MINUTE_S)):
            await world.sleep(1)
            moments.append(world.clock.true_ns())
            now = _counted_now(world)
            for name in names:
                shown[name].append(now[name])

    world.run(script)
    delays = []
    for name in names:
        ended = [run for run in world.conduit.data.ended_runs() if run.agent_id == name]
        completed = sorted(run.completed_ns or 0 for run in ended)
        for at_ns, (before, now) in zip(moments[1:], pairwise(shown[name]), strict=True):
            delays += [(at_ns - one) / 1e9 for one in completed[int(before) : int(now)]]
    return sorted(delays)


def _counted_now(world: World) -> Counter[str]:
    assert world.exporter is not None
    of_number: Counter[int] = Counter()
    for key, value in world.exporter.ledger.totals.items():
        if key.family == Family.RUNS:
            of_number[key.agent_no] += int(value)
    (workspace,) = world.exporter.workspaces().values()
    return Counter({agent.id: of_number[agent.no] for agent in workspace.agents.values()})


def first_head_scans_s(*, count: int) -> float:
    """Seconds until each of so many agents' lists was read once; budget 90."""
    world = _world(agents(count, per_hour=1, history_s=HOUR_S), budget=90)
    world.run_for(5 * MINUTE_S)
    first: dict[str, int] = {}
    for one in world.requests.of(purpose="head"):
        first.setdefault(one.request.agent_id or "", one.request.now_ns)
    assert len(first) == count
    return (max(first.values()) - world.requests.seen[0].request.now_ns) / 1e9


def lookback_s(*, count: int, runs: int) -> float:
    """Seconds until the history of so many agents is counted, metrics alone; budget 90.

    Half an hour where it takes longer.
    """
    world = _world(
        agents(count, per_hour=runs / 10, history_s=10 * HOUR_S), budget=90, settings=METRICS_ALONE
    )
    world.conduit.data.stop_arrivals()
    world.wait(10 * MINUTE_S)
    runs_in_all = len(truth_of(world).run_ids)

    async def script(_: World) -> float:
        for _poll in range(360):
            await world.sleep(5)
            if total(world, "conduit_runs_total") == runs_in_all and world.ready():
                break
        return world.clock.monotonic_s()

    return world.run(script)


def idle_share(*, idle: int, minutes: int = 60) -> float:
    """The share of the budget that the head scans of idle agents take; budget 90.

    By the exporter's own metric: second readings begin at the head as well.
    """
    world = _world(agents(1, per_hour=30, idle=idle), budget=90)

    def heads_of_idle() -> float:
        spent = counted(world, "conduit_exporter_budget_requests_total", "purpose")[("head",)]
        busy = [
            one for one in world.requests.of(purpose="head") if one.request.agent_id == agent_id(0)
        ]
        return spent - len(busy)

    async def script(_: World) -> float:
        await world.sleep(20 * MINUTE_S)
        before = heads_of_idle()
        await world.sleep(minutes * MINUTE_S)
        return (heads_of_idle() - before) / minutes / 90

    return world.run(script)


def _world(
    scenario: Callable[[int], Scenario], *, budget: int, settings: Mapping[str, str] | None = None
) -> World:
    return World(
        scenario=scenario,
        limit=LIMIT,
        settings={
            "CONDUIT_REQUESTS_PER_MINUTE": str(budget),
            "EXPORTER_POLL_INTERVAL": "15s",
            **(settings or {}),
        },
    )


def percentile(ranked: list[float], share: float) -> float:
    """The value below which this share of the sorted values lies."""
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]
