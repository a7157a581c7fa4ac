"""Worlds drawn from a seed: each has some of everything that can vary or go wrong, none has all.

What one fault hides another shows, so every seed leaves most of them out (swarm testing). A seed
that fails is a test case: the same seed is the same world, step for step.

    python -m tests.simulation.swarm 0 500
"""

import gc
import random
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.convert.ids import is_sampled, trace_id_of
from exporter.delivery.outcome import Outcome, Refused, Unavailable
from exporter.demo import faults
from exporter.demo.answers import Failure
from exporter.demo.cursors import CursorKind
from exporter.demo.generator import Disorder, GeneratedRuns
from exporter.demo.runs import SimRun
from exporter.ledger import families
from exporter.ledger.ledger import Ledger
from exporter.ledger.schema import RunState
from exporter.sync.retention import ROUND_S
from tests.simulation.scenarios import HOUR_S, ONE_WORKSPACE, agents, assert_exact, settle
from tests.simulation.world import World

# As the settings' default; what it names is traced whatever the ratio.
_ALWAYS = frozenset({"failed", "escalated", "escalation_and_answer"})
_NOT_COUNTED = (None, RunState.SEEN, RunState.UNREADABLE)


@dataclass(kw_only=True)
class Draw:
    """What a seed has drawn; shown where it fails."""

    seed: int
    agents: int
    per_hour: float
    history_s: float
    length_s: float
    duration_s: tuple[float, float, float]
    created_step_ms: int
    disorder: Disorder
    cursors: CursorKind
    cursor_life_s: float | None
    steady_cursors: bool
    latency_s: tuple[float, float]
    settings: dict[str, str]
    forgets: bool = False
    others_ask: int = 0
    api_faults: dict[str, float] = field(default_factory=dict)
    backend_loses: float = 0.0
    backend_refuses: float = 0.0
    backend_away_s: tuple[float, float] = (0.0, 0.0)
    disk_fails: float = 0.0
    deaths_at_steps: list[int] = field(default_factory=list)
    deaths_at_commits: list[int] = field(default_factory=list)

    @property
    def is_calm(self) -> bool:
        """Whether nothing is done twice for a good reason."""
        return not (
            self.api_faults
            or self.others_ask
            or self.disk_fails
            or self.deaths_at_steps
            or self.deaths_at_commits
        )


def draw(seed: int) -> Draw:
    """The world of a seed."""
    rng = random.Random(f"swarm {seed}")

    def sometimes(chance: float, value: Callable[[], Any], otherwise: Any) -> Any:
        return value() if rng.random() < chance else otherwise

    length_s = rng.uniform(0.3, 3) * HOUR_S
    drawn = Draw(
        seed=seed,
        agents=rng.randint(1, 6),
        per_hour=rng.choice([5, 30, 60, 150]),
        history_s=sometimes(0.5, lambda: rng.uniform(0, 8) * HOUR_S, 0.0),
        length_s=length_s,
        duration_s=rng.choice([(2.0, 6.0, 60.0), (4.0, 60.0, 600.0), (0.001, 0.5, 2.0)]),
        created_step_ms=rng.choice([1, 1, 1_000, 60_000]),
        disorder=Disorder(
            long_ratio=sometimes(0.4, lambda: rng.uniform(0, 0.1), 0.0),
            long_s=(600.0, rng.uniform(700, 7200)),
            stuck_ratio=sometimes(0.3, lambda: rng.uniform(0, 0.2), 0.0),
            late_ratio=sometimes(0.3, lambda: rng.uniform(0, 0.2), 0.0),
            late_s=(1.0, rng.choice([30.0, 600.0])),
            deleted_ratio=sometimes(0.3, lambda: rng.uniform(0, 0.1), 0.0),
        ),
        cursors=rng.choice(["offset", "keyset"]),
        cursor_life_s=sometimes(0.4, lambda: rng.choice([20.0, 120.0, 1800.0]), None),
        steady_cursors=rng.random() < 0.4,
        latency_s=rng.choice([(0.0, 0.0), (0.02, 0.3), (0.5, 8.0)]),
        settings={
            "CONDUIT_REQUESTS_PER_MINUTE": str(rng.choice([30, 90, 118])),
            "EXPORTER_POLL_INTERVAL": rng.choice(["5s", "15s", "60s"]),
            "EXPORTER_TRACE_DETAIL": rng.choice(["full", "full", "summary"]),
            "EXPORTER_TRACE_SAMPLE_RATIO": rng.choice(["1.0", "1.0", "0.3", "0.0"]),
        },
    )
    if not drawn.history_s and rng.random() < 0.4:
        drawn.forgets = True
        drawn.settings |= {"EXPORTER_RETENTION": "1h", "EXPORTER_LOOKBACK": "40m"}
    drawn.others_ask = sometimes(0.2, lambda: rng.randint(1, 60), 0)
    for name in _API_FAULTS:
        if rng.random() < 0.25:
            drawn.api_faults[name] = rng.uniform(0.005, 0.1)
    drawn.backend_loses = sometimes(0.3, lambda: rng.uniform(0, 0.5), 0.0)
    drawn.backend_refuses = sometimes(0.2, lambda: rng.uniform(0, 0.3), 0.0)
    drawn.backend_away_s = sometimes(
        0.3, lambda: (length_s * 0.2, length_s * rng.uniform(0.2, 1)), (0.0, 0.0)
    )
    drawn.disk_fails = sometimes(0.25, lambda: rng.uniform(0, 0.15), 0.0)
    if rng.random() < 0.35:
        drawn.deaths_at_steps = [rng.randint(1, 3000) for _ in range(rng.randint(1, 8))]
    if rng.random() < 0.25:
        drawn.deaths_at_commits = [rng.randint(1, 60) for _ in range(rng.randint(1, 6))]
    return drawn


