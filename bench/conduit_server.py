"""A simulated Conduit as a process of its own: agents whose runs have all ended, no rate limit.

Each run has exactly five tool calls of the documented shape. On SIGTERM it writes what it was asked
to a file, so that whoever started it can tell which requests were made.
"""

import asyncio
import json
import random
import signal
from pathlib import Path

import click
from exporter.simulator.answers import Endpoint
from exporter.simulator.guests import GUESTS, reflection_on, reply_to
from exporter.simulator.tools import TOOLS

from bench.worlds import Agents, place_history
from exporter.clock import SystemClock
from exporter.simulator.conduit import SimulatedConduit
from exporter.simulator.runs import RunContent, SimRun
from exporter.simulator.server import serve

NO_LIMIT = 1_000_000
_CALLED = ("search_kb", "get_reservation", "check_availability", "create_ticket", "send_message")


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


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--agents", default=1)
@click.option("--runs", default=0)
@click.option("--ids", type=click.Path(path_type=Path), help="Write `agent/run` lines there.")
@click.option("--asked", type=click.Path(path_type=Path), help="Write the counts there at the end.")
def main(port: int, *, agents: int, runs: int, ids: Path | None, asked: Path | None) -> None:
    """Serve until SIGTERM."""
    clock = SystemClock()
    described = Agents(count=agents, write_content=five_calls)
    conduit = SimulatedConduit(
        now_ns=clock.now_ns,
        scenario=described.scenario(clock.now_ns()),
        requests_per_minute=NO_LIMIT,
    )
    place_history(conduit, described, runs=runs, now_ns=clock.now_ns())
    if ids is not None:
        ids.write_text(
            "".join(
                f"{agent_id}/{run_id}\n"
                for agent_id in conduit.data.agents
                for run_id in conduit.data.run_ids(agent_id)
            )
        )
    asyncio.run(_serve(conduit, clock, port))
    if asked is not None:
        counts = conduit.asked.requests
        asked.write_text(json.dumps({one.name: counts[one] for one in Endpoint}))


async def _serve(conduit: SimulatedConduit, clock: SystemClock, port: int) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with serve(conduit, port=port):
        await told.wait()


if __name__ == "__main__":
    main()
