"""How soon the pages answer from a ledger with a million runs; over a real socket, in one process.

The ledger is made by SQL: a week of runs of twenty agents, failures rare, every run with a trace.
"""

import asyncio
import random
import statistics
import tempfile
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from bench.figures import Figure, at_most
from exporter.app.assembly import Exporter
from exporter.app.daemon import in_thread
from exporter.app.website import open_website
from exporter.clock import SystemClock
from exporter.conduit.models import Agent, Workspace
from exporter.ledger.ledger import Ledger
from exporter.ledger.records import AgentProgress
from exporter.settings.loading import load
from exporter.sync.budget import RequestBudget
from exporter.sync.state import AgentState, WorkspaceState

_AGENTS: Final = 20
_TRACE_FILE: Final = Path(__file__).parent.parent / "tests/fixtures/rich_run.binpb"
_WEEK_NS: Final = 7 * 86_400 * 1_000_000_000
_ROUNDS: Final = 15
_PATHS: Final = {
    "/": "/",
    "/runs": "/runs",
    "/runs of an agent's failures": "/runs?agent=ag7&status=failed",
    "/runs of a disposition that no run has": "/runs?disposition=proactive",
    "/runs, 50 of the middle": "/runs?before={middle}",
    "/runs/<agent>/<run>": "/runs/ag7/ar1000007",
}
_RUNS: Final = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :runs)
INSERT INTO run (no, agent_no, id, counted, trace, priority, named, status, disposition,
    created_ns, ended_ns, duration_ns, input_tokens, output_tokens, cost_usd, conversation_id,
    tool_calls, tool_errors, fingerprint)
SELECT i, i % :agents + 1, 'ar' || (1000000 + i), 1, 3, 1, 0,
    iif(i % 20000 < 20, 'failed', 'completed'),
    CASE WHEN i % 20000 < 20 THEN 'none' WHEN i % 10 = 0 THEN 'escalated' ELSE 'resolved' END,
    :now - (:runs - i) * :step - 20000000000, :now - (:runs - i) * :step, 20000000000, 1000, 100,
    '0.0123', 'cv' || (i / 3), 2, 0, i FROM n
"""
_TRACES: Final = """
INSERT INTO trace (run_no, trace_id, spans, size, payload, written_ns, settled_ns)
SELECT no, randomblob(16), 3, 100, :payload, ended_ns, ended_ns FROM run
"""


def measure_pages(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - one shape for all
    """Ask each page again and again; the median."""
    runs = 20_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        for name, milliseconds in asyncio.run(_measure(Path(folder) / "ledger.db", runs)).items():
            yield Figure(
                what=f"{name} with {runs:,} runs in the ledger",
                measured=milliseconds,
                unit="ms",
                bound=None if quick else at_most(50),
            )


async def _measure(path: Path, runs: int) -> dict[str, float]:
    settings = load(
        {
            "CONDUIT_API_TOKEN": "token",
            "EXPORTER_LEDGER": f"sqlite:///{path}",
            "EXPORTER_LISTEN": "127.0.0.1:0",
        }
    )
    with ThreadPoolExecutor(max_workers=1) as pool:
        exporter = Exporter(
            settings,
            clock=SystemClock(),
            rng=random.Random(1),
            sender=None,
            executor=in_thread(pool),
        )
        website = open_website(exporter)
        try:
            _fill(exporter, runs)
            await website.start()
            return await _ask(website.url, middle=_middle(exporter, runs))
        finally:
            await website.stop()
            await exporter.close()


def _fill(exporter: Exporter, runs: int) -> None:
    """Put agents into the exporter and runs into its ledger."""
    workspace = WorkspaceState(
        id="ws1", name="Benchmark", budget=RequestBudget(requests_per_minute=90)
    )
    exporter.workspaces()["ws1"] = workspace  # type: ignore[index]  # nobody runs it
    for no in range(_AGENTS):
        agent = Agent(f"ag{no}", "ws1", f"Agent {no}")
        (progress,) = exporter.ledger.transact([partial(_put, agent=agent)])
        workspace.agents[agent.id] = AgentState(progress=progress)
    connection = exporter.ledger.history._db  # noqa: SLF001 - no other may open the file
    values = {
        "runs": runs,
        "agents": _AGENTS,
        "now": exporter.clock.now_ns(),
        "step": _WEEK_NS // runs,
        "payload": zlib.compress(_TRACE_FILE.read_bytes()),
    }
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.execute(_RUNS, values)
    connection.execute(_TRACES, values)
    connection.execute("COMMIT")


def _put(ledger: Ledger, *, agent: Agent) -> AgentProgress:
    ledger.agents.put_workspace(Workspace("ws1", "Benchmark"))
    return ledger.runs.progress(ledger.agents.put_agent(agent, floor_ns=0).no)


def _middle(exporter: Exporter, runs: int) -> str:
    return f"{exporter.clock.now_ns() - _WEEK_NS // 2}.{runs // 2}"


async def _ask(url: str, *, middle: str) -> dict[str, float]:
    found: dict[str, float] = {}
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        for name, path in _PATHS.items():
            times = []
            for _ in range(_ROUNDS):
                began = time.perf_counter()
                (await client.get(path.format(middle=middle))).raise_for_status()
                times.append((time.perf_counter() - began) * 1000)
            found[name] = statistics.median(times)
    return found