_API_FAULTS: dict[str, Callable[[], faults.Fault]] = {
    "503": lambda: faults.refused(503),
    "404": lambda: faults.refused(404),
    "410": lambda: faults.refused(410),
    "401": lambda: faults.refused(401),
    "timeout": lambda: faults.failing(Failure.READ_TIMEOUT),
    "no connection": lambda: faults.failing(Failure.CONNECT_ERROR),
    "disconnected": lambda: faults.failing(Failure.DISCONNECT),
    "html": faults.html,
    "429": lambda: faults.rate_limited("7"),
    "429 without a time": lambda: faults.rate_limited(None),
    "cut short": faults.truncated,
    "redirect": faults.redirected,
}


def world_of(drawn: Draw, folder: Path) -> World:
    """The world, with everything in its place and nobody alive in it yet."""
    world = World(
        folder,
        scenario=agents(
            drawn.agents,
            per_hour=drawn.per_hour,
            history_s=drawn.history_s,
            disorder=drawn.disorder,
            duration_s=drawn.duration_s,
            created_step_ms=drawn.created_step_ms,
        ),
        token="token",
        seed=drawn.seed,
        settings=drawn.settings,
        latency_s=drawn.latency_s,
        cursors=drawn.cursors,
        cursor_life_s=drawn.cursor_life_s,
        steady_cursors=drawn.steady_cursors,
    )
    rng = random.Random(drawn.seed)
    for name, rate in drawn.api_faults.items():
        # A get-run that is answered so again and again is the API's word that the run is gone.
        when = faults.chance(rate, rng)
        if name in ("404", "410"):
            when = faults.both(faults.later_pages, when)
        world.conduit.faults.place(_API_FAULTS[name](), when=when)
    start_s = world.clock.now_ns() / 1e9

    def before(chances: random.Random) -> Outcome | None:
        since_s = world.clock.now_ns() / 1e9 - start_s
        if drawn.backend_away_s[0] < since_s < drawn.backend_away_s[1]:
            return Unavailable("connection refused", answered=False)
        if chances.random() < drawn.backend_refuses:
            return Refused("403 Forbidden")
        return None

    def after(chances: random.Random) -> Outcome | None:
        lost = chances.random() < drawn.backend_loses
        return Unavailable("connection closed") if lost else None

    world.backend.before.append(before)
    world.backend.after.append(after)
    if drawn.disk_fails:
        disk_rng = random.Random(drawn.seed + 1)
        world.disk.before.append(lambda _: disk_rng.random() < drawn.disk_fails)
        world.disk.after.append(lambda _: disk_rng.random() < drawn.disk_fails)
    return world


