"""What the status page says: what needs attention, and how every stage stands.

Answers whatever the ledger's disk does: what only the file knows is then left out. Shows no secret.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from pydantic import SecretStr

from exporter import __version__
from exporter.app.assembly import Exporter
from exporter.app.runs import read_ledger, run_row
from exporter.app.sources import revision
from exporter.errors import LedgerError
from exporter.ledger.history import Outcomes, RunFilter
from exporter.ledger.ledger import Ledger
from exporter.ledger.records import RunSummary
from exporter.ledger.totals import Family
from exporter.metrics import catalogue
from exporter.metrics.catalogue import Metric
from exporter.settings.endpoints import OtlpTarget
from exporter.settings.model import Settings
from exporter.sync.requests import Purpose
from exporter.sync.state import AgentState, WorkspaceState

_RECENT: Final = 20
# So many of the recent runs may be failures that are older than the rest.
_RECENT_FAILED: Final = 10
_NO_COST: Final = (Decimal(0), Decimal(0))

# The thresholds of the alerts that the reasons name; docs/RUNBOOKS.md tells them.
_STALE_NS: Final = 1800 * 1_000_000_000
_TRACES_STUCK_NS: Final = 900 * 1_000_000_000
_OUTBOX_FILLING: Final = 0.8
_OUTBOX_FULL: Final = 0.95
_FAILED_RATIO: Final = 0.1
_FAILED_MIN: Final = 3
_RUNS_MIN: Final = 10
_BUDGET_NEARLY_USED: Final = Decimal("0.8")


async def status_page(exporter: Exporter) -> dict[str, Any]:
    """The whole status page."""
    settings = exporter.settings
    since_ns, until_ns = _today(exporter)

    def work(ledger: Ledger) -> tuple[dict[int, Outcomes], list[RunSummary]]:
        newest = ledger.history.runs(RunFilter(), max_runs=_RECENT)
        failed = ledger.history.runs(RunFilter(status="failed"), max_runs=_RECENT_FAILED)
        return (
            ledger.history.outcomes(since_ns=since_ns, until_ns=until_ns),
            recent_runs(newest, failed),
        )

    try:
        outcomes, recent = await read_ledger(exporter, work)
    except LedgerError:
        outcomes, recent = None, None
    costs = exporter.period_costs()
    workspaces = exporter.workspaces().values()
    spent = {
        one.id: sum((costs.get(agent.no, _NO_COST)[1] for agent in one.agents.values()), Decimal(0))
        for one in workspaces
    }
    reasons = list(_reasons(exporter, outcomes or {}, spent))
    levels = {one["level"] for one in reasons}
    kept_s = max(settings.retention_s, settings.lookback_s)
    return {
        "version": __version__,
        "revision": revision(),
        "now_ns": exporter.clock.now_ns(),
        "started_ns": exporter.started_ns,
        "ready": not exporter.not_ready(),
        "state": "bad" if "bad" in levels else "warn" if levels else "good",
        "reasons": reasons,
        "today": {
            "date": exporter.today().isoformat(),
            "timezone": str(settings.timezone),
            "since_ns": since_ns,
            # Shorter than a day, the ledger has let go of runs of today.
            "whole": kept_s >= timedelta(days=1).total_seconds(),
            "costs_from_ns": _costs_from_ns(exporter),
            "runs": None if outcomes is None else sum(one.runs for one in outcomes.values()),
            "failed": None if outcomes is None else sum(one.failed for one in outcomes.values()),
            "cost_usd": sum((day for day, _ in costs.values()), Decimal(0)),
            "month_cost_usd": sum((month for _, month in costs.values()), Decimal(0)),
        },
        "agents": [
            {
                **_agent(agent, (outcomes or {}).get(agent.no)),
                "workspace_id": workspace.id,
                "day_cost_usd": costs.get(agent.no, _NO_COST)[0],
            }
            for workspace in workspaces
            for agent in workspace.agents.values()
            if agent.listed
        ],
        "recent": None
        if recent is None
        else [run_row(run, trace_link=settings.trace_link) for run in recent],
        "workspaces": [_workspace(exporter, one, spent[one.id]) for one in workspaces],
        "delivery": _delivery(exporter),
        "ledger": {
            "location": exporter.ledger.path,
            "stored_bytes": exporter.ledger.size_bytes,
            "free_bytes": exporter.ledger.free_bytes,
            "created_ns": exporter.ledger.created_ns,
            "retention_s": settings.retention_s,
            "problem": None if exporter.gate.fault is None else str(exporter.gate.fault),
        },
        "settings": list(effective_settings(settings)),
    }


def recent_runs(newest: list[RunSummary], failed: list[RunSummary]) -> list[RunSummary]:
    """The newest runs, of which failures are the last to make room for newer ones."""
    kept = {run.no: run for run in failed}
    for run in newest:
        if len(kept) < _RECENT:
            kept.setdefault(run.no, run)
    return sorted(kept.values(), key=lambda run: (run.ended_ns, run.no), reverse=True)


def effective_settings(settings: Settings) -> Iterator[dict[str, Any]]:
    """Every setting by its name: the value in use, in words, and whether it was set."""
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        name = alias if isinstance(alias, str) else str(getattr(alias, "choices", [field])[-1])
        if info.description is not None:
            yield {
                "name": name,
                "value": _setting(field, getattr(settings, field)),
                "is_set": field in settings.model_fields_set,
                "description": info.description,
            }


def _setting(field: str, value: Any) -> str | None:
    """A value as text; None where there is none."""
    text = "" if value is None else str(value)
    if isinstance(value, SecretStr):
        text = "set, not shown"
    elif isinstance(value, OtlpTarget):
        text = value.destination
    elif isinstance(value, bool):
        text = text.lower()
    elif field.endswith("_s"):
        text = f"{value:g} s"
    elif field == "redact_patterns":
        text = f"{len(value)} patterns" if value else ""
    elif isinstance(value, Mapping):
        text = ", ".join(f"{key}={one}" if key else str(one) for key, one in value.items())
    elif isinstance(value, frozenset) or type(value) is tuple:
        text = ", ".join(sorted(_item(one) for one in value))
    return text or None


def _item(value: str | tuple[str, str | SecretStr]) -> str:
    if isinstance(value, str):
        return value
    return "=".join("..." if isinstance(part, SecretStr) else part for part in value)


def _today(exporter: Exporter) -> tuple[int, int]:
    """Beginning and end of the present day of the configured calendar."""
    today, zone = exporter.today(), exporter.settings.timezone
    midnights = (datetime.combine(day, time(), zone) for day in (today, today + timedelta(days=1)))
    since_ns, until_ns = (round(one.timestamp()) * 1_000_000_000 for one in midnights)
    return since_ns, until_ns


def _costs_from_ns(exporter: Exporter) -> int | None:
    """From when on runs are counted; None where that is before the present calendar month."""
    month = exporter.today().replace(day=1)
    begin_s = datetime.combine(month, time(), exporter.settings.timezone).timestamp()
    begins = [agent.progress.agent.counted_from_ns for agent in exporter.agents()]
    from_ns = min(begins, default=None)
    return from_ns if from_ns is not None and from_ns > begin_s * 1e9 else None


# --- what needs attention ----------------------------------------------------------------------


def _reason(
    level: str, text: str, alert: str, metric: Metric, *, agent_id: str | None = None
) -> dict[str, Any]:
    """One reason of the banner; `agent_id` names whose failed runs to look at."""
    return {
        "level": level,
        "text": text,
        "alert": alert,
        "metric": metric.name,
        "agent_id": agent_id,
    }


def _reasons(
    exporter: Exporter, outcomes: dict[int, Outcomes], costs: dict[str, Decimal]
) -> Iterator[dict[str, Any]]:
    fault = exporter.gate.fault
    if fault is not None:
        text = f"The ledger cannot be written: {fault}"
        yield _reason("bad", text, "ConduitLedgerUnwritable", catalogue.LEDGER_WRITABLE)
    for workspace in exporter.workspaces().values():
        yield from _contact_reasons(workspace)
        yield from _budget_reasons(exporter, workspace, costs[workspace.id])
        for agent in workspace.agents.values():
            yield from _agent_reasons(exporter, agent, outcomes.get(agent.no, Outcomes()))
    for workspace_id in exporter.unknown_budgets():
        text = f"EXPORTER_MONTHLY_BUDGET_USD names workspace {workspace_id}, which is not read here"
        yield _reason("warn", text, "ConduitBudgetNearlyUsed", catalogue.BUDGET)
    if not exporter.workspaces() and exporter.sync.trouble is not None:
        text = f"No workspace is read: {exporter.sync.trouble}"
        yield _reason("bad", text, "ConduitApiDown", catalogue.UP)
    for text in exporter.not_ready():
        if fault is None or str(fault) not in text:
            yield _reason("warn", text, "ConduitNotReady", catalogue.READY)
    yield from _outbox_reasons(exporter)


def _contact_reasons(workspace: WorkspaceState) -> Iterator[dict[str, Any]]:
    name = workspace.name or workspace.id
    if workspace.refusals:
        text = f"{name}: Conduit refuses the token: {workspace.last_error}"
        yield _reason("bad", text, "ConduitTokenRefused", catalogue.UP)
    elif workspace.up is False:
        text = f"{name}: Conduit does not answer: {workspace.last_error}"
        yield _reason("bad", text, "ConduitApiDown", catalogue.UP)


def _budget_reasons(
    exporter: Exporter, workspace: WorkspaceState, cost: Decimal
) -> Iterator[dict[str, Any]]:
    budget = exporter.budget_usd(workspace.id)
    if budget is None or cost <= budget * _BUDGET_NEARLY_USED:
        return
    name = workspace.name or workspace.id
    text = f"{name}: ${cost:,.2f} of this month's ${budget:,.2f} are spent"
    if cost > budget:
        yield _reason("bad", text, "ConduitBudgetUsed", catalogue.PERIOD_COST)
    else:
        yield _reason("warn", text, "ConduitBudgetNearlyUsed", catalogue.PERIOD_COST)


def _agent_reasons(
    exporter: Exporter, agent: AgentState, outcomes: Outcomes
) -> Iterator[dict[str, Any]]:
    runs, failed, _ = outcomes
    name = agent.name or agent.id
    text = f"{name}: {failed:,} of {runs:,} runs failed today"
    if failed >= _FAILED_MIN and failed == runs:
        yield _reason("bad", text, "ConduitAgentFailsAlways", catalogue.RUNS, agent_id=agent.id)
    elif failed >= _FAILED_MIN and runs >= _RUNS_MIN and failed > runs * _FAILED_RATIO:
        yield _reason("warn", text, "ConduitFailureRatioRaised", catalogue.RUNS, agent_id=agent.id)
    stale_ns = exporter.clock.now_ns() - _STALE_NS
    if agent.listed and agent.last_poll_ns is not None and agent.last_poll_ns < stale_ns:
        text = f"{name}: its runs were last read more than 30 minutes ago"
        yield _reason("warn", text, "ConduitRunsStale", catalogue.LAST_POLL_SUCCESS)


def _outbox_reasons(exporter: Exporter) -> Iterator[dict[str, Any]]:
    totals, limit = exporter.ledger.totals, exporter.settings.outbox_limit_bytes
    used = int(totals.get(Family.OUTBOX_BYTES)) / limit
    if used > _OUTBOX_FILLING:
        full = used > _OUTBOX_FULL
        text = f"The outbox is {used:.0%} full; at its limit no details are fetched"
        alert = "ConduitOutboxFull" if full else "ConduitOutboxFilling"
        yield _reason("bad" if full else "warn", text, alert, catalogue.OUTBOX_BYTES)
    parked = int(totals.get(Family.TRACES_PARKED))
    if parked:
        text = f"{parked:,} traces are parked: the trace backend refused them"
        yield _reason("warn", text, "ConduitTracesParked", catalogue.TRACES_PARKED)
    problem = None if exporter.delivery is None else exporter.delivery.problem
    oldest_ns = exporter.ledger.oldest_pending_ns
    if problem is not None:
        text = f"No traces arrive: {problem}"
        yield _reason("warn", text, "ConduitTracesStuck", catalogue.TRACE_BACKEND_UP)
    elif (
        exporter.delivery is not None
        and oldest_ns is not None
        and exporter.clock.now_ns() - oldest_ns > _TRACES_STUCK_NS
        and int(totals.get(Family.TRACES_PENDING)) > parked
    ):
        text = "The oldest trace has waited for more than 15 minutes"
        yield _reason("warn", text, "ConduitTracesStuck", catalogue.OLDEST_PENDING_TRACE)


# --- how the stages stand ------------------------------------------------------------------------


def _agent(agent: AgentState, outcomes: Outcomes | None) -> dict[str, Any]:
    in_flight = agent.progress.in_flight
    counts = {"runs": None, "failed": None, "escalated": None}
    return {
        "id": agent.id,
        "name": agent.name,
        "scanned": agent.scanned,
        "last_poll_ns": agent.last_poll_ns,
        **(counts if outcomes is None else outcomes._asdict()),
        "in_flight": len(in_flight),
        "oldest_in_flight_ns": min((run.created_ns for run in in_flight), default=None),
    }


def _workspace(
    exporter: Exporter, workspace: WorkspaceState, month_cost: Decimal
) -> dict[str, Any]:
    totals = exporter.ledger.totals
    agents = workspace.agents.values()
    polls = [agent.last_poll_ns for agent in agents if agent.last_poll_ns is not None]
    spent = workspace.spent_last_minute(exporter.clock.monotonic_s())
    return {
        "id": workspace.id,
        "name": workspace.name,
        "up": workspace.up,
        "last_contact_ns": max(polls, default=None),
        "last_error": workspace.last_error,
        "last_error_ns": workspace.last_error_ns,
        "rate_limited_ns": workspace.rate_limited_ns,
        "requests_per_minute": workspace.budget.requests_per_minute,
        "requests_last_minute": {purpose.value: spent[purpose] for purpose in Purpose},
        "runs_awaiting_detail": sum(
            int(totals.get(Family.AWAITING_DETAIL, agent.no)) for agent in agents
        ),
        "month_cost_usd": month_cost,
        "budget_usd": exporter.budget_usd(workspace.id),
    }


def _delivery(exporter: Exporter) -> dict[str, Any]:
    totals, delivery = exporter.ledger.totals, exporter.delivery
    counts = {
        name: int(totals.get(Family(name)))
        for name in (
            "traces_delivered",
            "spans_delivered",
            "traces_rejected",
            "spans_rejected",
            "traces_pending",
            "traces_parked",
            "outbox_bytes",
        )
    }
    return {
        **counts,
        "outbox_limit_bytes": exporter.settings.outbox_limit_bytes,
        "oldest_pending_ns": exporter.ledger.oldest_pending_ns,
        "endpoint": None if delivery is None else delivery.destination,
        "problem": None if delivery is None else delivery.problem,
        "last_delivered_ns": None if delivery is None else delivery.last_success_ns,
        "last_error": None if delivery is None else delivery.last_error,
        "last_error_ns": None if delivery is None else delivery.last_error_ns,
    }
