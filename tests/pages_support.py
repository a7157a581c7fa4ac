"""Exporters for the tests of pages: nobody runs them, what they know is put into their ledgers."""

import asyncio
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette

from exporter.app.assembly import Exporter
from exporter.app.website import new_pages
from exporter.conduit.models import Agent, Run, RunDetail, Workspace
from exporter.delivery.outcome import Accepted, Outcome
from exporter.ledger.ledger import Ledger
from exporter.ledger.records import AgentProgress, Coverage, Priority, Settlement, TraceState
from exporter.settings.loading import load
from exporter.sync.budget import RequestBudget
from exporter.sync.requests import Purpose
from exporter.sync.state import AgentState, WorkspaceState
from tests.factories import make_run
from tests.fakes import START_NS, FakeClock, inline

SECOND_NS: Final = 1_000_000_000
HOUR_NS: Final = 3600 * SECOND_NS
TOKEN: Final = "tok_s3cr3t_9f81"
HOSTILE: Final = (
    """<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{ 7*7 }}{% raw %}&amp;"""
)
RTL: Final = "\u0641\u0646\u062f\u0642 \u0627\u0644\u0645\u0631\u0633\u0649 \u202ecba"
TOOLS: Final = ("get_reservation", "search_rooms", "send_message")


class _NoBackend:
    destination: Final = "http://collector:4318/v1/traces"

    async def send(self, payload: bytes) -> Outcome:
        return Accepted()

    async def aclose(self) -> None:
        pass


