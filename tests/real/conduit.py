"""A simulated Conduit behind real HTTP, in a thread of the test's process, and what is true in it.

Its data belong to that thread: a test reads and changes them through `call`.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self, TypeVar

from exporter.clock import SystemClock
from exporter.conduit.decoding import decode_json
from exporter.conduit.models import RunDetail, parse_run_detail
from exporter.simulator.data import Scenario, SimAgent, SimWorkspace
from exporter.simulator.hotel import DEMO_TOKEN, hospitality
from exporter.simulator.runs import RunContent, SimRun
from exporter.simulator.server import serve
from tests.simulation.conduit import ScriptedConduit, Truth

T = TypeVar("T")

EXAMPLE = Path(__file__).parent.parent / "fixtures" / "run_example.json"
EXAMPLE_AGENT_NAME = "Front desk"
START_S = 10.0
# Tests are about what is asked, not about how fast: the limit is out of the way.
REQUESTS_PER_MINUTE = 1_000_000


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended, as get-run shows it, and the name of its agent."""

    agent_name: str
    detail: RunDetail


class Conduit:
    """Serves a scenario from entering the context to leaving it; its time passes unless frozen."""

    def __init__(self, scenario: Callable[[int], Scenario]) -> None:
        self.token = DEMO_TOKEN
        self.base_url = ""
        self._frozen_ns: int | None = None
        self._frozen_for_ns = 0
        self._clock = SystemClock()
        self._simulated = ScriptedConduit(
            now_ns=self._now_ns,
            scenario=scenario(self._clock.now_ns()),
            requests_per_minute=REQUESTS_PER_MINUTE,
        )
        self._loop = asyncio.new_event_loop()
        self._server = contextlib.AsyncExitStack()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="simulated Conduit", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self._serve(port=0))
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._server.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)
        assert not self._thread.is_alive(), "the simulated Conduit does not end"
        self._loop.close()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Meanwhile nobody listens at its port; its data stay, and change by hand."""
        self._await(self._server.aclose())
        yield
        self._await(self._serve(port=self.port))

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    def call(self, action: Callable[[ScriptedConduit], T]) -> T:
        """Do something with the simulation between two of its requests."""

        async def act() -> T:
            return action(self._simulated)

        return self._await(act())

    def freeze(self) -> None:
        """Let no more time pass: nothing arrives or ends any more, and the truth stands still."""
        self.call(lambda _: self._freeze())

    def thaw(self) -> None:
        """Let time pass again, from where it was frozen."""
        self.call(lambda _: self._thaw())

    def add_run(self, run: SimRun, content: RunContent | None = None) -> None:
        """Place a run by hand; its id must be new."""
        self.call(lambda conduit: conduit.data.add_run(run, content))

    def truth(self, *, created_from_ns: int = 0) -> Truth:
        """Exact sums over the runs that have ended, tool calls included."""
        return self.call(
            lambda conduit: conduit.data.truth(created_from_ns=created_from_ns, with_tools=True)
        )

    def ended_runs(self) -> list[EndedRun]:
        """Every run that has ended, read from the JSON of its get-run answer; asks no request."""
        return self.call(lambda conduit: list(_ended_runs(conduit)))

    def requests(self) -> int:
        """How many requests it was asked so far."""
        return self.call(lambda conduit: conduit.asked.total)

    def fetched_twice(self) -> dict[str | None, int]:
        """Ended runs whose get-run answer was given more than once."""
        return self.call(lambda conduit: conduit.asked.fetched_twice)

    def _freeze(self) -> None:
        self._frozen_ns = self._now_ns()

    def _thaw(self) -> None:
        self._frozen_for_ns += self._clock.now_ns() - self._frozen_for_ns - self._now_ns()
        self._frozen_ns = None

    def _now_ns(self) -> int:
        if self._frozen_ns is not None:
            return self._frozen_ns
        return self._clock.now_ns() - self._frozen_for_ns

    async def _serve(self, *, port: int) -> None:
        self.base_url = await self._server.enter_async_context(serve(self._simulated, port=port))

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(START_S)


def hotel(*, rate: float, history_s: float, seed: int = 1) -> Callable[[int], Scenario]:
    """The demo's hotel group, and the workspace of the documented example with its one run."""

    def make(start_ns: int) -> Scenario:
        group = hospitality(seed=seed, start_ns=start_ns, history_s=history_s, rate=rate)
        row = example_row()
        workspace = SimWorkspace(row["workspace_id"], "Documentation")
        agent = SimAgent(id=row["agent_id"], workspace_id=workspace.id, name=EXAMPLE_AGENT_NAME)
        return Scenario(
            workspaces=[*group.workspaces, workspace],
            agents=[*group.agents, agent],
            tokens={DEMO_TOKEN: (*group.tokens[DEMO_TOKEN], workspace.id)},
        )

    return make


def quiet(start_ns: int) -> Scenario:
    """One workspace with one agent, that of the documented example, and no run."""
    del start_ns
    row = example_row()
    return Scenario(
        workspaces=[SimWorkspace(row["workspace_id"], "Documentation")],
        agents=[
            SimAgent(id=row["agent_id"], workspace_id=row["workspace_id"], name=EXAMPLE_AGENT_NAME)
        ],
        tokens={DEMO_TOKEN: (row["workspace_id"],)},
    )


def example_row() -> Any:
    """The documented example run as JSON."""
    return json.loads(EXAMPLE.read_text(), parse_float=Decimal)["data"]


def _ended_runs(conduit: ScriptedConduit) -> Iterator[EndedRun]:
    data = conduit.data
    for run in data.ended_runs():
        agent = data.agent(run.agent_id).agent
        detail = parse_run_detail(
            decode_json(data.whole(run.id)), workspace_id=agent.workspace_id, agent_id=agent.id
        )
        assert isinstance(detail, RunDetail), detail
        yield EndedRun(agent.name, detail)
