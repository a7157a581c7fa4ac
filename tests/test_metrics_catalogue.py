"""The catalogue: names, labels, buckets and the page made of them."""

import re
from pathlib import Path

import pytest

from exporter.metrics.catalogue import BY_NAME, CATALOGUE, RUN_DURATION, Kind, Metric
from exporter.metrics.reference import catalogue_to_markdown

RUN_LABELS = ("workspace_id", "agent_id")
# The contract with dashboards and alerts, written out once more on purpose.
CONTRACT = {
    "conduit_runs_total": (*RUN_LABELS, "status", "disposition"),
    "conduit_run_tokens_total": (*RUN_LABELS, "token_type"),
    "conduit_run_cost_usd_total": RUN_LABELS,
    "conduit_runs_unpriced_total": RUN_LABELS,
    "conduit_run_duration_seconds": (*RUN_LABELS, "status"),
    "conduit_run_revisions_total": RUN_LABELS,
    "conduit_tool_calls_total": (*RUN_LABELS, "tool"),
    "conduit_tool_call_errors_total": (*RUN_LABELS, "tool"),
    "conduit_runs_in_flight": (*RUN_LABELS, "status"),
    "conduit_oldest_in_flight_run_timestamp_seconds": RUN_LABELS,
    "conduit_last_run_timestamp_seconds": RUN_LABELS,
    "conduit_agent_info": (*RUN_LABELS, "agent_name"),
    "conduit_workspace_info": ("workspace_id", "workspace_name"),
    "conduit_up": ("workspace_id",),
    "conduit_exporter_build_info": ("version", "revision"),
    "conduit_exporter_api_requests_total": ("endpoint", "code"),
    "conduit_exporter_api_request_duration_seconds": ("endpoint",),
    "conduit_exporter_api_budget_requests_per_minute": ("workspace_id",),
    "conduit_exporter_api_rate_limited_total": ("workspace_id",),
    "conduit_exporter_last_poll_success_timestamp_seconds": RUN_LABELS,
    "conduit_exporter_runs_awaiting_detail": ("workspace_id",),
    "conduit_exporter_traces_pending": (),
    "conduit_exporter_oldest_pending_trace_timestamp_seconds": (),
    "conduit_exporter_outbox_bytes": (),
    "conduit_exporter_traces_delivered_total": (),
    "conduit_exporter_spans_delivered_total": (),
    "conduit_exporter_traces_rejected_total": (),
    "conduit_exporter_spans_rejected_total": (),
    "conduit_exporter_traces_parked": (),
    "conduit_exporter_count_delay_seconds": (),
    "conduit_exporter_trace_delay_seconds": (),
    "conduit_exporter_runs_quarantined_total": ("reason",),
    "conduit_exporter_label_overflow_total": ("label",),
    "conduit_exporter_ledger_bytes": (),
    "conduit_exporter_collector_success": ("collector",),
    "conduit_exporter_web_config_last_reload_successful": (),
}


def test_names_and_labels_are_the_contract() -> None:
    """Each metric has exactly the name and the labels that dashboards were built on."""
    assert {metric.name: metric.labels for metric in CATALOGUE} == CONTRACT


def test_names_are_unique() -> None:
    """No name stands for two metrics."""
    assert len(BY_NAME) == len(CATALOGUE)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_metric_follows_the_naming_conventions(metric: Metric) -> None:
    """Suffixes say the kind, units are base units, help is one sentence, no label is reserved."""
    assert re.fullmatch(r"conduit_[a-z0-9_]+[a-z0-9]", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.name.endswith("_info") == (metric.kind is Kind.INFO)
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert metric.kind is not Kind.HISTOGRAM or metric.name.endswith("_seconds")
    assert not re.search(r"_(bucket|count|sum|created)$", metric.name)
    assert metric.help.endswith(".")
    assert "\n" not in metric.help
    assert len(metric.labels) == len(set(metric.labels))
    assert not {"le", "quantile", "job", "instance"} & set(metric.labels)


@pytest.mark.parametrize("metric", [one for one in CATALOGUE if one.buckets], ids=lambda m: m.name)
def test_buckets_rise(metric: Metric) -> None:
    """Bounds are sorted, positive and finite; the infinite one is added as text."""
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.buckets[0] > 0
    assert metric.bounds[-1] == "+Inf"


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [(0.0, "0.5"), (0.5, "0.5"), (0.500001, "1.0"), (7200.0, "7200.0"), (7200.1, "+Inf")],
)
def test_bucket_of_is_inclusive_above(seconds: float, bound: str) -> None:
    """A value that equals a bound belongs to that bucket, as `le` says."""
    assert RUN_DURATION.bucket_of(seconds) == bound


def test_page_is_up_to_date() -> None:
    """docs/METRICS.md is what the catalogue makes; `python -m exporter.metrics.reference`."""
    page = Path(__file__).parent.parent / "docs" / "METRICS.md"
    assert catalogue_to_markdown() == page.read_text(encoding="utf-8")