class Deployment:
    """An exporter whose clock stands still and whose stages do not run."""

    def __init__(self, folder: Path, **settings: str) -> None:
        given = {
            "CONDUIT_API_TOKEN": TOKEN,
            "EXPORTER_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=h3ader-s3cret",
            "EXPORTER_TRACE_LINK": "http://jaeger:16686/trace/{trace_id}",
            **settings,
        }
        self.clock = FakeClock()
        self.exporter = Exporter(
            load(given),
            clock=self.clock,
            rng=random.Random(1),
            sender=_NoBackend(),
            executor=inline,
        )
        self.exporter.sync.discovered = True

    def close(self) -> None:
        """Give the ledger's file back."""
        asyncio.run(self.exporter.close())

    def site(self) -> Starlette:
        """The application that the daemon would serve."""
        return new_pages(self.exporter, users=dict)

    def do(self, work: Callable[[Ledger], Any]) -> Any:
        """Do one work in a transaction of its own."""
        return self.exporter.ledger.transact([work])[0]

    def workspace(self, workspace_id: str = "ws1", name: str = "Harbor Hotels") -> WorkspaceState:
        """A workspace that answers."""
        self.do(lambda one: one.agents.put_workspace(Workspace(workspace_id, name)))
        state = WorkspaceState(
            id=workspace_id, name=name, budget=RequestBudget(requests_per_minute=90)
        )
        state.contacted = state.discovered = True
        self.exporter._discovery.workspaces[workspace_id] = state
        return state

    def agent(
        self,
        agent_id: str = "ag1",
        name: str = "Concierge",
        in_: str = "ws1",
        *,
        counted_from_ns: int = 0,
    ) -> AgentState:
        """An agent that was scanned."""
        workspace = self.exporter.workspaces().get(in_) or self.workspace(in_)

        def work(one: Ledger) -> AgentProgress:
            no = one.agents.put_agent(Agent(agent_id, in_, name), floor_ns=counted_from_ns).no
            one.agents.cover(no, Coverage(frontier_ns=START_NS))
            return one.agents.progress(no)

        state = AgentState(progress=self.do(work), head_read=True)
        state.last_poll_ns = START_NS - 4 * SECOND_NS
        workspace.agents[agent_id] = state
        return state

    def run(
        self,
        agent: AgentState,
        run_id: str = "ar1",
        *,
        tools: tuple[Any, ...] = (),
        trace: TraceState | None = TraceState.DELIVERED,
        reason: str | None = None,
        response: str | None = None,
        **over: Any,
    ) -> Run:
        """A run of an agent that was counted and, unless `trace` is None, fetched."""
        given = {"workspace_id": agent.progress.agent.workspace_id, **over}
        run = make_run(run_id, agent_id=agent.id, **given)
        policy = self.exporter._policy(traces=trace is not None)
        known = agent.progress.agent
        record = policy.record(run, priority=Priority.FRESH, agent=known)
        detail = RunDetail(run=run, tool_trace=tools, response=response)

        def work(one: Ledger) -> AgentProgress:
            one.runs.record_page(
                agent.no, [run], decide=lambda _: record, floor_ns=0, now_ns=START_NS
            )
            if not run.terminal or trace in (None, TraceState.AWAITING_DETAIL):
                return one.agents.progress(agent.no)
            if trace is TraceState.DEAD:
                return one.runs.give_up(
                    agent.no, run_id, reason=reason or "gone", attempts=9, named=False, now_ns=0
                )
            encoded = policy.encode(detail, known)
            one.runs.record_detail(agent.no, record, trace=encoded, now_ns=START_NS - HOUR_NS // 60)
            stored = one.traces.of_run(agent.no, run_id)
            assert stored is not None
            parked = START_NS + HOUR_NS if trace is TraceState.PENDING and reason else None
            if trace is not TraceState.PENDING or parked:
                settlement = Settlement(stored.no, trace, parked_until_ns=parked, reason=reason)
                one.traces.settle(
                    [settlement], now_ns=START_NS, spans_delivered=1, spans_rejected=0
                )
            return one.agents.progress(agent.no)

        agent.update(self.do(work))
        return run


def tool(name: str = "get_reservation", **more: Any) -> dict[str, Any]:
    """An item of a tool trace in its documented form."""
    return {"name": name, "input": {"q": "jane doe"}, "output": {"ok": True}, **more}


def timed(name: str, start_s: float, length_s: float, **more: Any) -> dict[str, Any]:
    """An item of a tool trace that tells its times."""
    start_ms = START_NS // 1_000_000 + round(start_s * 1000)
    return tool(name, started_at=start_ms, ended_at=start_ms + round(length_s * 1000), **more)


def empty(folder: Path) -> Deployment:
    """A first start: nothing is known yet."""
    deployment = Deployment(folder)
    deployment.exporter.sync.discovered = False
    return deployment


def one_run(folder: Path) -> Deployment:
    """One agent, one run, tools without times."""
    deployment = Deployment(folder)
    tools = tuple(tool(name) for name in TOOLS)
    ended: dict[str, Any] = {
        "created_ns": START_NS - 64 * SECOND_NS,
        "completed_ns": START_NS - 60 * SECOND_NS,
    }
    deployment.run(deployment.agent(), tools=tools, conversation_id="cv1", **ended)
    return deployment


def busy(folder: Path, *, failing: bool = False) -> Deployment:
    """Two workspaces, five agents, 160 runs of the last hours; `failing` has all go wrong."""
    deployment = Deployment(folder, EXPORTER_MONTHLY_BUDGET_USD="ws1=4,ws2=1200")
    rng = random.Random(7)
    deployment.workspace("ws1", "Harbor Hotels")
    deployment.workspace("ws2", "Harbor Residences")
    names = ("Concierge", "Guest messaging", "Housekeeping", "Night desk", "Reservations")
    agents = [
        deployment.agent(f"ag_{no}", name, "ws2" if no > 2 else "ws1")
        for no, name in enumerate(names)
    ]
    outcomes = ("resolved",) * 6 + ("escalated", "escalation_and_answer", "unresolved", "no_op")
    for no in range(160):
        at_ns = START_NS - (160 - no) * 61 * SECOND_NS
        length_ns = round(rng.lognormvariate(2.2, 0.8) * 1e9)
        bad = no % 23 == 5 or (failing and rng.random() < 0.6)
        calls = rng.randrange(6)
        start_s = (at_ns - length_ns - START_NS) / 1e9
        part_s = length_ns / 1e9 / (calls + 1)
        made = [
            timed(rng.choice(TOOLS), start_s + part_s * (i + 0.3), part_s * 0.6)
            if no % 2
            else tool(rng.choice(TOOLS), **({"error": "timeout"} if bad and i == 0 else {}))
            for i in range(calls)
        ]
        states: dict[str, Any] = {}
        if no > 154:
            states = {"trace": TraceState.PENDING}
        if failing and no % 11 == 3:
            states = {"trace": TraceState.PENDING, "reason": "401 Unauthorized: the key is wrong"}
        elif failing and no % 29 == 4:
            states = {"trace": TraceState.REJECTED, "reason": "span attribute too long"}
        deployment.run(
            agents[min(int(rng.expovariate(0.6)), 4)],
            f"ar_{rng.randbytes(7).hex()}",
            tools=tuple(made),
            status="failed" if bad else "completed",
            disposition=None if bad else rng.choice(outcomes),
            error="upstream timed out after 30 s" if bad else None,
            duration_ns=length_ns,
            created_ns=at_ns - length_ns,
            completed_ns=at_ns,
            input_tokens=rng.randrange(400, 9000),
            output_tokens=rng.randrange(40, 900),
            cost_usd=None if no % 31 == 2 else Decimal(rng.randrange(100, 90_000)) / 1_000_000,
            conversation_id=f"cv_{no // 3}",
            **states,
        )
    for no in range(3):
        running: dict[str, Any] = {"status": "running", "disposition": None, "completed_ns": None}
        at_ns = START_NS - 40 * (no + 1) * SECOND_NS
        deployment.run(agents[no], f"ar_live{no}", created_ns=at_ns, **running)
    for purpose, requests in (("head", 41), ("detail", 30), ("in_flight", 4), ("agents", 1)):
        for _ in range(requests):
            workspace = deployment.exporter.workspaces()["ws1"]
            workspace.spend(Purpose(purpose), deployment.clock.monotonic_s())
    return deployment


def failing(folder: Path) -> Deployment:
    """The same, and everything that can be wrong is wrong."""
    deployment = busy(folder, failing=True)
    state = deployment.exporter.workspaces()["ws2"]
    state.refusals = 3
    state.last_error = "401 Unauthorized: the token was refused"
    state.last_error_ns = START_NS - 12 * SECOND_NS
    state.rate_limited_ns = START_NS - 300 * SECOND_NS
    night = next(one for one in state.agents.values() if one.name == "Night desk")
    night.last_poll_ns = START_NS - HOUR_NS
    delivery = deployment.exporter.delivery
    assert delivery is not None
    delivery._triage.problem = "503 Service Unavailable"
    delivery.last_error, delivery.last_error_ns = "503 Service Unavailable", START_NS - SECOND_NS
    return deployment


def named(folder: Path, text: str) -> Deployment:
    """Every text from outside is this one."""
    deployment = Deployment(folder, EXPORTER_CAPTURE_CONTENT="true")
    workspace = deployment.workspace(text, text)
    workspace.last_error, workspace.last_error_ns = text, START_NS
    agent = deployment.agent(text, text, text)
    texts: dict[str, Any] = {
        "conversation_id": text,
        "error": text,
        "status": "failed",
        "disposition": text,
    }
    for run_id in (text, "ar2"):
        deployment.run(agent, run_id, tools=(tool(text, error=text),), response=text, **texts)
    deployment.run(agent, "ar3", trace=TraceState.REJECTED, reason=text)
    return deployment


STATES: Final[dict[str, Callable[[Path], Deployment]]] = {
    "empty": empty,
    "one_run": one_run,
    "busy": busy,
    "failing": failing,
    "hostile": lambda folder: named(folder, HOSTILE),
    "rtl": lambda folder: named(folder, RTL),
}
