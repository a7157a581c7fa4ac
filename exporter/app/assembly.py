"""Joins the stages into one exporter, from settings and the handed-in world.

Everything real (clock, randomness, transports, threads) comes in as an argument, so that the same
assembly runs as a daemon, as one pass, and in a simulation.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import partial

import httpx

from exporter.app.adapters import convert_options, open_client, open_ledger, scope_of
from exporter.app.exemplars import ExemplarBook
from exporter.app.outbox import LedgerOutbox
from exporter.app.sources import exporter_samples, run_samples
from exporter.clock import Clock, ConduitTime
from exporter.conduit.models import Run
from exporter.delivery.senders import Sender
from exporter.delivery.service import DeliveryService
from exporter.ledger.gate import Executor, LedgerGate
from exporter.ledger.records import StoredTrace
from exporter.ledger.totals import Family
from exporter.metrics.catalogue import RUN_DURATION, RUN_PRICE
from exporter.metrics.collector import Metrics
from exporter.metrics.instruments import Instruments
from exporter.metrics.labels import LabelLimiter
from exporter.settings.model import Settings
from exporter.sync.discovery import Discovery, Scope
from exporter.sync.policy import RunPolicy, TracePolicy
from exporter.sync.reading import AgentReader
from exporter.sync.reconcile import Reconciler
from exporter.sync.recording import Recorder
from exporter.sync.retention import Retention
from exporter.sync.service import SyncService, shard_of
from exporter.sync.state import AgentState, WorkspaceState
from exporter.sync.workspace import SyncParts


class Exporter:
    """All stages of one exporter, joined and not yet started.

    Opens the ledger: raises LedgerError where it cannot be used. `sender` None: no traces leave.
    `transport` None: the network. `scope` stands in for what the settings say is to be read; with
    `once` no list is read twice.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        rng: random.Random,
        sender: Sender | None,
        executor: Executor,
        transport: httpx.AsyncBaseTransport | None = None,
        scope: Scope | None = None,
        once: bool = False,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.started_ns = clock.now_ns()
        self.time = ConduitTime(clock)
        self.traces_acknowledged = 0
        self.exemplars = ExemplarBook()
        self.ledger = open_ledger(settings, now_ns=self.started_ns, today=self.today)
        self.gate = LedgerGate(self.ledger, executor=executor, clock=clock, rng=rng)
        self.metrics = Metrics()
        self.instruments = Instruments(registry=self.metrics.registry)
        self.client = open_client(
            settings, clock=clock, instruments=self.instruments, transport=transport
        )
        self.delivery = None if sender is None else self._delivery(sender, rng)
        self._discovery = Discovery(
            client=self.client,
            gate=self.gate,
            clock=clock,
            time=self.time,
            scope=scope or scope_of(settings),
            requests_per_minute=settings.requests_per_minute,
            once=once,
        )
        recorder = Recorder(
            gate=self.gate,
            policy=self._policy(traces=sender is not None),
            instruments=self.instruments,
            on_traced=self._traced,
            clock=clock,
            time=self.time,
            outbox_limit_bytes=settings.outbox_limit_bytes,
        )
        self.sync = SyncService(
            client=self.client,
            parts=SyncParts(
                gate=self.gate,
                reader=AgentReader(
                    client=self.client,
                    recorder=recorder,
                    clock=clock,
                    time=self.time,
                    poll_interval_s=settings.poll_interval_s,
                ),
                recorder=recorder,
                discovery=self._discovery,
                instruments=self.instruments,
                clock=clock,
                time=self.time,
                rng=rng,
                poll_interval_s=settings.poll_interval_s,
                once=once,
            ),
            workspaces=settings.workspaces,
            requests_per_minute=settings.requests_per_minute,
            shard=settings.shard,
            total_shards=settings.total_shards,
        )
        self.reconciler = Reconciler(
            client=self.client, gate=self.gate, recorder=recorder, clock=clock, rng=rng
        )
        self.retention = Retention(
            gate=self.gate,
            clock=clock,
            time=self.time,
            retention_s=settings.retention_s,
            lookback_s=settings.lookback_s,
        )
        self.metrics.add_source("runs", partial(run_samples, self))
        self.metrics.add_source("exporter", partial(exporter_samples, self))

    def workspaces(self) -> Mapping[str, WorkspaceState]:
        """The live state of every workspace."""
        return self._discovery.workspaces

    def agents(self) -> list[AgentState]:
        """The live state of every agent."""
        return [one for state in self.workspaces().values() for one in state.agents.values()]

    def missing_agents(self) -> list[str]:
        """The ids of agents that the settings name and no workspace lists."""
        if not all(one.discovered for one in self.workspaces().values()):
            return []
        return self.sync.missing_agents()

    def not_ready(self) -> list[str]:
        """The reasons against being ready, a sentence each."""
        return list(self._reasons())

    def today(self) -> date:
        """The present day of the configured calendar."""
        return datetime.fromtimestamp(self.time.now_ns() / 1e9, self.settings.timezone).date()

    def period_costs(self) -> Mapping[int, tuple[Decimal, Decimal]]:
        """Cost of the present day and month by agent number, exact."""
        today = self.today().isoformat()
        costs: defaultdict[int, tuple[Decimal, Decimal]] = defaultdict(
            lambda: (Decimal(0), Decimal(0))
        )
        for (day, agent_no), value in list(self.ledger.day_costs.items()):
            if day[:7] == today[:7] and day <= today:
                of_day, of_month = costs[agent_no]
                costs[agent_no] = (of_day + value if day == today else of_day, of_month + value)
        return costs

    def budget_usd(self, workspace_id: str) -> Decimal | None:
        """What a workspace may cost in a month; None where nothing is set."""
        budgets = self.settings.monthly_budget_usd
        return budgets.get(workspace_id, budgets.get(""))

    def unknown_budgets(self) -> list[str]:
        """The workspaces that the settings give a budget and this instance does not find."""
        settings = self.settings
        if not self.sync.discovered:
            return []
        return sorted(
            one
            for one in settings.monthly_budget_usd.keys() - {"", *self.workspaces()}
            if shard_of(one, settings.total_shards) == settings.shard
        )

    async def close(self) -> None:
        """Close connections and the ledger."""
        await self.client.aclose()
        if self.delivery is not None:
            await self.delivery.aclose()
        await self.gate.close()

    def _traced(self, agent_no: int, run: Run, trace_id: bytes) -> None:
        """The trace of a run was written into the outbox."""
        self.exemplars.traced(agent_no, run, trace_id)
        if self.delivery is not None:
            self.delivery.notify()

    def _delivered(self, traces: list[StoredTrace], now_ns: int) -> None:
        """The trace backend acknowledged traces."""
        self.traces_acknowledged += len(traces)
        for trace in traces:
            self.exemplars.delivered(trace.trace_id)
            if trace.ended_ns is not None:
                self.instruments.delivered((now_ns - trace.ended_ns) / 1e9)
        self.sync.wake()

    def _delivery(self, sender: Sender, rng: random.Random) -> DeliveryService:
        return DeliveryService(
            outbox=LedgerOutbox(self.gate, content=self.settings.capture_content),
            sender=sender,
            clock=self.clock,
            rng=rng,
            on_delivered=self._delivered,
            on_attempt=self.instruments.delivery_attempt,
        )

    def _policy(self, *, traces: bool) -> RunPolicy:
        settings = self.settings
        limit_tool = LabelLimiter(
            settings.max_label_values,
            known=self.ledger.labels_of(Family.TOOL_CALLS),
            on_overflow=lambda: self.instruments.label_overflowed("tool"),
        )
        return RunPolicy(
            traces=TracePolicy(
                enabled=traces,
                detail=settings.trace_detail,
                sample_ratio=settings.trace_sample_ratio,
                sample_always=settings.trace_always,
            ),
            options=convert_options(settings),
            limit_tool=limit_tool,
            duration_bucket=RUN_DURATION.bucket_of,
            price_bucket=RUN_PRICE.bucket_of,
            timezone=settings.timezone,
        )

    def _reasons(self) -> Iterator[str]:
        if self.gate.fault is not None:
            yield f"The ledger cannot be written: {self.gate.fault}"
        if not self.workspaces() and not (self.sync.discovered and self.sync.trouble is None):
            yield f"No workspace is known yet{_because(self.sync.trouble)}"
        for workspace in self.workspaces().values():
            because = _because(workspace.last_error if workspace.up is False else None)
            if not workspace.discovered and not workspace.agents:
                yield f"The agents of workspace {workspace.id} are not known yet{because}"
            agents = workspace.agents.values()
            unread = sum(agent.holds_up_readiness for agent in agents)
            if unread:
                yield (
                    f"The first scan of {unread} of {len(agents)} agents of workspace "
                    f"{workspace.id} is not complete{because}"
                )
        for agent_id in self.missing_agents():
            yield f"Agent {agent_id} is configured, but no workspace of this token lists it"


def _because(trouble: str | None) -> str:
    return "" if trouble is None else f": {trouble}"
