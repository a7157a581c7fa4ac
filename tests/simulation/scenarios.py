"""Who there is in a simulated account: agents by the number, busy and idle, in workspaces."""

from collections.abc import Callable
from random import Random

from exporter.simulator.data import Scenario, SimAgent, SimWorkspace
from exporter.simulator.generator import RunProfile
from exporter.simulator.runs import RunContent, SimRun
from tests.simulation.conduit import Disorder, DisorderlyRuns

MINUTE_S = 60.0
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
TOKEN = "token"
ORDINARY = Disorder()
METRICS_ALONE = {"OTEL_TRACES_EXPORTER": "none"}
# Settings under which a hundred traces fill the outbox.
LARGE_TRACES = {
    "EXPORTER_OUTBOX_LIMIT": "1MiB",
    "OTEL_RESOURCE_ATTRIBUTES": f"padding={Random(1).randbytes(12_000).hex()}",
}


def workspace_id(number: int = 0) -> str:
    """The id of a workspace by its place."""
    return f"j57sim{number}"


def agent_id(number: int = 0) -> str:
    """The id of an agent by its place."""
    return f"ag77{number:028d}"


def agents(
    count: int = 1,
    *,
    per_hour: float = 60,
    idle: int = 0,
    idle_per_hour: float = 0,
    workspaces: int = 1,
    history_s: float = 0,
    disorder: Disorder = ORDINARY,
    duration_s: tuple[float, float, float] = (2.0, 6.0, 60.0),
    created_step_ms: int = 1,
) -> Callable[[int], Scenario]:
    """`count` agents that get so many runs an hour each, then `idle` ones, over workspaces."""

    def content(_run: SimRun, _rng: Random) -> RunContent:
        return RunContent()

    def agent(number: int, start_ns: int) -> SimAgent:
        rate = per_hour if number < count else idle_per_hour
        runs = None
        if rate:
            runs = DisorderlyRuns(
                disorder=disorder,
                created_step_ms=created_step_ms,
                agent_id=agent_id(number),
                seed=number,
                start_ns=start_ns - round(history_s * 1e9),
                profile=RunProfile(
                    runs_per_hour=rate,
                    duration_s=duration_s,
                    write_content=content,
                    dispositions={"resolved": 8, "escalated": 1, None: 1},
                ),
            )
        return SimAgent(
            id=agent_id(number),
            workspace_id=workspace_id(number % workspaces),
            name=f"Agent {number}",
            runs=runs,
        )

    def make(start_ns: int) -> Scenario:
        names = [workspace_id(number) for number in range(workspaces)]
        return Scenario(
            workspaces=[SimWorkspace(name, name) for name in names],
            agents=[agent(number, start_ns) for number in range(count + idle)],
            tokens={TOKEN: tuple(names)},
        )

    return make
