"""What a trace backend and Prometheus must show of a simulated Conduit, worked out without them."""

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from exporter.convert.otlp import encode_trace, payload_to_otlp_json
from exporter.convert.trace import ConvertOptions, run_to_trace
from tests.real.conduit import Conduit, EndedRun
from tests.real.exporter import Series
from tests.real.jaeger import Jaeger, Span, Traces, otlp_json_to_traces

# Everything of runs that is a sum.
SUMS = (
    "conduit_runs_total",
    "conduit_run_tokens_total",
    "conduit_run_cost_usd_total",
    "conduit_runs_unpriced_total",
    "conduit_run_duration_seconds_count",
    "conduit_tool_calls_total",
    "conduit_tool_call_errors_total",
)
MOST_LINES = 60


def expected_traces(runs: Iterable[EndedRun], options: ConvertOptions) -> Traces:
    """The spans of each trace id by start time, as Jaeger is to show them."""
    payloads = (
        encode_trace(run_to_trace(run.detail, agent_name=run.agent_name, options=options))
        for run in runs
    )
    documents = [payload_to_otlp_json(payload) for payload in payloads]
    return otlp_json_to_traces(
        {"resourceSpans": [spans for one in documents for spans in one["resourceSpans"]]}
    )


def assert_traces(jaeger: Jaeger, expected: Traces, *, service: str) -> None:
    """Jaeger shows exactly these traces of the service, span by span, and no other."""
    shown = jaeger.traces(service)
    assert shown.keys() == expected.keys(), shown.keys() ^ expected.keys()
    for trace_id, spans in expected.items():
        got = [as_sent(span) for span in shown[trace_id]]
        different = list(difflib.unified_diff(_lines(spans), _lines(got), n=0, lineterm=""))
        assert not different, "\n".join([f"trace {trace_id}:", *different[:MOST_LINES]])


def as_sent(span: Span) -> Span:
    """Undo what Jaeger does to a span without length: it adds a nanosecond and a warning."""
    match span.warnings:
        case [warning] if warning.startswith("Negative duration detected"):
            assert span.end_ns == span.start_ns + 1
            return replace(span, end_ns=span.start_ns, warnings=())
        case _:
            return span


def expected_series(conduit: Conduit, *, created_from_ns: int = 0) -> dict[Series, float]:
    """The series of SUMS that are not zero, each the float that is nearest to the exact sum."""
    truth = conduit.truth(created_from_ns=created_from_ns)
    workspaces = conduit.call(
        lambda simulated: {
            agent_id: state.agent.workspace_id for agent_id, state in simulated.data.agents.items()
        }
    )
    found: dict[Series, float] = {}

    def add(name: str, agent_id: str, value: float | Decimal, **labels: str) -> None:
        labels |= {"workspace_id": workspaces[agent_id], "agent_id": agent_id}
        found[name, frozenset(labels.items())] = float(value)

    for (agent_id, status, disposition), runs in truth.runs.items():
        add("conduit_runs_total", agent_id, runs, status=status, disposition=disposition or "none")
    for token_type, tokens in (("input", truth.input_tokens), ("output", truth.output_tokens)):
        for agent_id, count in tokens.items():
            add("conduit_run_tokens_total", agent_id, count, token_type=token_type)
    for agent_id, cost in truth.cost_usd.items():
        add("conduit_run_cost_usd_total", agent_id, cost)
    for agent_id, runs in truth.unpriced.items():
        add("conduit_runs_unpriced_total", agent_id, runs)
    for (agent_id, tool), calls in truth.tool_calls.items():
        add("conduit_tool_calls_total", agent_id, calls, tool=tool)
    for (agent_id, tool), calls in truth.tool_errors.items():
        add("conduit_tool_call_errors_total", agent_id, calls, tool=tool)
    timed = Counter(
        (run.detail.run.agent_id, run.detail.run.status)
        for run in conduit.ended_runs()
        if run.detail.run.duration_ns is not None and run.detail.run.created_ns >= created_from_ns
    )
    for (agent_id, status), runs in timed.items():
        add("conduit_run_duration_seconds_count", agent_id, runs, status=status)
    return {key: value for key, value in found.items() if value}


def _lines(spans: Iterable[Span]) -> list[str]:
    """Field by field as Python writes it: 1, 1.0 and True are equal, and yet not the same."""
    return [
        f"{span.span_id} {name} {value!r}"
        for span in spans
        for name, value in [*vars(span).items(), *sorted(span.attributes.items())]
        if name != "attributes"
    ]
