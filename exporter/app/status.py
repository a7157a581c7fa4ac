"""What the status page says, filled from the running stages."""

from typing import Any

from exporter import __version__
from exporter.app.assembly import Exporter
from exporter.app.revision import revision
from exporter.ledger.totals import Family
from exporter.sync.state import WorkspaceState


def status(exporter: Exporter) -> dict[str, Any]:
    """The whole status page."""
    ledger, totals = exporter.ledger, exporter.ledger.totals
    fault = exporter.gate.fault
    return {
        "version": __version__,
        "revision": revision(),
        "now_ns": exporter.clock.now_ns(),
        "started_ns": exporter.started_ns,
        "not_ready": exporter.not_ready(),
        "workspaces": [_workspace(exporter, one) for one in exporter.workspaces().values()],
        "delivery": _delivery(exporter),
        "outbox": {
            "traces_pending": int(totals.get(Family.TRACES_PENDING)),
            "traces_parked": int(totals.get(Family.TRACES_PARKED)),
            "stored_bytes": int(totals.get(Family.OUTBOX_BYTES)),
            "limit_bytes": exporter.settings.outbox_limit_bytes,
            "oldest_ns": ledger.oldest_pending_ns,
        },
        "ledger": {
            "location": ledger.path,
            "stored_bytes": ledger.size_bytes,
            "problem": None if fault is None else str(fault),
        },
    }


def _workspace(exporter: Exporter, workspace: WorkspaceState) -> dict[str, Any]:
    totals = exporter.ledger.totals
    counted: dict[int, int] = {}
    for key, value in totals.items():
        if key.family == Family.RUNS:
            counted[key.agent_no] = counted.get(key.agent_no, 0) + int(value)
    agents = [agent for agent in workspace.agents.values() if agent.listed]
    polls = [agent.last_poll_ns for agent in agents if agent.last_poll_ns is not None]
    return {
        "id": workspace.id,
        "name": workspace.name,
        "up": workspace.up,
        "problem": workspace.last_error if workspace.up is False else None,
        "last_contact_ns": max(polls, default=None),
        "requests_per_minute": workspace.budget.requests_per_minute,
        "runs_awaiting_detail": sum(
            int(totals.get(Family.AWAITING_DETAIL, agent.no)) for agent in agents
        ),
        "agents": [
            {
                "id": agent.id,
                "name": agent.name,
                "last_poll_ns": agent.last_poll_ns,
                "runs_counted": counted.get(agent.no, 0),
                "runs_in_flight": len(agent.progress.in_flight),
            }
            for agent in agents
        ],
    }


def _delivery(exporter: Exporter) -> dict[str, Any]:
    totals, delivery = exporter.ledger.totals, exporter.delivery
    return {
        "endpoint": None if delivery is None else delivery.destination,
        "problem": None if delivery is None else delivery.problem,
        "last_delivered_ns": None if delivery is None else delivery.last_success_ns,
        "traces_delivered": int(totals.get(Family.TRACES_DELIVERED)),
        "spans_delivered": int(totals.get(Family.SPANS_DELIVERED)),
        "traces_rejected": int(totals.get(Family.TRACES_REJECTED)),
        "spans_rejected": int(totals.get(Family.SPANS_REJECTED)),
    }