def live(drawn: Draw, folder: Path) -> None:
    """Live through it all, then in peace until everything is done; raise for what is not right."""
    world = world_of(drawn, folder)

    async def for_its_length(_: World) -> None:
        await _pass(drawn, world, drawn.length_s, others_ask=drawn.others_ask)

    for step in drawn.deaths_at_steps:
        world.run_killed(for_its_length, at_step=step)
    for number, call in enumerate(drawn.deaths_at_commits):
        at = {"before": call} if number % 2 else {"after": call}
        world.run_until_death_at_commit(for_its_length, **at)

    async def in_peace(_: World) -> None:
        await for_its_length(world)
        world.conduit.faults.clear()
        world.disk.before.clear()
        world.disk.after.clear()
        world.backend.before.clear()
        world.backend.after.clear()
        for state in world.conduit.data.agents.values():
            assert isinstance(state.agent.runs, GeneratedRuns)
            state.agent.runs.end()
        # The longest run takes two hours; second readings come by the hour, and what the backend
        # refused is parked for one.
        await _pass(drawn, world, 4 * HOUR_S, others_ask=0)
        await settle(world, most_s=12 * HOUR_S)
        check(drawn, world)

    world.run(in_peace)
    # What the dead have left behind is cleared away here, not in the midst of what comes next.
    gc.collect()


async def _pass(drawn: Draw, world: World, length_s: float, *, others_ask: int) -> None:
    """Let time pass while others use the API as well, and with retention at its rounds."""
    assert world.exporter is not None
    for number in range(1, round(length_s / 60)):
        await world.sleep(60)
        world.conduit.spend(ONE_WORKSPACE, others_ask)
        if drawn.forgets and number % round(ROUND_S / 60) == 0:
            (workspace,) = world.exporter.workspaces().values() or (None,)
            agents_now = list(workspace.agents.values()) if workspace else []
            await world.exporter.retention.run_once(agents_now)


def check(drawn: Draw, world: World) -> None:
    """What must hold of whatever happened."""
    assert world.exporter is not None
    assert world.backend.changed == []
    ratio = float(drawn.settings["EXPORTER_TRACE_SAMPLE_RATIO"])
    if not drawn.disorder.deleted_ratio and ratio == 1.0:
        assert_exact(world)
    ended = [
        world.conduit.data.run(run_id) for run_id in sorted(world.conduit.data.truth().run_ids)
    ]
    if not drawn.forgets:
        (states,) = world.exporter.ledger.transact([lambda ledger: _states(ledger, ended)])
        uncounted = [run.id for run in ended if states.get(run.id) in _NOT_COUNTED]
        assert uncounted == [], f"{len(uncounted)} runs are not counted"
    wanted = {_trace_id(run) for run in ended if _is_wanted(run, ratio)}
    missing = wanted - world.backend.traces
    assert not missing, f"{len(missing)} traces are missing"
    if not drawn.disorder.deleted_ratio:
        assert world.backend.traces == wanted
        assert world.sums()[families.RUNS] == len(ended)
    if drawn.is_calm:
        assert world.conduit.asked.fetched_twice == {}
        assert world.conduit.asked.over_limit.total() == 0


def _states(ledger: Ledger, runs: list[SimRun]) -> dict[str, RunState]:
    by_agent: dict[str, list[str]] = {}
    for run in runs:
        by_agent.setdefault(run.agent_id, []).append(run.id)
    found: dict[str, RunState] = {}
    for agent_id, run_ids in by_agent.items():
        (number,) = ledger.agents.numbers_of(agent_id)
        found |= ledger.runs.states_of(number, run_ids)
    return found


def _trace_id(run: SimRun) -> bytes:
    return trace_id_of(raw=run.trace_id, workspace_id=ONE_WORKSPACE, run_id=run.id)


def _is_wanted(run: SimRun, ratio: float) -> bool:
    return ratio == 1.0 or is_sampled(
        trace_id=_trace_id(run),
        status=run.status,
        disposition=run.disposition,
        ratio=ratio,
        always=_ALWAYS,
    )


def main() -> None:
    """Live through the worlds of many seeds; say which of them went wrong, and why."""
    first, last = int(sys.argv[1]), int(sys.argv[2])
    failed = 0
    for seed in range(first, last):
        drawn = draw(seed)
        with tempfile.TemporaryDirectory() as folder:
            try:
                live(drawn, Path(folder))
            except Exception:  # noqa: BLE001 - told, and the next seed goes on
                failed += 1
                print(f"{drawn}\n{traceback.format_exc(limit=-3)}", flush=True)  # noqa: T201
    print(f"{failed} of {last - first} worlds went wrong")  # noqa: T201
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
