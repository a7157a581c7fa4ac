"""Counters and histograms of the process's life."""

from exporter.metrics.catalogue import (
    API_REQUESTS,
    BUDGET_REQUESTS,
    CODES,
    DELIVERY_ATTEMPTS,
    ENDPOINTS,
    LABEL_OVERFLOW,
    OUTCOMES,
    PURPOSES,
)
from exporter.metrics.collector import Metrics
from exporter.metrics.instruments import Instruments
from tests.metrics_support import parse_text, scrape


def started() -> tuple[Instruments, Metrics]:
    metrics = Metrics()
    return Instruments(registry=metrics.registry), metrics


def test_known_label_values_start_at_zero() -> None:
    """A first failed request, 429 or refusal is an increase from zero that a rule can see."""
    instruments, metrics = started()
    instruments.expect_workspace("ws_1")
    text = scrape(metrics)
    shown = [sample for family in parse_text(text) for sample in family.samples]
    for metric, series in (
        (API_REQUESTS, len(ENDPOINTS) * len(CODES)),
        (BUDGET_REQUESTS, len(PURPOSES)),
        (DELIVERY_ATTEMPTS, len(OUTCOMES)),
        (LABEL_OVERFLOW, 2),
    ):
        assert [one.value for one in shown if one.name == metric.name] == [0.0] * series
    assert 'conduit_exporter_api_rate_limited_total{workspace_id="ws_1"} 0.0' in text


def test_what_is_reported_is_shown() -> None:
    """Each report moves its own series."""
    instruments, metrics = started()
    instruments.api_request("runs", "200", 0.2)
    instruments.api_request("runs", "error", 31.0)
    instruments.budget_request("ws_1", "head")
    instruments.rate_limited("ws_1")
    instruments.counted(12.0)
    instruments.counted(-3.0)
    instruments.delivery_attempt("retry")
    instruments.delivered(4.0)
    instruments.label_overflowed("tool")
    assert {
        'conduit_exporter_api_requests_total{code="200",endpoint="runs"} 1.0',
        'conduit_exporter_api_requests_total{code="error",endpoint="runs"} 1.0',
        'conduit_exporter_api_request_duration_seconds_count{endpoint="runs"} 2.0',
        'conduit_exporter_api_request_duration_seconds_bucket{endpoint="runs",le="30.0"} 1.0',
        'conduit_exporter_budget_requests_total{purpose="head",workspace_id="ws_1"} 1.0',
        'conduit_exporter_api_rate_limited_total{workspace_id="ws_1"} 1.0',
        "conduit_exporter_count_delay_seconds_count 2.0",
        "conduit_exporter_count_delay_seconds_sum 12.0",
        'conduit_exporter_delivery_attempts_total{outcome="retry"} 1.0',
        "conduit_exporter_trace_delay_seconds_sum 4.0",
        'conduit_exporter_label_overflow_total{label="tool"} 1.0',
    } <= set(scrape(metrics).splitlines())
