"""Worlds drawn from a seed: each has some of everything that can vary or go wrong, none has all.

What one fault hides another shows, so every seed leaves most of them out (swarm testing). A seed
that fails is a test case: the same seed is the same world, step for step.

    python -m tests.simulation.swarm 0 500
"""

import gc
import logging
import random
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from exporter.delivery.outcome import Outcome, Refused, Unavailable
from exporter.simulator.conduit import CursorKind, Endpoint
from tests.simulation import faults
from tests.simulation.conduit import Disorder
from tests.simulation.faults import Failure, Fault, When
from tests.simulation.promises import (
    assert_asked_seldom,
    assert_no_detail_twice,
    assert_traced_once,
    assert_within_budget,
    settle,
    total,
    truth_of,
    unfinished,
)
from tests.simulation.scenarios import DAY_S, HOUR_S, MINUTE_S, agent_id, agents, workspace_id
from tests.simulation.world import World

T = TypeVar("T")

# As the settings' default: what is traced whatever the ratio.
_ALWAYS_TRACED = ("failed", "escalated", "escalation_and_answer")


@dataclass(frozen=True, kw_only=True)
class Sticking:
    """A fault that stays with one target, from a share of the length on, for good or to its end.

    `target`: run, pages (the later ones of a list), cursor, list, agent, agents (the list of all),
    workspace.
    """

    target: str
    kind: str
    number: int  # of the agent or workspace
    from_share: float
    for_good: bool


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happens at a share of the length: an agent comes or goes, a clock jumps."""

    kind: str  # delete, restore, move, jump
    number: int
    at_share: float
    hours: float = 0.0


@dataclass(kw_only=True)
class Draw:
    """What a seed has drawn; shown where it fails."""

    seed: int
    busy: int
    idle: int
    workspaces: int
    per_hour: float
    history_s: float
    length_s: float
    duration_s: tuple[float, float, float]
    created_step_ms: int
    disorder: Disorder
    cursors: CursorKind
    cursor_life_s: float | None
    dead_cursor_status: int
    steady_cursors: bool
    latency_s: tuple[float, float]
    settings: dict[str, str]
    wall_error_s: float = 0.0
    others_ask: int = 0
    api_faults: dict[str, float] = field(default_factory=dict)
    sticking: list[Sticking] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    backend_loses: float = 0.0
    backend_refuses: float = 0.0
    backend_away: tuple[float, float] = (0.0, 0.0)  # shares of the length
    disk_fails: float = 0.0
    deaths_at_steps: list[int] = field(default_factory=list)
    deaths_at_commits: list[int] = field(default_factory=list)
    once: int = 0  # passes before the last life

    @property
    def dies(self) -> bool:
        """Whether the exporter is killed, or does not know whether a commit was written."""
        return bool(self.disk_fails or self.deaths_at_steps or self.deaths_at_commits)

    @property
    def is_calm(self) -> bool:
        """Whether nothing is done twice for a good reason."""
        return not (self.api_faults or self.others_ask or self.dies or self.sticking)


_API_FAULTS: dict[str, Fault] = {
    "503": faults.refused(503),
    "401": faults.refused(401),
    "404": faults.refused(404),
    "timeout": faults.hanging(),
    "no connection": faults.failing(Failure.CONNECT_ERROR),
    "disconnected": faults.failing(Failure.DISCONNECT),
    "html": faults.html(),
    "429": faults.rate_limited("7"),
    "429 without a time": faults.rate_limited(None),
    "cut short": faults.truncated(),
    "redirect": faults.redirected(),
}
_STICKING_FAULTS: dict[str, Callable[[], Fault]] = {
    "500": lambda: faults.refused(500),
    "400": lambda: faults.refused(400),
    "404": lambda: faults.refused(404),
    "410": lambda: faults.refused(410),
    "hang": faults.hanging,
    "malformed": faults.malformed,
    "to itself": lambda: faults.cursor_to_itself,
    "A to B to A": faults.cursor_circle,
    "empty pages": lambda: faults.empty_pages(50),
    "more without cursor": lambda: faults.more_without_cursor,
    "row without id": lambda: faults.row_added(b'{"status":"completed"}'),
}
_ANSWERS = ("500", "400", "404", "410", "hang", "malformed")
_PAGES = (*_ANSWERS, "to itself", "A to B to A", "empty pages", "more without cursor")


def draw(seed: int) -> Draw:
    """The world of a seed."""
    rng = random.Random(f"swarm {seed}")

    def sometimes(chance: float, value: Callable[[], T], otherwise: T) -> T:
        return value() if rng.random() < chance else otherwise

    workspaces = rng.choice([1, 1, 2, 3])
    busy = rng.randint(1, 5)
    drawn = Draw(
        seed=seed,
        busy=busy,
        idle=sometimes(0.2, lambda: rng.choice([5, 30, 105]), 0),
        workspaces=workspaces,
        per_hour=rng.choice([5, 30, 60, 120]),
        history_s=sometimes(0.5, lambda: rng.uniform(0, 6) * HOUR_S, 0.0),
        length_s=rng.uniform(0.3, 2.5) * HOUR_S,
        duration_s=rng.choice([(2.0, 6.0, 60.0), (4.0, 60.0, 600.0), (0.001, 0.5, 2.0)]),
        created_step_ms=rng.choice([1, 1, 1_000, 60_000]),
        disorder=Disorder(
            long_ratio=sometimes(0.4, lambda: rng.uniform(0, 0.1), 0.0),
            long_s=(600.0, rng.uniform(700, 7200)),
            stuck_ratio=sometimes(0.3, lambda: rng.uniform(0, 0.2), 0.0),
            late_ratio=sometimes(0.3, lambda: rng.uniform(0, 0.2), 0.0),
            late_s=(1.0, rng.choice([30.0, 900.0])),
            deleted_ratio=sometimes(0.2, lambda: rng.uniform(0, 0.1), 0.0),
            ahead_ratio=sometimes(0.2, lambda: rng.uniform(0, 0.02), 0.0),
        ),
        cursors=rng.choice(["offset", "keyset"]),
        cursor_life_s=sometimes(0.4, lambda: rng.choice([20.0, 120.0, 1800.0]), None),
        dead_cursor_status=rng.choice([400, 400, 404, 410]),
        steady_cursors=rng.random() < 0.4,
        latency_s=rng.choice([(0.0, 0.0), (0.02, 0.3), (0.5, 8.0)]),
        settings={
            "CONDUIT_REQUESTS_PER_MINUTE": str(rng.choice([60, 90, 118])),
            "EXPORTER_POLL_INTERVAL": rng.choice(["5s", "15s", "60s"]),
            "EXPORTER_TRACE_DETAIL": rng.choice(["full", "full", "summary"]),
            "EXPORTER_TRACE_SAMPLE_RATIO": rng.choice(["1.0", "1.0", "1.0", "0.0"]),
        },
    )
    if not drawn.history_s and rng.random() < 0.4:
        drawn.settings |= {"EXPORTER_RETENTION": "1h", "EXPORTER_LOOKBACK": "40m"}
    drawn.wall_error_s = sometimes(0.15, lambda: rng.choice([-2, 2]) * DAY_S, 0.0)
    drawn.others_ask = sometimes(0.2, lambda: rng.randint(1, 60), 0)
    for name in _API_FAULTS:
        if rng.random() < 0.2:
            drawn.api_faults[name] = rng.uniform(0.005, 0.1)
    if rng.random() < 0.6:
        drawn.sticking = [_draw_sticking(rng, busy, workspaces) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.3:
        drawn.events = _draw_events(rng, busy, workspaces)
    drawn.backend_loses = sometimes(0.3, lambda: rng.uniform(0, 0.5), 0.0)
    drawn.backend_refuses = sometimes(0.2, lambda: rng.uniform(0, 0.3), 0.0)
    drawn.backend_away = sometimes(0.3, lambda: (0.2, rng.uniform(0.2, 1)), (0.0, 0.0))
    drawn.disk_fails = sometimes(0.2, lambda: rng.uniform(0, 0.15), 0.0)
    if rng.random() < 0.3:
        drawn.deaths_at_steps = [rng.randint(1, 3000) for _ in range(rng.randint(1, 8))]
    if rng.random() < 0.2:
        drawn.deaths_at_commits = [rng.randint(1, 60) for _ in range(rng.randint(1, 6))]
    drawn.once = sometimes(0.2, lambda: rng.randint(1, 2), 0)
    return drawn


def _draw_sticking(rng: random.Random, busy: int, workspaces: int) -> Sticking:
    target = rng.choice(["run", "run", "pages", "cursor", "list", "agent", "agents", "workspace"])
    kinds = {"pages": _PAGES, "cursor": _PAGES, "list": (*_ANSWERS, "row without id")}
    agents_kinds = (*_ANSWERS, "to itself")
    return Sticking(
        target=target,
        kind=rng.choice(kinds.get(target, agents_kinds if target == "agents" else _ANSWERS)),
        number=rng.randrange(workspaces if target == "workspace" else busy),
        from_share=rng.choice([0.0, rng.uniform(0, 0.8)]),
        for_good=target in ("run", "pages", "cursor", "list", "agent") and rng.random() < 0.6,
    )


def _draw_events(rng: random.Random, busy: int, workspaces: int) -> list[Event]:
    number = rng.randrange(busy)
    first, second = sorted((rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)))
    match rng.choice(["delete", "return", "move", "jump"]):
        case "delete":
            return [Event(kind="delete", number=number, at_share=first)]
        case "return":
            return [
                Event(kind="delete", number=number, at_share=first),
                Event(kind="restore", number=number, at_share=second),
            ]
        case "move" if workspaces > 1:
            return [Event(kind="move", number=number, at_share=first)]
    jumps = [(first, rng.uniform(-40, 40)), (second, rng.uniform(-3, 3))]
    return [Event(kind="jump", number=0, at_share=at, hours=hours) for at, hours in jumps]


class _Story:
    """A drawn world being lived through."""

    def __init__(self, drawn: Draw) -> None:
        self.drawn = drawn
        self._broken_runs: dict[Sticking, faults.FirstRun] = {}
        self.world = World(
            scenario=agents(
                drawn.busy,
                per_hour=drawn.per_hour,
                idle=drawn.idle,
                idle_per_hour=0.3,
                workspaces=drawn.workspaces,
                history_s=drawn.history_s,
                disorder=drawn.disorder,
                duration_s=drawn.duration_s,
                created_step_ms=drawn.created_step_ms,
            ),
            seed=drawn.seed,
            settings=drawn.settings,
            latency_s=drawn.latency_s,
            cursors=drawn.cursors,
            cursor_life_s=drawn.cursor_life_s,
            dead_cursor_status=drawn.dead_cursor_status,
            steady_cursors=drawn.steady_cursors,
        )
        self.world.clock.wall_error_s = drawn.wall_error_s
        self._rng = random.Random(drawn.seed)
        self._start_ns = self.world.clock.true_ns()
        self._place_sticking()
        self._place_passing()
        for event in drawn.events:
            self.world.conduit.data.at(self._at_ns(event.at_share), self._action_of(event))

    def live(self) -> None:
        """Live through it all, then in peace until everything is done."""
        drawn, world = self.drawn, self.world
        for step in drawn.deaths_at_steps:
            world.run_until_killed(self._pass, at_step=step)
        for number, commit in enumerate(drawn.deaths_at_commits):
            moment = "before_commit" if number % 2 else "after_commit"
            world.run_until_killed(self._pass, **{moment: commit})
        for _pass in range(drawn.once):
            world.run_once(within_s=12 * HOUR_S)
        world.run(self._to_the_end)

    @property
    def untraced(self) -> set[str]:
        """The runs whose details stay broken for good."""
        broken = self._broken_runs.items()
        return {when.run_id for one, when in broken if one.for_good and when.run_id is not None}

    async def _pass(self, _: World) -> None:
        for _minute in range(round(self.drawn.length_s / MINUTE_S)):
            await self.world.sleep(MINUTE_S)
            for number in range(self.drawn.workspaces):
                self.world.conduit.spend(workspace_id(number), self.drawn.others_ask)

    async def _to_the_end(self, _: World) -> None:
        drawn, world = self.drawn, self.world
        await self._pass(world)
        world.conduit.faults.clear()
        self._place_sticking(only_for_good=True)
        for faulty in (world.disk.before, world.disk.after, world.backend.before):
            faulty.clear()
        world.backend.after.clear()
        # The longest run takes two hours; what broke is asked again by the hour, and pages that
        # were read are read a second time by the hour.
        world.conduit.data.stop_arrivals()
        await world.sleep(4 * HOUR_S)
        self._check_traces()
        without = {agent_id(one.number) for one in drawn.sticking if self._spoils_agent(one)}
        if drawn.disorder.deleted_ratio or self._untraceable():
            untraced = self._untraceable() | self.untraced
            for _hour in range(26):
                if not unfinished(world, untraced=untraced, without=without):
                    break
                await world.sleep(HOUR_S)
            assert unfinished(world, untraced=untraced, without=without) == ""
            assert_traced_once(world)
        else:
            await settle(
                world, within_s=26 * HOUR_S, every_s=600, untraced=self.untraced, without=without
            )
        self._check_requests()

    def _check_traces(self) -> None:
        """Only what is wanted is traced."""
        assert not self._untraceable() & self.world.backend.traced

    def _check_requests(self) -> None:
        drawn, world = self.drawn, self.world
        if drawn.is_calm:
            assert_no_detail_twice(world)
        if drawn.is_calm and drawn.latency_s[1] < 1:
            budget = float(drawn.settings["CONDUIT_REQUESTS_PER_MINUTE"])
            assert_within_budget(world, budget=budget)
        if not drawn.dies and not drawn.once:
            for run_id in self.untraced:
                assert_asked_seldom(world, faults.of_run(run_id))

    def _spoils_agent(self, one: Sticking) -> bool:
        """Whether an agent's runs may never be read."""
        # A steady cursor that counts rows is the same text at every reading.
        is_same = self.drawn.cursors == "offset" and self.drawn.steady_cursors
        targets = ("pages", "list", "agent", *(("cursor",) if is_same else ()))
        return one.for_good and one.target in targets

    def _untraceable(self) -> set[str]:
        """The runs that sampling leaves out."""
        if self.drawn.settings["EXPORTER_TRACE_SAMPLE_RATIO"] == "1.0":
            return set()
        return {
            run.id
            for run in self.world.conduit.data.ended_runs()
            if not {run.status, run.disposition}.intersection(_ALWAYS_TRACED)
        }

    def _place_sticking(self, *, only_for_good: bool = False) -> None:
        for one in self.drawn.sticking:
            if one.for_good or not only_for_good:
                from_ns = self._at_ns(one.from_share)
                when = faults.both(faults.between(from_ns, 1 << 62), self._target_of(one))
                self.world.conduit.faults.place(_STICKING_FAULTS[one.kind](), when=when)

    def _target_of(self, one: Sticking) -> When:
        agent = agent_id(one.number)
        later = faults.both(faults.of_list(agent), faults.later_pages)
        if one.target == "run":
            return self._broken_runs.setdefault(one, faults.FirstRun(faults.of_agent(agent)))
        targets: dict[str, When] = {
            "pages": faults.of_list(agent) if one.kind == "A to B to A" else later,
            "cursor": faults.first_cursor(later),
            "list": faults.of_list(agent),
            "agent": faults.of_agent(agent),
            "agents": faults.to(Endpoint.AGENTS),
            "workspace": faults.of_workspace(workspace_id(one.number)),
        }
        return targets[one.target]

    def _place_passing(self) -> None:
        """Faults that are drawn anew at each request or commit."""
        drawn, world, rng = self.drawn, self.world, self._rng
        for name, share in drawn.api_faults.items():
            world.conduit.faults.place(_API_FAULTS[name], when=faults.chance(share, rng))
        away_from_ns, away_to_ns = map(self._at_ns, drawn.backend_away)

        def before(chances: random.Random) -> Outcome | None:
            if away_from_ns < world.clock.true_ns() < away_to_ns:
                return Unavailable("connection refused", answered=False)
            return Refused("403 Forbidden") if chances.random() < drawn.backend_refuses else None

        def after(chances: random.Random) -> Outcome | None:
            lost = chances.random() < drawn.backend_loses
            return Unavailable("connection closed") if lost else None

        world.backend.before.append(before)
        world.backend.after.append(after)
        if drawn.disk_fails:
            world.disk.before.append(lambda _: rng.random() < drawn.disk_fails)
            world.disk.after.append(lambda _: rng.random() < drawn.disk_fails)

    def _action_of(self, event: Event) -> Callable[[], None]:
        data, agent = self.world.conduit.data, agent_id(event.number)

        def jump() -> None:
            self.world.clock.wall_error_s += event.hours * HOUR_S

        actions: dict[str, Callable[[], Any]] = {
            "delete": lambda: data.delete_agent(agent),
            "restore": lambda: data.restore_agent(agent),
            "move": lambda: data.move_agent(
                agent, workspace_id((event.number + 1) % self.drawn.workspaces)
            ),
            "jump": jump,
        }
        return actions[event.kind]

    def _at_ns(self, share: float) -> int:
        return self._start_ns + round(share * self.drawn.length_s * 1e9)


