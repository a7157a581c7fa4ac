"""A week of twenty agents in simulated time, faults on: how long it takes, and whether all arrived.

Processor time is that of the whole simulation: the simulated Conduit, the backend that checks each
span, and the exporter between them; not that of the comparison afterwards.
"""

import random
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from exporter.ledger.schema import RunState
from exporter.simulator.answers import Failure

from bench.figures import Figure, at_most
from bench.worlds import HOUR_S
from exporter.conduit.models import TERMINAL_STATUSES
from exporter.convert.ids import trace_id_of
from exporter.delivery.outcome import Outcome, Unavailable
from exporter.ledger import families
from exporter.ledger.ledger import Ledger
from exporter.simulator import faults
from exporter.simulator.runs import SimRun
from exporter.simulator.scenario import DEMO_TOKEN, busy_week
from tests.simulation.world import World

RUNS = 200_000
_WEEK_S = 7 * 24 * HOUR_S
_QUICK_S = 4 * HOUR_S
# What ended within the week has to arrive within a day more.
_ROUNDS = 48
_ROUND_S = HOUR_S / 2
_NOT_COUNTED = (None, RunState.SEEN, RunState.UNREADABLE)


class _Week:
    """One simulated week and what it took."""

    def __init__(self, folder: Path, *, length_s: float) -> None:
        self.world = World(
            folder,
            scenario=lambda start_ns: busy_week(seed=1, start_ns=start_ns, runs_a_week=RUNS),
            token=DEMO_TOKEN,
        )
        self.length_s = length_s
        self.wall_s = 0.0
        self.processor_s = 0.0
        self.rounds = 0
        self.untraced = 0
        self.uncounted = 0
        self.backend_down = False

    def run(self) -> None:
        self._place_faults()
        self.world.run(self._script)

    async def _script(self, world: World) -> None:
        end_ns = world.clock.now_ns() + round(self.length_s * 1e9)
        await self._pass(self.length_s * 0.6)
        self.backend_down = True
        await self._pass(min(3 * HOUR_S, self.length_s * 0.1))
        self.backend_down = False
        await self._pass((end_ns - world.clock.now_ns()) / 1e9)
        world.conduit.faults.clear()
        for self.rounds in range(1, _ROUNDS + 1):
            await self._pass(_ROUND_S)
            self._compare(end_ns)
            if not self.untraced and not self.uncounted:
                return

    async def _pass(self, seconds: float) -> None:
        wall_s, processor_s = time.perf_counter(), time.process_time()
        await self.world.sleep(seconds)
        self.wall_s += time.perf_counter() - wall_s
        self.processor_s += time.process_time() - processor_s

    def _place_faults(self) -> None:
        """Errors of every kind on one request in twelve, an outage of each side, answers lost."""
        world, rng = self.world, random.Random(7)
        plan, start_ns = world.conduit.faults, world.clock.now_ns()
        begin_ns = start_ns + round(self.length_s * 0.3 * 1e9)
        plan.place(
            faults.unreachable,
            when=faults.between(begin_ns, begin_ns + round(self.length_s * 0.02 * 1e9)),
        )
        plan.place(faults.refused(503), when=faults.chance(0.03, rng))
        plan.place(faults.failing(Failure.READ_TIMEOUT), when=faults.chance(0.01, rng))
        plan.place(faults.html(), when=faults.chance(0.01, rng))
        plan.place(faults.rate_limited("7"), when=faults.chance(0.01, rng))
        plan.place(faults.truncated(), when=faults.chance(0.02, rng))
        plan.place(
            faults.empty_page, when=faults.both(faults.later_pages, faults.chance(0.02, rng))
        )
        world.backend.before.append(self._outage)
        world.backend.after.append(
            lambda rng: Unavailable("connection closed") if rng.random() < 0.02 else None
        )

    def _outage(self, _rng: random.Random) -> Outcome | None:
        return Unavailable("connection refused", answered=False) if self.backend_down else None

    def _compare(self, ended_by_ns: int) -> None:
        """Look for runs that ended in time, are still shown, and are not counted or not traced."""
        world = self.world
        assert world.exporter is not None  # noqa: S101 - the script runs beside it
        ledger, seen = world.exporter.ledger, world.backend.traces
        self.untraced = self.uncounted = 0
        for agent_id, state in world.conduit.data.agents.items():
            ended = [
                run
                for run in map(state.table.run, state.table)
                if run.status in TERMINAL_STATUSES and run.ended(ended_by_ns)
            ]
            (states,) = ledger.transact([partial(_states, agent_id=agent_id, runs=ended)])
            for run in ended:
                trace_id = trace_id_of(
                    raw=run.trace_id, workspace_id=state.agent.workspace_id, run_id=run.id
                )
                self.untraced += trace_id not in seen
                self.uncounted += states.get(run.id) in _NOT_COUNTED


def _states(ledger: Ledger, *, agent_id: str, runs: list[SimRun]) -> dict[str, RunState]:
    (agent_no,) = ledger.agents.numbers_of(agent_id)
    return ledger.runs.states_of(agent_no, [run.id for run in runs])


def measure_week(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - one shape for all
    """Run the week and compare with what the simulated Conduit knows."""
    # In memory where that can be had: what a disk takes to be sure is no work of the processor.
    shared = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        week = _Week(Path(folder), length_s=_QUICK_S if quick else _WEEK_S)
        week.run()
    world = week.world
    counted, changed = int(world.sums()[families.RUNS]), len(world.backend.changed)
    yield Figure(
        what=f"a simulated {'stretch' if quick else 'week'}, 20 agents, {counted:,} runs, "
        "faults on: processor time",
        measured=week.processor_s,
        unit="s",
        bound=None if quick else at_most(240),
        limit=f"{counted * 0.0009:.0f} s (0.9 ms a run)",
        note=(
            f"{week.wall_s:.0f} s of wall time, {1000 * week.processor_s / counted:.2f} ms a run; "
            f"{world.conduit.asked.total:,} requests, {world.conduit.faults.struck:,} faults, "
            f"{world.conduit.asked.over_limit.total()} over the limit, "
            f"{len(world.conduit.asked.fetched_twice):,} details served twice"
        ),
    )
    yield Figure(
        what="... runs lost: not counted, not traced, or changed",
        measured=week.untraced + week.uncounted + changed,
        bound=at_most(0),
        note=(
            f"{week.untraced} without a trace, {week.uncounted} uncounted, "
            f"{changed} changed spans; "
            f"complete {week.rounds * _ROUND_S / HOUR_S:g} h after the end"
        ),
    )
