"""A simulated Conduit as a process of its own; each of its runs has five tool calls.

Sets no rate limit: what is measured is how the exporter keeps to its own.
"""

import asyncio
import json
import random
import signal
from pathlib import Path
from typing import Final

import click

from exporter.clock import SystemClock
from exporter.simulator.conduit import SimulatedConduit
from exporter.simulator.data import Scenario, SimAgent, SimulatedData, SimWorkspace
from exporter.simulator.generator import GeneratedRuns, RunProfile
from exporter.simulator.hotel import GUESTS, TOOLS, reflection_on, reply_to
from exporter.simulator.runs import SECOND_NS, RunContent, SimRun
from exporter.simulator.server import serve

TOKEN: Final = "bench-token"  # noqa: S105 - opens nothing but the simulation
_NO_LIMIT: Final = 1_000_000
_CALLED: Final = (
    "search_kb",
    "get_reservation",
    "check_availability",
    "create_ticket",
    "send_message",
)


def five_calls(run: SimRun, rng: random.Random) -> RunContent:
    """The content of a run that answered a guest with five tool calls."""
    guest = rng.choice(GUESTS)
    items = [
        {
            "name": name,
            "input": TOOLS[name].takes(guest, rng),
            "output": TOOLS[name].gives(guest, rng),
        }
        for name in _CALLED
    ]
    return RunContent(
        session_id=f"sess_{rng.randrange(1 << 24):06x}",
        disposition_reason="answered_from_knowledge",
        response=reply_to(guest, run.disposition, rng),
        reflection=reflection_on(guest, rng),
        tool_trace=json.dumps(items, ensure_ascii=False),
        tools=tuple((name, False) for name in _CALLED),
    )


def scenario(
    *, now_ns: int, workspaces: int, agents: int, per_hour: float, history_s: float
) -> Scenario:
    """So many agents, spread over workspaces, that get so many runs an hour each."""
    start_ns = now_ns - round(history_s * SECOND_NS)
    profile = RunProfile(
        runs_per_hour=per_hour,
        duration_s=(2.0, 4.0, 8.0),
        dispositions={"resolved": 80, "escalated": 8, "no_op": 8, None: 4},
        write_content=five_calls,
    )
    names = [f"j57{number:028d}" for number in range(workspaces)]
    members = [
        SimAgent(
            id=agent_id,
            workspace_id=names[number % workspaces],
            name=f"Agent {number}",
            runs=GeneratedRuns(agent_id=agent_id, seed=1, start_ns=start_ns, profile=profile)
            if per_hour
            else None,
        )
        for number, agent_id in enumerate(map(_agent_id, range(agents)))
    ]
    return Scenario(
        workspaces=[SimWorkspace(name, f"Workspace {name[-3:]}") for name in names],
        agents=members,
        tokens={TOKEN: tuple(names)},
    )


def _agent_id(number: int) -> str:
    return f"ag77{number:028d}"


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--workspaces", default=1)
@click.option("--agents", default=6)
@click.option("--per-hour", default=0.0, help="Runs an hour of each agent.")
@click.option("--history", "history_s", default=0.0, help="Seconds of runs there at the start.")
@click.option("--ids", type=click.Path(path_type=Path), help="End the arrivals; list runs there.")
def main(
    port: int, *, workspaces: int, agents: int, per_hour: float, history_s: float, ids: Path | None
) -> None:
    """Serve until SIGTERM."""
    clock = SystemClock()
    conduit = SimulatedConduit(
        SimulatedData(
            now_ns=clock.now_ns,
            scenario=scenario(
                now_ns=clock.now_ns(),
                workspaces=workspaces,
                agents=agents,
                per_hour=per_hour,
                history_s=history_s,
            ),
        ),
        requests_per_minute=_NO_LIMIT,
    )
    if ids is not None:
        conduit.data.stop_arrivals()
        names = [_agent_id(number) for number in range(agents)]
        lines = [f"{name}/{run_id}\n" for name in names for run_id in conduit.data.run_ids(name)]
        ids.write_text("".join(lines))
    asyncio.run(_serve(conduit, port))


async def _serve(conduit: SimulatedConduit, port: int) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with serve(conduit, port=port):
        await told.wait()


if __name__ == "__main__":
    main()
