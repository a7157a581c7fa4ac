"""Counters and histograms of the process's life."""

from exporter.metrics.exposition import new_registry, render
from exporter.metrics.instruments import Instruments


def lines(registry_text: str) -> set[str]:
    return {line for line in registry_text.splitlines() if not line.startswith("#")}


def test_series_exist_before_their_first_increment() -> None:
    """A first overflow or 429 is an increase from zero that a rule can see."""
    registry, _ = new_registry(process=False)
    instruments = Instruments(registry=registry)
    instruments.expect_workspace("ws_1")
    shown = lines(render(registry, "")[0].decode())
    assert 'conduit_exporter_label_overflow_total{label="tool"} 0.0' in shown
    assert 'conduit_exporter_label_overflow_total{label="disposition"} 0.0' in shown
    assert 'conduit_exporter_api_rate_limited_total{workspace_id="ws_1"} 0.0' in shown


def test_what_is_reported_is_shown() -> None:
    """Each report moves its own series."""
    registry, _ = new_registry(process=False)
    instruments = Instruments(registry=registry)
    instruments.api_request("runs", "200", 0.2)
    instruments.api_request("runs", "error", 31.0)
    instruments.rate_limited("ws_1")
    instruments.counted(12.0)
    instruments.counted(-3.0)
    instruments.delivered(4.0)
    instruments.label_overflowed("tool")
    shown = lines(render(registry, "")[0].decode())
    assert {
        'conduit_exporter_api_requests_total{code="200",endpoint="runs"} 1.0',
        'conduit_exporter_api_requests_total{code="error",endpoint="runs"} 1.0',
        'conduit_exporter_api_request_duration_seconds_count{endpoint="runs"} 2.0',
        'conduit_exporter_api_request_duration_seconds_bucket{endpoint="runs",le="30.0"} 1.0',
        'conduit_exporter_api_rate_limited_total{workspace_id="ws_1"} 1.0',
        "conduit_exporter_count_delay_seconds_count 2.0",
        "conduit_exporter_count_delay_seconds_sum 12.0",
        "conduit_exporter_trace_delay_seconds_sum 4.0",
        'conduit_exporter_label_overflow_total{label="tool"} 1.0',
    } <= shown


def test_forgotten_workspace_is_shown_no_more() -> None:
    """A workspace that another replica took over leaves no stale series."""
    registry, _ = new_registry(process=False)
    instruments = Instruments(registry=registry)
    instruments.rate_limited("ws_1")
    instruments.forget_workspace("ws_1")
    assert "ws_1" not in render(registry, "")[0].decode()
