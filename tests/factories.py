"""Makes valid values with defaults, so that a test names only what it is about."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from exporter.conduit.models import Run
from exporter.ledger.records import EncodedTrace, Priority, RunRecord
from tests.fakes import START_NS

SECOND_NS = 1_000_000_000


def make_run(run_id: str = "ar1", **over: Any) -> Run:
    """A completed run of agent ag1 in workspace ws1, four seconds long."""
    run = Run(
        id=run_id,
        backend_run_id=f"run_{run_id}",
        agent_id="ag1",
        workspace_id="ws1",
        status="completed",
        disposition="resolved",
        duration_ns=4 * SECOND_NS,
        input_tokens=100,
        output_tokens=10,
        cost_usd=Decimal("0.01"),
        created_ns=START_NS,
        completed_ns=START_NS + 4 * SECOND_NS,
    )
    return replace(run, **over)


def make_record(run: Run | None = None, **over: Any) -> RunRecord:
    """A run as it is recorded: to be traced, fresh, ended on 3 April 2026."""
    run = run or make_run()
    record = RunRecord(
        run=run,
        disposition=run.disposition or "none",
        conversation_id=run.conversation_id,
        priority=Priority.FRESH,
        duration_bucket="5.0",
        price_bucket="0.01",
        day="2026-04-03",
    )
    return replace(record, **over)


def make_trace(**over: Any) -> EncodedTrace:
    """An encoded trace of two spans."""
    trace = EncodedTrace(
        trace_id=b"\x01" * 16,
        payload=b"payload" * 20,
        spans=2,
        tools={("get_reservation", False): 1},
    )
    return replace(trace, **over)
