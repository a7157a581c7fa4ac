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
from exporter.metrics.collector import new_registry, render
from exporter.metrics.instruments import Instruments
from tests.metrics_support import parse_text


def started() -> tuple[Instruments, "Shown"]:
    registry, _ = new_registry()
    return Instruments(registry=registry), Shown(registry)


class Shown:
    """The lines of a scrape, asked for anew each time."""

    def __init__(self, registry: object) -> None:
        self.registry = registry

    def lines(self) -> set[str]:
        return set(self.text().splitlines())

    def values(self, name: str) -> list[float]:
        families = parse_text(self.text())
        return [one.value for each in families for one in each.samples if one.name == name]

    def text(self) -> str:
        return render(self.registry, "")[0].decode()  # type: ignore[arg-type]  # what new_registry made


def test_known_label_values_start_at_zero() -> None:
    """A first failed request, 429 or refusal is an increase from zero that a rule can see."""
    instruments, shown = started()
    instruments.expect_workspace("ws_1")
    for metric, series in (
        (API_REQUESTS, len(ENDPOINTS) * len(CODES)),
        (BUDGET_REQUESTS, len(PURPOSES)),
        (DELIVERY_ATTEMPTS, len(OUTCOMES)),
        (LABEL_OVERFLOW, 2),
    ):
        assert shown.values(metric.name) == [0.0] * series
    assert 'conduit_exporter_api_rate_limited_total{workspace_id="ws_1"} 0.0' in shown.lines()


def test_what_is_reported_is_shown() -> None:
    """Each report moves its own series."""
    instruments, shown = started()
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
    } <= shown.lines()
