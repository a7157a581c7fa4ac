"""Simulated deployments to measure in: agents, a history that has ended, runs that go on arriving.

Real are sync, ledger, conversion and delivery; time is virtual, so figures of requests and delays
are exact and the same on every machine.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from exporter.simulator.answers import Endpoint, SimRequest, SimResponse
from exporter.simulator.directory import Scenario, SimAgent, SimWorkspace

from exporter.ledger import families
from exporter.simulator.conduit import SimulatedConduit
from exporter.simulator.faults import Truthful
from exporter.simulator.generator import ContentWriter, GeneratedRuns, RunProfile
from exporter.simulator.runs import RunContent, SimRun
from tests.simulation.loop import VirtualLoop, run_virtually
from tests.simulation.world import World

TOKEN = "token"  # noqa: S105 - opens nothing but the simulation
WORKSPACE = "j57bench"
HOUR_S = 3600.0
MINUTE_S = 60.0
LIMIT = 120
_HISTORY_FROM_S = 23 * HOUR_S
_HISTORY_OVER_S = 12 * HOUR_S
_SHORT = (2.0, 6.0, 60.0)


def no_content(_run: SimRun, _rng: object) -> RunContent:
    """Nothing but what a list shows."""
    return RunContent()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """So many agents of one workspace, and how many runs each of them has and gets."""

    count: int = 1
    runs_per_hour: float = 0.0
    duration_s: tuple[float, float, float] = _SHORT
    write_content: ContentWriter = no_content

    def profile(self, runs_per_hour: float) -> RunProfile:
        return RunProfile(
            runs_per_hour=runs_per_hour,
            duration_s=self.duration_s,
            dispositions={"resolved": 9, None: 1},
            write_content=self.write_content,
        )

    def scenario(self, start_ns: int) -> Scenario:
        """The workspace with its agents; runs arrive from `start_ns` on, if any do."""
        return Scenario(
            workspaces=[SimWorkspace(WORKSPACE, "Benchmark")],
            agents=[self._agent(number, start_ns) for number in range(self.count)],
            tokens={TOKEN: (WORKSPACE,)},
        )

    def _agent(self, number: int, start_ns: int) -> SimAgent:
        agent_id = agent_id_of(number)
        runs = None
        if self.runs_per_hour:
            runs = GeneratedRuns(
                agent_id=agent_id,
                seed=number,
                start_ns=start_ns,
                profile=self.profile(self.runs_per_hour),
            )
        return SimAgent(id=agent_id, workspace_id=WORKSPACE, name=f"Agent {number}", runs=runs)


def agent_id_of(number: int) -> str:
    """The id of an agent by its place."""
    return f"ag77{number:028d}"


def place_history(conduit: SimulatedConduit, agents: Agents, *, runs: int, now_ns: int) -> None:
    """Give the agents exactly `runs` runs in all, ended well before now and within 24 hours."""
    for number in range(agents.count):
        share = runs // agents.count + (number < runs % agents.count)
        source = GeneratedRuns(
            agent_id=agent_id_of(number),
            seed=1_000_000 + number,
            start_ns=now_ns - round(_HISTORY_FROM_S * 1e9),
            profile=agents.profile(max(1.0, share / (_HISTORY_OVER_S / HOUR_S))),
        )
        for _ in range(share):
            (arrival,) = source.arrivals(source.next_ns)
            conduit.data.add_run(source.run(arrival.number), source.content(arrival.number))


@dataclass(slots=True)
class Watch:
    """What was asked of a simulated Conduit, by purpose; in the way of no request."""

    asked: Counter[str] = field(default_factory=Counter)

    def over(self, conduit: SimulatedConduit) -> None:
        """Look at every request from now on."""
        conduit.faults.place(_never, when=self._note)

    def _note(self, request: SimRequest) -> bool:
        self.asked[_purpose(request)] += 1
        return False


@dataclass(slots=True)
class Stretch:
    """A stretch of simulated time that is measured, after the world has settled."""

    seconds: float
    requests: int
    traces: int
    asked: Counter[str]
    traces_each_minute: list[int]
    count_delays: list[float]
    trace_delays: list[float]
    refused: int
    in_flight_served: int


def delivered(world: World) -> int:
    """How many traces the backend has acknowledged."""
    return int(world.sums().get(families.TRACES_DELIVERED, 0))


def open_world(
    folder: Path, agents: Agents, *, history: int = 0, budget: int = 90, poll: str = "15s"
) -> World:
    """A world with these agents under the documented limit of 120 requests a minute."""
    world = World(
        folder,
        scenario=agents.scenario,
        token=TOKEN,
        limit=LIMIT,
        settings={
            "CONDUIT_REQUESTS_PER_MINUTE": str(budget),
            "EXPORTER_POLL_INTERVAL": poll,
            "EXPORTER_LOOKBACK": "24h",
        },
    )
    if history:
        place_history(world.conduit, agents, runs=history, now_ns=world.clock.now_ns())
    return world


def measure_stretch(world: World, *, warm_s: float, seconds: float) -> Stretch:
    """Let a world run, and look at a stretch of it."""
    watch = Watch()
    watch.over(world.conduit)

    async def script(_: World) -> Stretch:
        await world.sleep(warm_s)
        requests, traces = world.conduit.asked.total, delivered(world)
        asked = watch.asked.copy()
        world.count_delays.clear()
        world.trace_delays.clear()
        minutes = [traces]
        for _minute in range(round(seconds / MINUTE_S)):
            await world.sleep(MINUTE_S)
            minutes.append(delivered(world))
        return Stretch(
            seconds=seconds,
            requests=world.conduit.asked.total - requests,
            traces=minutes[-1] - traces,
            asked=watch.asked - asked,
            traces_each_minute=[after - before for before, after in pairwise(minutes)],
            count_delays=list(world.count_delays),
            trace_delays=list(world.trace_delays),
            refused=world.conduit.asked.over_limit.total(),
            in_flight_served=world.conduit.asked.runs_served_in_flight.total(),
        )

    stretch: Stretch = world.run(script)
    return stretch


def run_pass(world: World) -> None:
    """What the command `once` does: read all that is visible, deliver it, end."""

    async def one_pass() -> None:
        exporter = world.exporter = world.open(once=True)
        stop = asyncio.Event()
        delivery = exporter.delivery
        assert delivery is not None  # noqa: S101 - a world has a backend
        delivering = asyncio.create_task(delivery.run(stop))
        await exporter.sync.run_pass()
        stop.set()
        await delivering
        await delivery.drain(deadline_s=HOUR_S)
        await exporter.close()

    loop = VirtualLoop(world.seed)
    world.clock.begin(loop)
    try:
        run_virtually(loop, one_pass())
    finally:
        world.clock.end()


def _never(_request: SimRequest, truthful: Truthful) -> SimResponse:
    return truthful()


def _purpose(request: SimRequest) -> str:
    if request.endpoint is Endpoint.RUN:
        return "detail"
    if request.endpoint is not Endpoint.RUNS:
        return "directory"
    if "status" in request.query:
        return "sweep"
    return "head" if request.cursor is None else "page"
