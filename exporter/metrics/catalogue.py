"""Every metric, once: name, type, help, labels and buckets.

Nothing here holds a value. Names, labels and buckets are a contract with dashboards and alerts;
docs/METRICS.md is made of them.
"""

from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The type of a metric; an info metric is a gauge of 1 whose labels are the message."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `buckets` are upper bounds in the unit of the name, without the infinite one."""

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


# Label values that exist at zero from the start, so that a first increment is an increase.
TOKEN_TYPES: Final = ("input", "output")
ENDPOINTS: Final = ("workspaces", "agents", "agent", "runs", "run")
CODES: Final = ("200", "400", "401", "403", "404", "429", "500", "502", "503", "504", "error")
PURPOSES: Final = (
    "agents", "head", "gap", "in_flight", "detail", "lookback", "second_reading", "backfill",
)  # fmt: skip
OUTCOMES: Final = ("ok", "retry", "refused")
LIMITED_LABELS: Final = ("tool", "disposition")

_WORKSPACE: Final = ("workspace_id",)
_AGENT: Final = ("workspace_id", "agent_id")

# Conversations take seconds to minutes; runs that wait for a person take hours.
_RUN_SECONDS: Final = (
    0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0,
)  # fmt: skip
_RUN_USD: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
# Fine around the poll interval (15 s), where the delays of a healthy exporter lie.
_DELAY_SECONDS: Final = (
    1.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
)  # fmt: skip
_REQUEST_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, text, labels)


def _info(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, Kind.INFO, text, labels)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Metric:
    return Metric(name, Kind.HISTOGRAM, text, labels, buckets)


# Runs.
RUNS: Final = _counter(
    "conduit_runs_total",
    "Runs that ended, each counted once; disposition is none where Conduit has none.",
    *(*_AGENT, "status", "disposition"),
)
RUN_TOKENS: Final = _counter(
    "conduit_run_tokens_total",
    "Tokens used by runs that ended; token_type is input or output.",
    *(*_AGENT, "token_type"),
)
RUN_COST: Final = _counter(
    "conduit_run_cost_usd_total",
    "Cost in US dollars of runs that ended, as far as Conduit priced them.",
    *_AGENT,
)
RUNS_UNPRICED: Final = _counter(
    "conduit_runs_unpriced_total",
    "Runs that ended and whose cost Conduit does not tell: unknown, not zero.",
    *_AGENT,
)
RUN_DURATION: Final = _histogram(
    "conduit_run_duration_seconds",
    "Duration of runs that ended, as far as Conduit tells it; exemplars are delivered traces.",
    *(*_AGENT, "status"),
    buckets=_RUN_SECONDS,
)
RUN_PRICE: Final = _histogram(
    "conduit_run_price_usd",
    "Cost in US dollars of single runs that Conduit priced; exemplars are delivered traces.",
    *_AGENT,
    buckets=_RUN_USD,
)
PERIOD_COST: Final = _gauge(
    "conduit_period_cost_usd",
    "Cost in US dollars of runs that ended in the present calendar day or month, from the ledger.",
    *(*_AGENT, "period"),
)
BUDGET: Final = _gauge(
    "conduit_budget_usd",
    "US dollars that this workspace may cost in a period, as configured.",
    *(*_WORKSPACE, "period"),
)
RUN_REVISIONS: Final = _counter(
    "conduit_run_revisions_total",
    "Counted runs that Conduit showed differently afterwards; they stay counted as first seen.",
    *_AGENT,
)
TOOL_CALLS: Final = _counter(
    "conduit_tool_calls_total",
    "Tool calls of traced runs; tools beyond the limit of label values count as other.",
    *(*_AGENT, "tool"),
)
TOOL_CALL_ERRORS: Final = _counter(
    "conduit_tool_call_errors_total",
    "Tool calls of traced runs that say that they failed.",
    *(*_AGENT, "tool"),
)
RUNS_IN_FLIGHT: Final = _gauge(
    "conduit_runs_in_flight",
    "Runs that had not ended when they were last seen.",
    *(*_AGENT, "status"),
)
OLDEST_IN_FLIGHT_RUN: Final = _gauge(
    "conduit_oldest_in_flight_run_timestamp_seconds",
    "Unix time at which the oldest run in flight was created; absent when there is none.",
    *_AGENT,
)
LAST_RUN: Final = _gauge(
    "conduit_last_run_timestamp_seconds",
    "Unix time at which the latest counted run ended.",
    *_AGENT,
)
AGENT_INFO: Final = _info(
    "conduit_agent_info", "The name of an agent, to be joined.", *(*_AGENT, "agent_name")
)
WORKSPACE_INFO: Final = _info(
    "conduit_workspace_info",
    "The name of a workspace, to be joined.",
    *(*_WORKSPACE, "workspace_name"),
)
UP: Final = _gauge(
    "conduit_up",
    "1 if the last contact with the Conduit API about this workspace succeeded, else 0.",
    *_WORKSPACE,
)

# The exporter as a whole.
BUILD_INFO: Final = _info(
    "conduit_exporter_build_info",
    "The version and source revision of this exporter.",
    *("version", "revision"),
)
READY: Final = _gauge("conduit_exporter_ready", "1 if /-/ready answers 200, else 0.")
AGENTS_UNSCANNED: Final = _gauge(
    "conduit_exporter_agents_unscanned",
    "Agents whose first scan is not complete.",
    *_WORKSPACE,
)
AGENTS_MISSING: Final = _gauge(
    "conduit_exporter_agents_missing",
    "Configured agents that no workspace of the token lists.",
)
LABEL_OVERFLOW: Final = _counter(
    "conduit_exporter_label_overflow_total",
    "Times that a value counted as other, because its label had reached its limit of values.",
    "label",
)
COLLECTOR_SUCCESS: Final = _gauge(
    "conduit_exporter_collector_success",
    "1 if this source of metrics could be read at this scrape, else 0 and its series are absent.",
    "collector",
)
WEB_CONFIG_RELOADED: Final = _gauge(
    "conduit_exporter_web_config_last_reload_successful",
    "1 if the web config file in its present state is in use, 0 if an older one is kept.",
)

