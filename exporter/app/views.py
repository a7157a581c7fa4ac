"""What the health answers and the status page say, filled from the running stages."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import make_url

from exporter import __version__
from exporter.app.assembly import Exporter
from exporter.app.revision import revision
from exporter.ledger import families
from exporter.ledger.totals import TotalKey
from exporter.sync.state import WorkspaceState


def not_ready(exporter: Exporter) -> tuple[str, ...]:
    """What speaks against being ready: an agent without its first scan, a ledger without writes."""
    return tuple(_reasons(exporter))


def status(exporter: Exporter) -> dict[str, Any]:
    """The whole status page."""
    ledger = exporter.ledger
    outbox = ledger.outbox_state
    fault = exporter.gate.fault
    return {
        "version": __version__,
        "revision": revision(),
        "now_ns": exporter.clock.now_ns(),
        "started_ns": exporter.started_ns,
        "not_ready": not_ready(exporter),
        "workspaces": tuple(_workspace(exporter, one) for one in exporter.workspaces().values()),
        "delivery": _delivery(exporter),
        "outbox": {
            "traces_pending": outbox.pending,
            "traces_parked": outbox.parked,
            "stored_bytes": outbox.stored_bytes,
            "limit_bytes": exporter.settings.outbox_limit_bytes,
            "oldest_ns": outbox.oldest_ns,
        },
        "ledger": {
            "location": ledger_location(exporter.settings.ledger_url.get_secret_value()),
            "stored_bytes": ledger.size_bytes,
            "problem": None if fault is None else str(fault),
        },
    }


def ledger_location(url: str) -> str:
    """The ledger's address without a password, which may stand among the options as well."""
    return make_url(url).set(query={}).render_as_string(hide_password=True)


def _reasons(exporter: Exporter) -> Iterator[str]:
    if exporter.gate.fault is not None:
        yield f"The ledger cannot be written: {exporter.gate.fault}"
    sync = exporter.sync
    if not sync.discovered:
        yield f"The workspaces are not known yet{_because(sync.trouble)}"
    for workspace in sync.workspaces.values():
        if not workspace.discovered:
            yield (
                f"The agents of workspace {workspace.id} are not known yet"
                f"{_because(workspace.trouble)}"
            )
        unread = [one for one in workspace.agents.values() if not one.scanned and not one.retired]
        if unread:
            yield (
                f"The first scan of {len(unread)} of {len(workspace.agents)} agents of workspace "
                f"{workspace.id} is not complete{_because(workspace.trouble)}"
            )
    if sync.discovered and all(one.discovered for one in sync.workspaces.values()):
        for agent_id in sync.missing_agents():
            yield f"Agent {agent_id} is configured, but no workspace of this token lists it"


def _because(trouble: str | None) -> str:
    return "" if trouble is None else f": {trouble}"


def _workspace(exporter: Exporter, workspace: WorkspaceState) -> dict[str, Any]:
    counted: dict[int, int] = {}
    for key, value in exporter.ledger.totals.items():
        if key.family == families.RUNS:
            counted[key.agent_no] = counted.get(key.agent_no, 0) + int(value)
    agents = workspace.agents.values()
    polls = [agent.last_poll_ns for agent in agents if agent.last_poll_ns is not None]
    return {
        "id": workspace.id,
        "name": workspace.name,
        "up": workspace.up,
        "problem": workspace.trouble,
        "last_contact_ns": max(polls, default=None),
        "requests_per_minute": workspace.budget.requests_per_minute,
        "runs_awaiting_detail": sum(agent.awaiting_total for agent in agents),
        "agents": tuple(
            {
                "id": agent.id,
                "name": agent.name,
                "last_poll_ns": agent.last_poll_ns,
                "runs_counted": counted.get(agent.no, 0),
                "runs_in_flight": len(agent.in_flight),
            }
            for agent in agents
        ),
    }


def _delivery(exporter: Exporter) -> dict[str, Any]:
    def total(family: str) -> int:
        return int(exporter.ledger.totals.get(TotalKey(family)))

    delivery = exporter.delivery
    state = None if delivery is None else delivery.state
    return {
        "endpoint": None if delivery is None else delivery.destination,
        "problem": None if state is None else state.problem,
        "last_delivered_ns": None if state is None else state.last_success_ns,
        "traces_delivered": total(families.TRACES_DELIVERED),
        "spans_delivered": total(families.SPANS_DELIVERED),
        "traces_rejected": total(families.TRACES_REJECTED),
        "spans_rejected": total(families.SPANS_REJECTED),
    }
