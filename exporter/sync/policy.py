"""What is decided about a run by looking at it alone: sampling, urgency, labels, conversion.

No I/O and no clock: the settings' plain values in, values for the ledger out.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from exporter.convert.ids import is_sampled, trace_id_of
from exporter.convert.otlp import encode_trace
from exporter.convert.spans import Trace
from exporter.convert.trace import (
    ConvertOptions,
    known_disposition,
    run_to_trace,
    summary_to_trace,
)
from exporter.ledger.records import EncodedTrace, Sighting
from exporter.ledger.schema import Urgency
from exporter.models import Run, RunDetail

logger = logging.getLogger("exporter.sync")

_MUST_DISPOSITIONS = frozenset({"escalated", "escalation_and_answer"})
_MUST_OF = {Urgency.FRESH: Urgency.MUST, Urgency.BACKLOG: Urgency.BACKLOG_MUST}


class LabelBound(Protocol):
    """Keeps the distinct values of a label few: the first ones, then `other`."""

    def __call__(self, scope: int, value: str) -> str:
        """The value to count under for an agent (`scope` is its number)."""


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
        bound_tool: LabelBound,
        bound_disposition: LabelBound,
        bucket_of: Callable[[float], str],
    ) -> None:
        self._traces = traces
        self._options = options
        self._bound_tool = bound_tool
        self._bound_disposition = bound_disposition
        self._bucket_of = bucket_of

    @property
    def wants_details(self) -> bool:
        """Whether any run's detail is ever asked for."""
        return self._traces.enabled and self._traces.detail == "full"

    def sight(self, run: Run, *, agent_no: int, agent_name: str, urgency: Urgency) -> Sighting:
        """Decide about a run that a list page or a get-run showed."""
        traced = run.terminal and self._is_traced(run)
        summary = traced and self._traces.detail == "summary"
        if self._must(run):
            urgency = _MUST_OF.get(urgency, urgency)
        return Sighting(
            run=run,
            disposition=self._bound_disposition(agent_no, known_disposition(run.disposition)),
            urgency=urgency,
            traced=traced or not run.terminal,
            trace=self.encode_summary(run, agent_no, agent_name) if summary else None,
            bucket=None if run.duration_ns is None else self._bucket_of(run.duration_ns / 1e9),
        )

    def encode(self, detail: RunDetail, agent_no: int, agent_name: str) -> EncodedTrace:
        """Convert a run whole; raises only what a fault of the converter raises."""
        if self._traces.detail == "summary":
            return self.encode_summary(detail.run, agent_no, agent_name)
        return self._encoded(
            run_to_trace(detail, agent_name=agent_name or None, options=self._options), agent_no
        )

    def encode_summary(self, run: Run, agent_no: int, agent_name: str) -> EncodedTrace:
        """Convert what a list page tells: the root span alone."""
        return self._encoded(
            summary_to_trace(run, agent_name=agent_name or None, options=self._options), agent_no
        )

    def _encoded(self, trace: Trace, agent_no: int) -> EncodedTrace:
        return EncodedTrace(
            trace_id=trace.trace_id,
            payload=encode_trace(trace),
            spans=len(trace.spans),
            tools=tuple(
                (self._bound_tool(agent_no, one.name), one.failed) for one in trace.tools.elements()
            ),
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

    def _must(self, run: Run) -> bool:
        return run.status == "failed" or run.disposition in _MUST_DISPOSITIONS
