"""The catalogue: names, labels, buckets and the page made of them."""

from pathlib import Path

from exporter.metrics.catalogue import CATALOGUE
from tests.metrics_page import catalogue_to_markdown

# The contract with dashboards and alerts, written out once more on purpose.
CONTRACT = """
conduit_runs_total workspace_id agent_id status disposition
conduit_run_tokens_total workspace_id agent_id token_type
conduit_run_cost_usd_total workspace_id agent_id
conduit_runs_unpriced_total workspace_id agent_id
conduit_run_duration_seconds workspace_id agent_id status
conduit_run_price_usd workspace_id agent_id
conduit_period_cost_usd workspace_id agent_id period
conduit_budget_usd workspace_id period
conduit_run_revisions_total workspace_id agent_id
conduit_tool_calls_total workspace_id agent_id tool
conduit_tool_call_errors_total workspace_id agent_id tool
conduit_runs_in_flight workspace_id agent_id status
conduit_oldest_in_flight_run_timestamp_seconds workspace_id agent_id
conduit_last_run_timestamp_seconds workspace_id agent_id
conduit_agent_info workspace_id agent_id agent_name
conduit_workspace_info workspace_id workspace_name
conduit_up workspace_id
conduit_exporter_build_info version revision
conduit_exporter_ready
conduit_exporter_agents_unscanned workspace_id
conduit_exporter_agents_missing
conduit_exporter_api_requests_total endpoint code
conduit_exporter_api_request_duration_seconds endpoint
conduit_exporter_budget_requests_total workspace_id purpose
conduit_exporter_api_budget_requests_per_minute workspace_id
conduit_exporter_api_rate_limited_total workspace_id
conduit_exporter_last_poll_success_timestamp_seconds workspace_id agent_id
conduit_exporter_runs_awaiting_detail workspace_id
conduit_exporter_oldest_awaiting_detail_timestamp_seconds workspace_id
conduit_exporter_traces_pending
conduit_exporter_oldest_pending_trace_timestamp_seconds
conduit_exporter_outbox_bytes
conduit_exporter_outbox_limit_bytes
conduit_exporter_traces_delivered_total
conduit_exporter_spans_delivered_total
conduit_exporter_traces_rejected_total
conduit_exporter_spans_rejected_total
conduit_exporter_traces_parked
conduit_exporter_trace_backend_up
conduit_exporter_delivery_attempts_total outcome
conduit_exporter_count_delay_seconds
conduit_exporter_trace_delay_seconds
conduit_exporter_runs_quarantined_total reason
conduit_exporter_label_overflow_total label
conduit_exporter_ledger_bytes
conduit_exporter_ledger_free_bytes
conduit_exporter_ledger_writable
conduit_exporter_ledger_created_timestamp_seconds
conduit_exporter_collector_success collector
conduit_exporter_web_config_last_reload_successful
"""


def test_names_and_labels_are_the_contract() -> None:
    """Each metric has exactly the name and the labels that dashboards were built on."""
    lines = [line.split() for line in CONTRACT.strip().splitlines()]
    assert {metric.name: metric.labels for metric in CATALOGUE} == {
        name: tuple(labels) for name, *labels in lines
    }


def test_the_page_is_made_of_the_catalogue() -> None:
    """docs/METRICS.md is what `python -m tests.metrics_page` writes."""
    page = Path(__file__).parent.parent / "docs" / "METRICS.md"
    assert catalogue_to_markdown() == page.read_text(encoding="utf-8")
