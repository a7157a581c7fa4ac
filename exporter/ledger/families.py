"""The families of totals that the ledger sums, by name.

One word a family, so that the writer of a sum and its reader on /metrics cannot differ.
"""

from typing import Final

RUNS: Final = "runs"  # label1 status, label2 disposition
TOKENS: Final = "tokens"  # label1 token type
COST_USD: Final = "cost_usd"
UNPRICED: Final = "unpriced"
DURATION_BUCKET: Final = "duration_bucket"  # label1 status, label2 upper bound; not cumulative
DURATION_NS: Final = "duration_ns"  # label1 status
TOOL_CALLS: Final = "tool_calls"  # label1 tool
TOOL_ERRORS: Final = "tool_errors"  # label1 tool
LAST_RUN_NS: Final = "last_run_ns"  # a maximum
QUARANTINED: Final = "quarantined"  # label1 reason; agent 0
REVISIONS: Final = "revisions"
TRACES_DELIVERED: Final = "traces_delivered"  # agent 0
SPANS_DELIVERED: Final = "spans_delivered"  # agent 0
TRACES_REJECTED: Final = "traces_rejected"  # agent 0
SPANS_REJECTED: Final = "spans_rejected"  # agent 0
