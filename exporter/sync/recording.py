"""Writes what was learned into the ledger, and takes it over from there into the state.

Knows nothing of requests. Raises LedgerError.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum

from exporter.clock import Clock, ConduitTime
from exporter.conduit.models import Page, Run, RunDetail
from exporter.ledger.gate import LedgerGate
from exporter.ledger.ledger import Ledger
from exporter.ledger.records import (
    AgentProgress,
    Coverage,
    EncodedTrace,
    Priority,
    Recorded,
    RunRecord,
)
from exporter.ledger.totals import Family
from exporter.metrics.instruments import Instruments
from exporter.sync.health import Retry
from exporter.sync.policy import RunPolicy
from exporter.sync.state import AgentState

logger = logging.getLogger("exporter.sync")


class GivenUp(StrEnum):
    """Why a run has no trace although its rows can be read: values of a metric's label."""

    CONVERSION = "conversion"
    GONE = "gone"
    UNAVAILABLE = "unavailable"


class Recorder:
    """Records pages and runs of agents.

    `on_traced` is told of each trace that was written into the outbox: the agent's number, the run
    and the trace's id.
    """

    def __init__(
        self,
        *,
        gate: LedgerGate,
        policy: RunPolicy,
        instruments: Instruments,
        on_traced: Callable[[int, Run, bytes], object],
        clock: Clock,
        time: ConduitTime,
        outbox_limit_bytes: int,
    ) -> None:
        self._gate = gate
        self._policy = policy
        self._instruments = instruments
        self._on_traced = on_traced
        self._clock = clock
        self._time = time
        self._outbox_limit_bytes = outbox_limit_bytes

    @property
    def has_room(self) -> bool:
        """Whether the outbox takes further traces."""
        stored = int(self._gate.ledger.totals.get(Family.OUTBOX_BYTES))
        return stored < self._outbox_limit_bytes

    async def begin(self) -> None:
        """Want no detail that is awaited from when traces were wanted, where they are not."""
        if not self._policy.wants_traces:
            await self._gate.transact(lambda ledger: ledger.runs.forget_awaiting())

    async def page(
        self,
        agent: AgentState,
        page: Page[Run],
        *,
        priority: Priority,
        coverage: Coverage | None = None,
        floor_ns: int | None = None,
    ) -> Recorded:
        """Record a page of runs; runs below `floor_ns` (the agent's) are left alone."""
        has_room = self.has_room

        def decide(run: Run) -> RunRecord:
            decided = self._policy.record(
                run, priority=priority, agent=agent.progress.agent, named=run.id in agent.wanted
            )
            # Counted all the same; its trace is asked for once there is room.
            return decided if has_room else replace(decided, trace=None)

        lowest_ns = agent.progress.agent.floor_ns if floor_ns is None else floor_ns
        now_ns = self._clock.now_ns()
        recorded: Recorded = await self._gate.transact(
            lambda ledger: ledger.runs.record_page(
                agent.no,
                page.rows,
                decide=decide,
                unreadable=page.unreadable,
                coverage=coverage,
                floor_ns=lowest_ns,
                now_ns=now_ns,
            )
        )
        self._learn(agent, recorded)
        for record in recorded.counted:
            if record.trace is not None:
                self._on_traced(agent.no, record.run, record.trace.trace_id)
        return recorded

    async def detail(
        self, agent: AgentState, detail: RunDetail, *, priority: Priority, wanted: bool
    ) -> None:
        """Record what a get-run told, and the trace that it becomes where one is `wanted`.

        The conversion is part of the ledger's work, which keeps it off the event loop: that of
        half a million tool calls takes seconds.
        """
        run, known, now_ns = detail.run, agent.progress.agent, self._clock.now_ns()
        named = run.id in agent.wanted
        record = replace(
            self._policy.record(run, priority=priority, agent=known, named=named), trace=None
        )

        def work(ledger: Ledger) -> tuple[EncodedTrace | None, Recorded]:
            trace, quarantine = None, None
            if run.terminal and (record.traced or wanted):
                try:
                    trace = self._policy.encode(detail, known)
                except Exception:  # a fault of ours with one run must not stop the rest
                    logger.exception("run %s of agent %s could not be converted", run.id, agent.id)
                    quarantine = GivenUp.CONVERSION
            recorded = ledger.runs.record_detail(
                agent.no, record, trace=trace, now_ns=now_ns, quarantine=quarantine
            )
            return trace, recorded

        trace, recorded = await self._gate.transact(work)
        self._learn(agent, recorded)
        if trace is not None:
            self._on_traced(agent.no, run, trace.trace_id)

    async def known(self, agent: AgentState, run_ids: Sequence[str]) -> dict[str, bool]:
        """Those of these runs that were ever seen, and whether each is counted."""
        return await self._gate.transact(lambda ledger: ledger.runs.known(agent.no, run_ids))

    async def coverage(self, agent: AgentState, coverage: Coverage) -> None:
        """Record how far an agent's list is read."""

        def work(ledger: Ledger) -> AgentProgress:
            ledger.agents.cover(agent.no, coverage)
            return ledger.agents.progress(agent.no)

        agent.update(await self._gate.transact(work))

    async def give_up(self, agent: AgentState, run_id: str, reason: str) -> None:
        """Record that a run's detail will never come; it stays counted if it was."""
        retry = agent.retries.get(run_id)
        attempts = 1 if retry is None else retry.attempts + 1
        named, now_ns = run_id in agent.wanted, self._clock.now_ns()
        agent.update(
            await self._gate.transact(
                lambda ledger: ledger.runs.give_up(
                    agent.no,
                    run_id,
                    reason=reason,
                    attempts=attempts,
                    named=named,
                    now_ns=now_ns,
                )
            )
        )
        agent.settle(run_id)

    async def failed(self, agent: AgentState, run_id: str, retry: Retry) -> None:
        """Keep over restarts how often a run's detail was asked for in vain."""
        agent.retries[run_id] = retry
        wait_s = retry.due_s - self._clock.monotonic_s()
        retry_ns = self._clock.now_ns() + round(wait_s * 1e9)
        agent.update(
            await self._gate.transact(
                lambda ledger: ledger.runs.detail_failed(
                    agent.no, run_id, attempts=retry.attempts, retry_ns=retry_ns
                )
            )
        )

    def _learn(self, agent: AgentState, recorded: Recorded) -> None:
        agent.update(recorded.progress)
        if recorded.revised:
            logger.info(
                "agent %s: Conduit shows %d runs changed; they stay counted as they were",
                agent.id,
                recorded.revised,
            )
        now_ns = self._time.now_ns()
        for record in recorded.counted:
            agent.lost.pop(record.run.id, None)
            # Whatever was asked about it in flight: its detail is another matter.
            agent.retries.pop(record.run.id, None)
            completed_ns = record.run.completed_ns
            if record.priority <= Priority.FRESH and completed_ns is not None:
                self._instruments.counted(max(0.0, (now_ns - completed_ns) / 1e9))
