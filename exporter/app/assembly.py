"""Joins the stages into one exporter, from settings and the handed-in world.

Everything real (clock, randomness, transports, threads) comes in as an argument, so that the same
assembly runs as a daemon, as one pass, and in a simulation.
"""

import random
from collections.abc import Mapping
from typing import Final

import httpx

from exporter import __version__
from exporter.app.exemplars import ExemplarBook
from exporter.app.outbox import LedgerOutbox
from exporter.app.readings import ExporterReadings, RunReadings
from exporter.app.revision import revision
from exporter.clock import Clock
from exporter.conduit.client import ConduitClient
from exporter.conduit.token import TokenSource
from exporter.convert.trace import ConvertOptions
from exporter.delivery.outbox import PendingTrace
from exporter.delivery.senders import Sender
from exporter.delivery.service import DeliveryService
from exporter.ledger import families
from exporter.ledger.database import Database
from exporter.ledger.gate import Executor, LedgerGate
from exporter.ledger.ledger import Ledger
from exporter.metrics.catalogue import RUN_DURATION
from exporter.metrics.collector import new_registry
from exporter.metrics.instruments import Instruments
from exporter.metrics.labels import LabelLimiter
from exporter.models import Run
from exporter.settings.model import Settings
from exporter.sync.comparison import Comparison
from exporter.sync.policy import RunPolicy, TracePolicy
from exporter.sync.reading import AgentReader
from exporter.sync.recorder import Recorder
from exporter.sync.retention import Retention
from exporter.sync.roster import Roster, Scope
from exporter.sync.service import SyncService
from exporter.sync.state import WorkspaceState
from exporter.sync.workspace import SyncParts

# Tools and dispositions: what Conduit's data alone could make many.
_TOOL: Final = "tool"
_DISPOSITION: Final = "disposition"


