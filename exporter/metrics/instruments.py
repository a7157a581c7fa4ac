"""The metrics of this process's life: what starts at zero with it and no ledger sums.

Whoever does the work reports it here; a scrape only reads. Series with known label values exist
from the start, so that the first increment is seen as an increase.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram

from exporter.metrics.catalogue import (
    API_RATE_LIMITED,
    API_REQUEST_DURATION,
    API_REQUESTS,
    BUDGET_REQUESTS,
    CODES,
    COUNT_DELAY,
    DELIVERY_ATTEMPTS,
    ENDPOINTS,
    LABEL_OVERFLOW,
    LIMITED_LABELS,
    OUTCOMES,
    PURPOSES,
    TRACE_DELAY,
    Metric,
)
from exporter.metrics.labels import label_value


class Instruments:
    """Counters and histograms, registered with `registry`. Durations are in seconds."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self._api_requests = _counter(API_REQUESTS, registry)
        self._api_request_duration = _histogram(API_REQUEST_DURATION, registry)
        self._budget_requests = _counter(BUDGET_REQUESTS, registry)
        self._api_rate_limited = _counter(API_RATE_LIMITED, registry)
        self._count_delay = _histogram(COUNT_DELAY, registry)
        self._trace_delay = _histogram(TRACE_DELAY, registry)
        self._delivery_attempts = _counter(DELIVERY_ATTEMPTS, registry)
        self._label_overflow = _counter(LABEL_OVERFLOW, registry)
        for endpoint in ENDPOINTS:
            self._api_request_duration.labels(endpoint)
            for code in CODES:
                self._api_requests.labels(endpoint, code)
        for outcome in OUTCOMES:
            self._delivery_attempts.labels(outcome)
        for label in LIMITED_LABELS:
            self._label_overflow.labels(label)

    def expect_workspace(self, workspace_id: str) -> None:
        """Let the series of a workspace exist, at zero if it is new."""
        safe = label_value(workspace_id)
        self._api_rate_limited.labels(safe)
        for purpose in PURPOSES:
            self._budget_requests.labels(safe, purpose)

    def api_request(self, endpoint: str, code: str, seconds: float) -> None:
        """A request to the Conduit API has ended."""
        self._api_requests.labels(endpoint, label_value(code)).inc()
        self._api_request_duration.labels(endpoint).observe(seconds)

    def budget_request(self, workspace_id: str, purpose: str) -> None:
        """A request of a workspace's budget was spent; `purpose` is one of PURPOSES."""
        self._budget_requests.labels(label_value(workspace_id), purpose).inc()

    def rate_limited(self, workspace_id: str) -> None:
        """The Conduit API answered 429."""
        self._api_rate_limited.labels(label_value(workspace_id)).inc()

    def counted(self, delay_s: float) -> None:
        """A run was counted; a negative delay (clocks differ) counts as zero."""
        self._count_delay.observe(max(0.0, delay_s))

    def delivery_attempt(self, outcome: str) -> None:
        """The trace backend was asked; `outcome` is one of OUTCOMES."""
        self._delivery_attempts.labels(outcome).inc()

    def delivered(self, delay_s: float) -> None:
        """A trace was acknowledged; a negative delay (clocks differ) counts as zero."""
        self._trace_delay.observe(max(0.0, delay_s))

    def label_overflowed(self, label: str) -> None:
        """A value counted as `other`; `label` is one of LIMITED_LABELS."""
        self._label_overflow.labels(label).inc()


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


def _histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(
        metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry
    )
