"""The labels of every metric, for tests of what queries them.

The catalogue says them. PENDING holds what it is about to say; it goes when the catalogue does.
"""

from exporter.metrics.catalogue import CATALOGUE

_RUN = frozenset({"workspace_id", "agent_id"})
_WORKSPACE = frozenset({"workspace_id"})
_NONE: frozenset[str] = frozenset()

PENDING = {
    "conduit_run_price_usd": _RUN,
    "conduit_period_cost_usd": _RUN | {"period"},
    "conduit_budget_usd": _WORKSPACE | {"period"},
    "conduit_exporter_ready": _NONE,
    "conduit_exporter_agents_unscanned": _WORKSPACE,
    "conduit_exporter_agents_missing": _NONE,
    "conduit_exporter_budget_requests_total": _WORKSPACE | {"purpose"},
    "conduit_exporter_oldest_awaiting_detail_timestamp_seconds": _WORKSPACE,
    "conduit_exporter_outbox_limit_bytes": _NONE,
    "conduit_exporter_trace_backend_up": _NONE,
    "conduit_exporter_delivery_attempts_total": frozenset({"outcome"}),
    "conduit_exporter_ledger_free_bytes": _NONE,
    "conduit_exporter_ledger_writable": _NONE,
    "conduit_exporter_ledger_created_timestamp_seconds": _NONE,
}
HISTOGRAMS = {"conduit_run_price_usd"} | {
    metric.name for metric in CATALOGUE if metric.kind == "histogram"
}
LABELS = PENDING | {metric.name: frozenset(metric.labels) for metric in CATALOGUE}
