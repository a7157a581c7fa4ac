"""The trace id of one run: from the ledger where it is kept, else from the API by one request."""

from dataclasses import dataclass

from exporter.app.assembly import token_source
from exporter.clock import SystemClock
from exporter.conduit.client import ConduitClient
from exporter.convert.ids import trace_id_of
from exporter.errors import LedgerError, SourceMalformed
from exporter.ledger.database import Database, sqlite_path
from exporter.ledger.ledger import Ledger
from exporter.models import Unreadable
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
    url = settings.ledger_url.get_secret_value()
    path = sqlite_path(url)
    if path is None or not path.exists():
        return None
    try:
        ledger = Ledger(Database(url=url, base_url=settings.base_url))
    except LedgerError:
        return None
    try:
        found = ledger.transact(
            [
                lambda opened: [
                    trace.trace_id
                    for agent_no in opened.agents.numbers_of(agent_id)
                    if (trace := opened.traces.find(agent_no, run_id)) is not None
                ]
            ]
        )[0]
    finally:
        ledger.close()
    return TraceIdAnswer(found[0].hex(), "the ledger") if found else None


async def _from_api(settings: Settings, agent_id: str, run_id: str) -> TraceIdAnswer:
    client = ConduitClient(
        base_url=settings.base_url,
        token=token_source(settings),
        clock=SystemClock(),
        observe=lambda _endpoint, _code, _seconds: None,
    )
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