# The Conduit API.
API_REQUESTS: Final = _counter(
    "conduit_exporter_api_requests_total",
    "Requests to the Conduit API; code is the status, or why there was none.",
    *("endpoint", "code"),
)
API_REQUEST_DURATION: Final = _histogram(
    "conduit_exporter_api_request_duration_seconds",
    "Duration of requests to the Conduit API, to the last byte of the answer.",
    "endpoint",
    buckets=_REQUEST_SECONDS,
)
BUDGET_REQUESTS: Final = _counter(
    "conduit_exporter_budget_requests_total",
    "Requests to the Conduit API by what they were spent on.",
    *(*_WORKSPACE, "purpose"),
)
API_BUDGET: Final = _gauge(
    "conduit_exporter_api_budget_requests_per_minute",
    "Requests that the exporter allows itself in a minute for this workspace.",
    *_WORKSPACE,
)
API_RATE_LIMITED: Final = _counter(
    "conduit_exporter_api_rate_limited_total",
    "Answers of the Conduit API that asked for fewer requests (429).",
    *_WORKSPACE,
)
LAST_POLL_SUCCESS: Final = _gauge(
    "conduit_exporter_last_poll_success_timestamp_seconds",
    "Unix time at which the newest runs of this agent were last read.",
    *_AGENT,
)
RUNS_AWAITING_DETAIL: Final = _gauge(
    "conduit_exporter_runs_awaiting_detail",
    "Runs that are to be traced and whose detail was not fetched yet.",
    *_WORKSPACE,
)
OLDEST_AWAITING_DETAIL: Final = _gauge(
    "conduit_exporter_oldest_awaiting_detail_timestamp_seconds",
    "Unix time at which the oldest run that awaits its detail ended, runs of the look-back left "
    "out; absent when there is none.",
    *_WORKSPACE,
)
COUNT_DELAY: Final = _histogram(
    "conduit_exporter_count_delay_seconds",
    "Time from the end of a run until it was counted; runs of the look-back left out.",
    buckets=_DELAY_SECONDS,
)
RUNS_QUARANTINED: Final = _counter(
    "conduit_exporter_runs_quarantined_total",
    "Runs, rows without an id included, that could not be understood or converted.",
    "reason",
)

# The trace backend.
TRACE_BACKEND_UP: Final = _gauge(
    "conduit_exporter_trace_backend_up",
    "1 if the last delivery attempt was accepted, else 0; absent before the first.",
)
DELIVERY_ATTEMPTS: Final = _counter(
    "conduit_exporter_delivery_attempts_total",
    "Requests to the trace backend; outcome is ok, retry (sent again later) or refused.",
    "outcome",
)
TRACES_PENDING: Final = _gauge(
    "conduit_exporter_traces_pending",
    "Traces in the outbox that the trace backend has not acknowledged, parked ones included.",
)
OLDEST_PENDING_TRACE: Final = _gauge(
    "conduit_exporter_oldest_pending_trace_timestamp_seconds",
    "Unix time of the oldest trace in the outbox; absent when there is none.",
)
OUTBOX_BYTES: Final = _gauge(
    "conduit_exporter_outbox_bytes", "Bytes that undelivered traces take in the ledger."
)
OUTBOX_LIMIT_BYTES: Final = _gauge(
    "conduit_exporter_outbox_limit_bytes",
    "Bytes of undelivered traces at which fetching pauses.",
)
TRACES_DELIVERED: Final = _counter(
    "conduit_exporter_traces_delivered_total", "Traces that the trace backend acknowledged."
)
SPANS_DELIVERED: Final = _counter(
    "conduit_exporter_spans_delivered_total", "Spans that the trace backend acknowledged."
)
TRACES_REJECTED: Final = _counter(
    "conduit_exporter_traces_rejected_total",
    "Traces that the trace backend refused for good; they are not sent again.",
)
SPANS_REJECTED: Final = _counter(
    "conduit_exporter_spans_rejected_total",
    "Spans that the trace backend refused, alone (partial success) or with their trace.",
)
TRACES_PARKED: Final = _gauge(
    "conduit_exporter_traces_parked",
    "Traces that the backend refuses or fails on while it takes others; each is tried again.",
)
TRACE_DELAY: Final = _histogram(
    "conduit_exporter_trace_delay_seconds",
    "Time from the end of a run until its trace was acknowledged.",
    buckets=_DELAY_SECONDS,
)

# The ledger.
LEDGER_BYTES: Final = _gauge(
    "conduit_exporter_ledger_bytes", "Bytes that the ledger takes on disk."
)
LEDGER_FREE_BYTES: Final = _gauge(
    "conduit_exporter_ledger_free_bytes", "Bytes that are free on the ledger's file system."
)
LEDGER_WRITABLE: Final = _gauge(
    "conduit_exporter_ledger_writable", "1 if the last write to the ledger succeeded, else 0."
)
LEDGER_CREATED: Final = _gauge(
    "conduit_exporter_ledger_created_timestamp_seconds",
    "Unix time at which the ledger was created; all counters of runs began at zero then.",
)

# All of the above, in that order.
CATALOGUE: Final = tuple(one for one in list(globals().values()) if isinstance(one, Metric))
