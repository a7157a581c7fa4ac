"""Makes valid values with defaults, so that a test names only what it is about."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from exporter.ledger.records import EncodedTrace, Sighting
from exporter.ledger.schema import Urgency
from exporter.models import Run
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


def make_sighting(run: Run | None = None, **over: Any) -> Sighting:
    """A sighting of a run, to be traced, fresh."""
    run = run or make_run()
    sighting = Sighting(
        run=run, disposition=run.disposition or "none", urgency=Urgency.FRESH, bucket="5"
    )
    return replace(sighting, **over)


def make_trace(**over: Any) -> EncodedTrace:
    """An encoded trace of two spans."""
    trace = EncodedTrace(
        trace_id=b"\x01" * 16, payload=b"payload" * 20, spans=2, tools=(("get_reservation", False),)
    )
    return replace(trace, **over)