class Exporter:
    """All stages of one exporter, joined and not yet started.

    Opens the ledger: raises LedgerError where it cannot be used. `sender` None: no traces leave.
    `scope` stands in for what the settings say is to be read; with `once` no list is read twice.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        rng: random.Random,
        transport: httpx.AsyncBaseTransport,
        sender: Sender | None,
        executor: Executor,
        scope: Scope | None = None,
        once: bool = False,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.started_ns = clock.now_ns()
        self.traces_acknowledged = 0
        self.ledger = Ledger(
            Database(url=settings.ledger_url.get_secret_value(), base_url=settings.base_url)
        )
        self.gate = LedgerGate(self.ledger, executor=executor, clock=clock, rng=rng)
        self.registry, collector = new_registry()
        self.instruments = Instruments(registry=self.registry)
        self.exemplars = ExemplarBook()
        self.client = ConduitClient(
            base_url=settings.base_url,
            token=token_source(settings),
            transport=transport,
            clock=clock,
            observe=self.instruments.api_request,
        )
        self.delivery = None if sender is None else self._delivery(sender, clock, rng)
        self.sync = self._sync(
            clock, rng, scope=scope or scope_of(settings), once=once, traces=sender is not None
        )
        self.comparison = Comparison(
            source=self.client, gate=self.gate, recorder=self.recorder, clock=clock, rng=rng
        )
        self.retention = Retention(
            gate=self.gate,
            clock=clock,
            retention_s=settings.retention_s,
            lookback_s=settings.lookback_s,
        )
        collector.add_source(
            "runs",
            RunReadings(
                ledger=self.ledger, workspaces=self.workspaces, exemplars=self.exemplars.of
            ),
        )
        collector.add_source(
            "exporter",
            ExporterReadings(
                ledger=self.ledger,
                workspaces=self.workspaces,
                version=__version__,
                revision=revision(),
            ),
        )
        self.collector = collector

    def workspaces(self) -> Mapping[str, WorkspaceState]:
        """The live state of every workspace."""
        return self.sync.workspaces

    async def close(self) -> None:
        """Close connections and the ledger."""
        await self.client.aclose()
        if self.delivery is not None:
            await self.delivery.aclose()
        await self.gate.close()

    # --- what the stages tell ----------------------------------------------------------------

    def watching(self, workspace_id: str) -> None:
        """A workspace is read from now on."""
        self.instruments.expect_workspace(workspace_id)

    def rate_limited(self, workspace_id: str) -> None:
        """Conduit answered 429."""
        self.instruments.rate_limited(workspace_id)

    def counted(self, delay_s: float) -> None:
        """A fresh run was counted."""
        self.instruments.counted(delay_s)

    def traced(self, agent_no: int, run: Run, trace_id: bytes) -> None:
        """The trace of a run was written into the outbox."""
        self.exemplars.traced(agent_no, run, trace_id)
        if self.delivery is not None:
            self.delivery.notify()

    def delivered(self, traces: list[PendingTrace], now_ns: int) -> None:
        """The trace backend acknowledged traces."""
        self.traces_acknowledged += len(traces)
        for trace in traces:
            self.exemplars.delivered(trace.trace_id)
            if trace.ended_ns is not None:
                self.instruments.delivered((now_ns - trace.ended_ns) / 1e9)
        self.sync.wake()

    # --- joining -----------------------------------------------------------------------------

    def _delivery(self, sender: Sender, clock: Clock, rng: random.Random) -> DeliveryService:
        return DeliveryService(
            outbox=LedgerOutbox(self.gate),
            sender=sender,
            clock=clock,
            rng=rng,
            on_delivered=self.delivered,
        )

    def _sync(
        self, clock: Clock, rng: random.Random, *, scope: Scope, once: bool, traces: bool
    ) -> SyncService:
        settings = self.settings
        policy = RunPolicy(
            traces=TracePolicy(
                enabled=traces,
                detail=settings.trace_detail,
                sample_ratio=settings.trace_sample_ratio,
                sample_always=settings.trace_always,
            ),
            options=convert_options(settings),
            bound_tool=self._limiter(_TOOL, families.TOOL_CALLS),
            bound_disposition=self._disposition_limiter(),
            bucket_of=RUN_DURATION.bucket_of,
        )
        recorder = self.recorder = Recorder(
            gate=self.gate, policy=policy, clock=clock, observer=self
        )
        roster = Roster(
            source=self.client,
            gate=self.gate,
            clock=clock,
            scope=scope,
            requests_per_minute=settings.requests_per_minute,
            wants_details=policy.wants_details,
        )
        reader = AgentReader(
            source=self.client,
            recorder=recorder,
            policy=policy,
            clock=clock,
            rng=rng,
            poll_interval_s=settings.poll_interval_s,
            once=once,
        )
        parts = SyncParts(
            gate=self.gate,
            reader=reader,
            roster=roster,
            observer=self,
            clock=clock,
            rng=rng,
            outbox_limit_bytes=settings.outbox_limit_bytes,
        )
        return SyncService(
            source=self.client,
            parts=parts,
            roster=roster,
            clock=clock,
            rng=rng,
            workspaces=settings.workspaces,
            requests_per_minute=settings.requests_per_minute,
        )

    def _limiter(self, label: str, family: str) -> LabelLimiter:
        return LabelLimiter(
            self.settings.max_label_values,
            known=self.ledger.seen_labels(family),
            on_overflow=lambda: self.instruments.label_overflowed(label),
        )

    def _disposition_limiter(self) -> LabelLimiter:
        return LabelLimiter(
            self.settings.max_label_values,
            known=[
                (key.agent_no, key.label2)
                for key, _ in self.ledger.totals.items()
                if key.family == families.RUNS
            ],
            on_overflow=lambda: self.instruments.label_overflowed(_DISPOSITION),
        )


def token_source(settings: Settings) -> TokenSource:
    """Where the token comes from; raises ConfigError for an unusable one."""
    if settings.api_token is not None:
        return TokenSource(text=settings.api_token.get_secret_value())
    return TokenSource(path=settings.api_token_file)


def scope_of(settings: Settings) -> Scope:
    """What the settings ask to be read."""
    return Scope(agents=settings.agents, runs=settings.runs, lookback_s=settings.lookback_s)


def convert_options(settings: Settings) -> ConvertOptions:
    """What the settings decide about traces."""
    host, port = settings.conduit_server
    return ConvertOptions(
        service_name=settings.service_name,
        resource_attributes=settings.resource_attributes,
        tool_timing=settings.tool_timing,
        capture_content=settings.capture_content,
        redact_patterns=settings.redact_patterns,
        server_address=host,
        server_port=port,
    )
