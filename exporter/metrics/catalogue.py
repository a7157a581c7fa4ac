"""Every metric, once: name, kind, help, labels and buckets.

Nothing here holds a value. Names, labels and buckets are a contract with dashboards and alerts.
"""

from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """How a metric moves; an info metric is a gauge of 1 whose labels are the message."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `buckets` are upper bounds in seconds, rising, without the infinite one."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def bucket_no(self, value: float) -> int:
        """The index of the bucket that `value` falls into; the infinite one is the last."""
        return bisect_left(self.buckets, value)

    def bucket_of(self, value: float) -> str:
        """The upper bound of the bucket that `value` falls into, as text."""
        return self.bounds[self.bucket_no(value)]

    @property
    def bounds(self) -> tuple[str, ...]:
        """The upper bounds of all buckets as text, the infinite one last."""
        return (*map(repr, self.buckets), "+Inf")


_RUN: Final = ("workspace_id", "agent_id")

# Human conversations take seconds to minutes; runs that wait for a person take hours.
_RUN_SECONDS: Final = (
    0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0,
)  # fmt: skip
# Fine around the poll interval (15 s), where the delays of a healthy exporter lie.
_DELAY_SECONDS: Final = (
    1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
)  # fmt: skip
_REQUEST_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# Runs.
RUNS: Final = Metric(
    "conduit_runs_total",
    Kind.COUNTER,
    "Runs that ended, each counted once; disposition is none where Conduit has none.",
    (*_RUN, "status", "disposition"),
)
RUN_TOKENS: Final = Metric(
    "conduit_run_tokens_total",
    Kind.COUNTER,
    "Tokens used by runs that ended; token_type is input or output.",
    (*_RUN, "token_type"),
)
RUN_COST: Final = Metric(
    "conduit_run_cost_usd_total",
    Kind.COUNTER,
    "Cost in US dollars of runs that ended, as far as Conduit priced them.",
    _RUN,
)
RUNS_UNPRICED: Final = Metric(
    "conduit_runs_unpriced_total",
    Kind.COUNTER,
    "Runs that ended and whose cost Conduit does not tell: unknown, not zero.",
    _RUN,
)
RUN_DURATION: Final = Metric(
    "conduit_run_duration_seconds",
    Kind.HISTOGRAM,
    "Duration of runs that ended, as far as Conduit tells it; exemplars are delivered traces.",
    (*_RUN, "status"),
    _RUN_SECONDS,
)
RUN_REVISIONS: Final = Metric(
    "conduit_run_revisions_total",
    Kind.COUNTER,
    "Counted runs that Conduit showed differently afterwards; they stay counted as first seen.",
    _RUN,
)
TOOL_CALLS: Final = Metric(
    "conduit_tool_calls_total",
    Kind.COUNTER,
    "Tool calls of traced runs; tools beyond the limit of label values count as other.",
    (*_RUN, "tool"),
)
TOOL_CALL_ERRORS: Final = Metric(
    "conduit_tool_call_errors_total",
    Kind.COUNTER,
    "Tool calls of traced runs that say that they failed.",
    (*_RUN, "tool"),
)
RUNS_IN_FLIGHT: Final = Metric(
    "conduit_runs_in_flight",
    Kind.GAUGE,
    "Runs that had not ended when they were last seen.",
    (*_RUN, "status"),
)
OLDEST_IN_FLIGHT_RUN: Final = Metric(
    "conduit_oldest_in_flight_run_timestamp_seconds",
    Kind.GAUGE,
    "Unix time at which the oldest run in flight was created; absent when there is none.",
    _RUN,
)
LAST_RUN: Final = Metric(
    "conduit_last_run_timestamp_seconds",
    Kind.GAUGE,
    "Unix time at which the latest counted run ended.",
    _RUN,
)
AGENT_INFO: Final = Metric(
    "conduit_agent_info", Kind.INFO, "The name of an agent, to be joined.", (*_RUN, "agent_name")
)
WORKSPACE_INFO: Final = Metric(
    "conduit_workspace_info",
    Kind.INFO,
    "The name of a workspace, to be joined.",
    ("workspace_id", "workspace_name"),
)
UP: Final = Metric(
    "conduit_up",
    Kind.GAUGE,
    "1 if the last contact with the Conduit API about this workspace succeeded, else 0.",
    ("workspace_id",),
)

# The exporter itself.
BUILD_INFO: Final = Metric(
    "conduit_exporter_build_info",
    Kind.INFO,
    "The version and source revision of this exporter.",
    ("version", "revision"),
)
API_REQUESTS: Final = Metric(
    "conduit_exporter_api_requests_total",
    Kind.COUNTER,
    "Requests to the Conduit API; code is the status, or why there was none.",
    ("endpoint", "code"),
)
API_REQUEST_DURATION: Final = Metric(
    "conduit_exporter_api_request_duration_seconds",
    Kind.HISTOGRAM,
    "Duration of requests to the Conduit API, to the last byte of the answer.",
    ("endpoint",),
    _REQUEST_SECONDS,
)
API_BUDGET: Final = Metric(
    "conduit_exporter_api_budget_requests_per_minute",
    Kind.GAUGE,
    "Requests that the exporter allows itself in a minute for this workspace.",
    ("workspace_id",),
)
API_RATE_LIMITED: Final = Metric(
    "conduit_exporter_api_rate_limited_total",
    Kind.COUNTER,
    "Answers of the Conduit API that asked for fewer requests (429).",
    ("workspace_id",),
)
LAST_POLL_SUCCESS: Final = Metric(
    "conduit_exporter_last_poll_success_timestamp_seconds",
    Kind.GAUGE,
    "Unix time at which the newest runs of this agent were last read.",
    _RUN,
)
RUNS_AWAITING_DETAIL: Final = Metric(
    "conduit_exporter_runs_awaiting_detail",
    Kind.GAUGE,
    "Runs that are to be traced and whose detail was not fetched yet.",
    ("workspace_id",),
)
TRACES_PENDING: Final = Metric(
    "conduit_exporter_traces_pending",
    Kind.GAUGE,
    "Traces in the outbox that the trace backend has not acknowledged, parked ones included.",
)
OLDEST_PENDING_TRACE: Final = Metric(
    "conduit_exporter_oldest_pending_trace_timestamp_seconds",
    Kind.GAUGE,
    "Unix time of the oldest trace in the outbox; absent when there is none.",
)
OUTBOX_BYTES: Final = Metric(
    "conduit_exporter_outbox_bytes",
    Kind.GAUGE,
    "Bytes that undelivered traces take in the ledger.",
)
TRACES_DELIVERED: Final = Metric(
    "conduit_exporter_traces_delivered_total",
    Kind.COUNTER,
    "Traces that the trace backend acknowledged.",
)
SPANS_DELIVERED: Final = Metric(
    "conduit_exporter_spans_delivered_total",
    Kind.COUNTER,
    "Spans that the trace backend acknowledged.",
)
TRACES_REJECTED: Final = Metric(
    "conduit_exporter_traces_rejected_total",
    Kind.COUNTER,
    "Traces that the trace backend refused for good; they are not sent again.",
)
SPANS_REJECTED: Final = Metric(
    "conduit_exporter_spans_rejected_total",
    Kind.COUNTER,
    "Spans that the trace backend refused, alone (partial success) or with their trace.",
)
TRACES_PARKED: Final = Metric(
    "conduit_exporter_traces_parked",
    Kind.GAUGE,
    "Traces that wait for an operator or the next probe: the backend is set up wrongly.",
)
COUNT_DELAY: Final = Metric(
    "conduit_exporter_count_delay_seconds",
    Kind.HISTOGRAM,
    "Time from the end of a run until it was counted; runs of the look-back left out.",
    (),
    _DELAY_SECONDS,
)
TRACE_DELAY: Final = Metric(
    "conduit_exporter_trace_delay_seconds",
    Kind.HISTOGRAM,
    "Time from the end of a run until its trace was acknowledged.",
    (),
    _DELAY_SECONDS,
)
RUNS_QUARANTINED: Final = Metric(
    "conduit_exporter_runs_quarantined_total",
    Kind.COUNTER,
    "Runs that could not be understood or converted and are neither counted nor traced.",
    ("reason",),
)
LABEL_OVERFLOW: Final = Metric(
    "conduit_exporter_label_overflow_total",
    Kind.COUNTER,
    "Times that a value counted as other, because its label had reached its limit of values.",
    ("label",),
)
LEDGER_BYTES: Final = Metric(
    "conduit_exporter_ledger_bytes", Kind.GAUGE, "Bytes that the ledger takes on disk."
)
COLLECTOR_SUCCESS: Final = Metric(
    "conduit_exporter_collector_success",
    Kind.GAUGE,
    "1 if this source of metrics could be read at this scrape, else 0 and its series are absent.",
    ("collector",),
)
WEB_CONFIG_RELOADED: Final = Metric(
    "conduit_exporter_web_config_last_reload_successful",
    Kind.GAUGE,
    "1 if the web config file in its present state is in use, 0 if an older one is kept.",
)

CATALOGUE: Final = (
    RUNS,
    RUN_TOKENS,
    RUN_COST,
    RUNS_UNPRICED,
    RUN_DURATION,
    RUN_REVISIONS,
    TOOL_CALLS,
    TOOL_CALL_ERRORS,
    RUNS_IN_FLIGHT,
    OLDEST_IN_FLIGHT_RUN,
    LAST_RUN,
    AGENT_INFO,
    WORKSPACE_INFO,
    UP,
    BUILD_INFO,
    API_REQUESTS,
    API_REQUEST_DURATION,
    API_BUDGET,
    API_RATE_LIMITED,
    LAST_POLL_SUCCESS,
    RUNS_AWAITING_DETAIL,
    TRACES_PENDING,
    OLDEST_PENDING_TRACE,
    OUTBOX_BYTES,
    TRACES_DELIVERED,
    SPANS_DELIVERED,
    TRACES_REJECTED,
    SPANS_REJECTED,
    TRACES_PARKED,
    COUNT_DELAY,
    TRACE_DELAY,
    RUNS_QUARANTINED,
    LABEL_OVERFLOW,
    LEDGER_BYTES,
    COLLECTOR_SUCCESS,
    WEB_CONFIG_RELOADED,
)

BY_NAME: Final = {metric.name: metric for metric in CATALOGUE}
