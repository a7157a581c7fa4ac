"""What must hold of a world whatever happened in it; all of it is seen from outside.

Conduit's own data are the truth; they are compared with /metrics, with the traces that the backend
shows and with the requests that Conduit was asked.
"""

import math
from collections import Counter
from collections.abc import Collection

from tests.simulation.conduit import Truth
from tests.simulation.faults import When
from tests.simulation.scenarios import MINUTE_S
from tests.simulation.world import World

# After its fault, a target that stays broken is asked for by itself: at 30 s, 2, 10 and 30 minutes,
# then by the hour for a day.
MAX_ASKED_A_DAY = 40
_NOBODY: Collection[str] = ()


def counted(world: World, name: str, *by: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric that are not zero, added up by these labels."""
    found: dict[tuple[str, ...], float] = {}
    for (sample, labels), value in world.samples().items():
        if sample == name and value:
            said = dict(labels)
            key = tuple(said[label] for label in by)
            found[key] = found.get(key, 0) + value
    return found


def total(world: World, name: str) -> float:
    """The sum of a metric's samples."""
    return counted(world, name).get((), 0)


def counted_of(world: World, agent_id: str) -> float:
    """How many runs of an agent are counted."""
    return counted(world, "conduit_runs_total", "agent_id").get((agent_id,), 0)


def truth_of(world: World, *, without: Collection[str] = _NOBODY) -> Truth:
    """Sums over the runs inside the look-back that have ended, but for these agents' runs."""
    truth = Truth()
    for run in world.conduit.data.ended_runs(created_from_ns=world.lookback_from_ns):
        if run.agent_id not in without:
            truth.add(run)
    return truth


def unfinished(
    world: World, *, untraced: Collection[str] = _NOBODY, without: Collection[str] = _NOBODY
) -> str:
    """What is not counted or not traced yet, in words; empty if nothing."""
    truth = truth_of(world, without=without)
    untold = truth.run_ids - world.backend.traced - set(untraced)
    if untold:
        return f"{len(untold)} of {len(truth.run_ids)} runs not traced"
    shown = counted(world, "conduit_runs_total", "agent_id")
    of_agents: Counter[str] = Counter()
    for (agent, _, _), value in truth.runs.items():
        of_agents[agent] += value
    uncounted = {
        agent: value - round(shown.get((agent,), 0))
        for agent, value in of_agents.items()
        if value > shown.get((agent,), 0)
    }
    return f"not counted, by agent: {uncounted}" if uncounted else ""


async def settle(
    world: World,
    *,
    within_s: float = 10 * MINUTE_S,
    every_s: float = 30,
    untraced: Collection[str] = _NOBODY,
    without: Collection[str] = _NOBODY,
) -> None:
    """End the arrival of runs and let time pass until all are counted and traced, or fail.

    `untraced` are runs whose traces cannot be had, `without` agents that are not looked at.
    """
    world.conduit.data.stop_arrivals()
    for _ in range(round(within_s / every_s)):
        if not unfinished(world, untraced=untraced, without=without):
            break
        await world.sleep(every_s)
    assert_exact(world, untraced=untraced, without=without)


def assert_exact(
    world: World, *, untraced: Collection[str] = _NOBODY, without: Collection[str] = _NOBODY
) -> None:
    """Each run is counted once, to the token and the micro-dollar, and traced once, unchanged."""
    assert unfinished(world, untraced=untraced, without=without) == ""
    truth = truth_of(world, without=without)
    agents = world.conduit.data.agents.keys() - set(without)

    def shown(name: str, *by: str) -> dict[tuple[str, ...], float]:
        found = counted(world, name, "agent_id", *by)
        return {key: value for key, value in found.items() if key[0] in agents}

    assert shown("conduit_runs_total", "status", "disposition") == {
        (agent, status, disposition or "none"): value
        for (agent, status, disposition), value in truth.runs.items()
    }
    tokens = {(agent, "input"): value for agent, value in truth.input_tokens.items()}
    tokens |= {(agent, "output"): value for agent, value in truth.output_tokens.items()}
    assert shown("conduit_run_tokens_total", "token_type") == tokens
    costs = shown("conduit_run_cost_usd_total")
    for agent, cost in truth.cost_usd.items():
        assert math.isclose(costs.get((agent,), 0), cost, rel_tol=1e-12)
    assert shown("conduit_runs_unpriced_total") == {
        (agent,): value for agent, value in truth.unpriced.items()
    }
    assert_traced_once(world)


def assert_traced_once(world: World) -> None:
    """What was sent again was the same to the byte, and no run has two traces."""
    assert world.backend.changed == []
    assert [one for one, ids in world.backend.trace_ids.items() if len(ids) > 1] == []


def assert_asked_seldom(world: World, broken: When) -> None:
    """What stays broken is asked for 40 times a day at most."""
    assert world.requests.max_in_a_day(broken) <= MAX_ASKED_A_DAY


def assert_within_budget(world: World, *, budget: float = 90) -> None:
    """No sixty seconds hold more requests about a workspace than its budget, and none got a 429.

    Two more may fall into a minute where answers take their time on the way.
    """
    for workspace in world.conduit.data.workspaces:
        assert world.requests.max_in_a_minute(workspace) <= budget + 2
    assert not [one for one in world.requests.seen if one.status == 429]


def assert_no_detail_twice(world: World, *, but: Collection[str] = _NOBODY) -> None:
    """No ended run's get-run answer was given twice."""
    twice = {one: n for one, n in world.conduit.asked.fetched_twice.items() if one not in but}
    assert twice == {}
