"""What a run adds to the totals: pure bookkeeping, no database.

Every key that a first run of a kind could add is touched, with zero if need be, so that series
exist before their first increment.
"""

from collections.abc import Iterable
from decimal import Decimal

from exporter.ledger import families
from exporter.ledger.totals import TotalKey, TotalsDelta
from exporter.models import Run


def add_counted(
    delta: TotalsDelta, agent_no: int, run: Run, disposition: str, bucket: str | None
) -> None:
    """Count a run that has ended."""
    delta.add(TotalKey(families.RUNS, agent_no, run.status, disposition), 1)
    if run.input_tokens:
        delta.add(TotalKey(families.TOKENS, agent_no, "input"), run.input_tokens)
    if run.output_tokens:
        delta.add(TotalKey(families.TOKENS, agent_no, "output"), run.output_tokens)
    if run.cost_usd is None:
        delta.add(TotalKey(families.UNPRICED, agent_no), 1)
    elif run.cost_usd:
        delta.add(TotalKey(families.COST_USD, agent_no), Decimal(run.cost_usd))
    if bucket is not None and run.duration_ns is not None:
        delta.add(TotalKey(families.DURATION_BUCKET, agent_no, run.status, bucket), 1)
        delta.add(TotalKey(families.DURATION_NS, agent_no, run.status), run.duration_ns)
    delta.raise_to(TotalKey(families.LAST_RUN_NS, agent_no), run.completed_ns or run.created_ns)


def add_tools(delta: TotalsDelta, agent_no: int, tools: Iterable[tuple[str, bool]]) -> None:
    """Count the tool calls of a traced run; each is (tool, failed)."""
    for tool, failed in tools:
        delta.add(TotalKey(families.TOOL_CALLS, agent_no, tool), 1)
        delta.add(TotalKey(families.TOOL_ERRORS, agent_no, tool), int(failed))