def live(seed: int) -> str:
    """Live through the world of a seed; a line about it. Raises for what is not right."""
    story = _Story(draw(seed))
    story.live()
    # What the dead have left behind is cleared away here, not in the midst of what comes next.
    gc.collect()
    world = story.world
    return (
        f"seed {seed}: {world.lives} lives, {len(truth_of(world).run_ids)} runs, "
        f"{total(world, 'conduit_runs_total'):.0f} counted, {len(world.backend.traced)} traced, "
        f"{len(world.requests.seen)} requests, {world.conduit.faults.struck} faults"
    )


def main() -> None:
    """Live through the worlds of many seeds; say which of them went wrong, and why."""
    logging.disable(logging.CRITICAL)
    first, last = int(sys.argv[1]), int(sys.argv[2])
    failed = []
    for seed in range(first, last):
        try:
            print(live(seed), flush=True)  # noqa: T201 - a command
        except Exception:  # noqa: BLE001 - told, and the next seed goes on
            failed.append(seed)
            told = f"seed {seed}: FAILED\n{draw(seed)}\n{traceback.format_exc(limit=-3)}"
            print(told, flush=True)  # noqa: T201 - a command
    print(f"{len(failed)} of {last - first} worlds went wrong: {failed}")  # noqa: T201 - a command
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
