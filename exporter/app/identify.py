"""The trace id of one run: from the ledger where it is kept, else from the API by one request."""

from dataclasses import dataclass
from datetime import date

from exporter.app.adapters import has_ledger, open_client, open_ledger
from exporter.clock import SystemClock
from exporter.conduit.models import Unreadable
from exporter.convert.ids import trace_id_of
from exporter.errors import LedgerError, SourceMalformed
from exporter.ledger.ledger import Ledger
from exporter.settings.model import Settings


@dataclass(frozen=True, slots=True)
class TraceIdAnswer:
    """A trace id in hex, and where it was found."""

    trace_id: str
    source: str


async def find_trace_id(settings: Settings, *, agent_id: str, run_id: str) -> TraceIdAnswer:
    """The trace id of a run; raises SourceError where Conduit does not show the run."""
    return _from_ledger(settings, agent_id, run_id) or await _from_api(settings, agent_id, run_id)


def _from_ledger(settings: Settings, agent_id: str, run_id: str) -> TraceIdAnswer | None:
    """None where no ledger is there, a running exporter holds it, or the run is not in it."""
    if not has_ledger(settings):
        return None
    try:
        ledger = open_ledger(settings, now_ns=SystemClock().now_ns(), today=lambda: date.max)
    except LedgerError:
        return None

    def find(opened: Ledger) -> bytes | None:
        agent_no = opened.agents.number_of(agent_id)
        trace = None if agent_no is None else opened.traces.of_run(agent_no, run_id)
        return None if trace is None else trace.trace_id

    try:
        found = ledger.transact([find])[0]
    finally:
        ledger.close()
    return None if found is None else TraceIdAnswer(found.hex(), "the ledger")


async def _from_api(settings: Settings, agent_id: str, run_id: str) -> TraceIdAnswer:
    client = open_client(settings, clock=SystemClock())
    try:
        workspace_id = (await client.agent(agent_id)).workspace_id
        detail = await client.run(workspace_id=workspace_id, agent_id=agent_id, run_id=run_id)
    finally:
        await client.aclose()
    if isinstance(detail, Unreadable):
        raise SourceMalformed(f"Run {run_id} cannot be understood: {detail.detail}")
    run = detail.run
    trace_id = trace_id_of(raw=run.trace_id, workspace_id=run.workspace_id, run_id=run.id)
    return TraceIdAnswer(trace_id.hex(), "the Conduit API")
