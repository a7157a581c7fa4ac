"""The metrics of this process's life: what starts at zero with it and no ledger sums.

Never touched by a scrape; whoever does the work reports it here.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram

from exporter.metrics.catalogue import (
    API_RATE_LIMITED,
    API_REQUEST_DURATION,
    API_REQUESTS,
    COUNT_DELAY,
    LABEL_OVERFLOW,
    TRACE_DELAY,
    Metric,
)
from exporter.metrics.labels import label_value


class Instruments:
    """Counters and histograms, registered with `registry`.

    `bounded_labels` are the labels whose overflow is counted: their series exist from the start,
    so that the first increment is seen.
    """

    def __init__(
        self,
        *,
        registry: CollectorRegistry,
        bounded_labels: tuple[str, ...] = ("tool", "disposition"),
    ) -> None:
        self.api_requests = _counter(API_REQUESTS, registry)
        self.api_request_duration = _histogram(API_REQUEST_DURATION, registry)
        self.api_rate_limited = _counter(API_RATE_LIMITED, registry)
        self.count_delay = _histogram(COUNT_DELAY, registry)
        self.trace_delay = _histogram(TRACE_DELAY, registry)
        self.label_overflow = _counter(LABEL_OVERFLOW, registry)
        # By endpoint and status: few of either.
        self._requests: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        for label in bounded_labels:
            self.label_overflow.labels(label)

    def api_request(self, endpoint: str, code: str, seconds: float) -> None:
        """A request to the Conduit API has ended."""
        series = self._requests.get((endpoint, code))
        if series is None:
            # Looking a series up by its labels costs more than counting.
            series = self._requests[endpoint, code] = (
                self.api_requests.labels(endpoint, label_value(code)),
                self.api_request_duration.labels(endpoint),
            )
        requests, duration = series
        requests.inc()
        duration.observe(seconds)

    def expect_workspace(self, workspace_id: str) -> None:
        """Let the series of a workspace exist, at zero if it is new."""
        self.api_rate_limited.labels(label_value(workspace_id))

    def forget_workspace(self, workspace_id: str) -> None:
        """Drop the series of a workspace that is read here no more."""
        self.api_rate_limited.remove(label_value(workspace_id))

    def rate_limited(self, workspace_id: str) -> None:
        """The Conduit API answered 429."""
        self.api_rate_limited.labels(label_value(workspace_id)).inc()

    def counted(self, delay_s: float) -> None:
        """A run was counted; clocks that differ make no negative delay."""
        self.count_delay.observe(max(0.0, delay_s))

    def delivered(self, delay_s: float) -> None:
        """A trace was acknowledged; clocks that differ make no negative delay."""
        self.trace_delay.observe(max(0.0, delay_s))

    def label_overflowed(self, label: str) -> None:
        """A value counted as `other`."""
        self.label_overflow.labels(label).inc()


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(metric.name, metric.help, metric.labels, registry=registry)


def _histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(
        metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry
    )
