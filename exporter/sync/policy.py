"""What is decided about a run by looking at it alone: sampling, priority, labels, conversion.

No I/O and no clock: the settings' plain values in, values for the ledger out.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final, Literal

from exporter.conduit.models import Run, RunDetail
from exporter.convert.ids import is_sampled, trace_id_of
from exporter.convert.otlp import encode_trace
from exporter.convert.redaction import mask_id
from exporter.convert.spans import Trace
from exporter.convert.trace import (
    ConvertOptions,
    known_disposition,
    run_to_trace,
    summary_to_trace,
)
from exporter.ledger.records import AgentRecord, EncodedTrace, Priority, RunRecord
from exporter.ledger.runs import ended_ns
from exporter.times import SECOND_NS

_URGENT_DISPOSITIONS: Final = frozenset({"escalated", "escalation_and_answer"})
_URGENT_OF: Final = {
    Priority.FRESH: Priority.URGENT,
    Priority.BACKLOG: Priority.BACKLOG_URGENT,
}

# Keeps the distinct values of a label few: (agent number, value) -> the value to count under.
LabelLimit = Callable[[int, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePolicy:
    """Which runs are traced, and how fully."""

    enabled: bool = True
    detail: Literal["full", "summary"] = "full"
    sample_ratio: float = 1.0
    sample_always: frozenset[str] = frozenset()


class RunPolicy:
    """Turns runs into what the ledger records of them."""

    def __init__(
        self,
        *,
        traces: TracePolicy,
        options: ConvertOptions,
        limit_tool: LabelLimit,
        duration_bucket: Callable[[float], str],
        price_bucket: Callable[[float], str],
        timezone: tzinfo = UTC,
    ) -> None:
        self._traces = traces
        self._options = options
        self._limit_tool = limit_tool
        self._duration_bucket = duration_bucket
        self._price_bucket = price_bucket
        self._timezone = timezone

    @property
    def wants_traces(self) -> bool:
        """Whether any run is to be traced."""
        return self._traces.enabled

    def record(
        self, run: Run, *, priority: Priority, agent: AgentRecord, named: bool = False
    ) -> RunRecord:
        """Decide about a run that a list page or a get-run showed."""
        traced = run.terminal and self._is_traced(run)
        if run.status == "failed" or run.disposition in _URGENT_DISPOSITIONS:
            priority = _URGENT_OF.get(priority, priority)
        summary = traced and self._traces.detail == "summary"
        ended = datetime.fromtimestamp(ended_ns(run) // SECOND_NS, self._timezone)
        return RunRecord(
            run=run,
            disposition=known_disposition(run.disposition),
            conversation_id=None if run.conversation_id is None else mask_id(run.conversation_id),
            priority=priority,
            traced=traced,
            trace=self.encode_summary(run, agent) if summary else None,
            named=named,
            duration_bucket=(
                None if run.duration_ns is None else self._duration_bucket(run.duration_ns / 1e9)
            ),
            price_bucket=None if run.cost_usd is None else self._price_bucket(float(run.cost_usd)),
            day=ended.date().isoformat(),
        )

    def encode(self, detail: RunDetail, agent: AgentRecord) -> EncodedTrace:
        """Convert a run whole; raises only what a fault of the converter raises."""
        if self._traces.detail == "summary":
            return self.encode_summary(detail.run, agent)
        return self._encoded(
            run_to_trace(detail, agent_name=agent.name or None, options=self._options), agent.no
        )

    def encode_summary(self, run: Run, agent: AgentRecord) -> EncodedTrace:
        """Convert what a list page tells: the root span alone."""
        return self._encoded(
            summary_to_trace(run, agent_name=agent.name or None, options=self._options), agent.no
        )

    def _encoded(self, trace: Trace, agent_no: int) -> EncodedTrace:
        tools: Counter[tuple[str, bool]] = Counter()
        for call, count in trace.tools.items():
            tools[self._limit_tool(agent_no, call.name), call.failed] += count
        return EncodedTrace(
            trace_id=trace.trace_id,
            payload=encode_trace(trace),
            spans=len(trace.spans),
            tools=tools,
        )

    def _is_traced(self, run: Run) -> bool:
        if not self._traces.enabled:
            return False
        if self._traces.sample_ratio >= 1.0:
            return True
        return is_sampled(
            trace_id=trace_id_of(raw=run.trace_id, workspace_id=run.workspace_id, run_id=run.id),
            status=run.status,
            disposition=run.disposition,
            ratio=self._traces.sample_ratio,
            always=self._traces.sample_always,
        )
