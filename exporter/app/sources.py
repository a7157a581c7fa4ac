"""What /metrics shows beside the live instruments: the ledger's totals and the state of the stages.

Answers from memory alone; called at each scrape, and what it answers is read in another thread.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from decimal import Decimal
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exporter import __version__
from exporter.app.exemplars import ExemplarBook
from exporter.conduit.models import (
    DISPOSITIONS,
    IN_FLIGHT_STATUSES,
    TERMINAL_STATUSES,
    Reason,
)
from exporter.convert.trace import NO_DISPOSITION
from exporter.ledger.totals import Family, Number, TotalKey
from exporter.ledger.traces import DAMAGED
from exporter.metrics import catalogue
from exporter.metrics.catalogue import Metric
from exporter.metrics.collector import HistogramValue, Sample
from exporter.metrics.labels import OTHER
from exporter.sync.recording import GivenUp

if TYPE_CHECKING:
    from exporter.app.assembly import Exporter
    from exporter.sync.state import AgentState, WorkspaceState

_NANO: Final = 1e9
_KNOWN_RUNS: Final = tuple(product(TERMINAL_STATUSES, (*DISPOSITIONS, NO_DISPOSITION)))
# Families whose samples are plain sums: the metric, and how many of the two labels it has.
_SUMS: Final[Mapping[str, tuple[Metric, int]]] = {
    Family.RUNS: (catalogue.RUNS, 2),
    Family.TOKENS: (catalogue.RUN_TOKENS, 1),
    Family.COST_USD: (catalogue.RUN_COST, 0),
    Family.UNPRICED: (catalogue.RUNS_UNPRICED, 0),
    Family.REVISIONS: (catalogue.RUN_REVISIONS, 0),
    Family.TOOL_CALLS: (catalogue.TOOL_CALLS, 1),
    Family.TOOL_ERRORS: (catalogue.TOOL_CALL_ERRORS, 1),
}
_WHOLE: Final[Mapping[Family, Metric]] = {
    Family.TRACES_PENDING: catalogue.TRACES_PENDING,
    Family.TRACES_PARKED: catalogue.TRACES_PARKED,
    Family.OUTBOX_BYTES: catalogue.OUTBOX_BYTES,
    Family.TRACES_DELIVERED: catalogue.TRACES_DELIVERED,
    Family.SPANS_DELIVERED: catalogue.SPANS_DELIVERED,
    Family.TRACES_REJECTED: catalogue.TRACES_REJECTED,
    Family.SPANS_REJECTED: catalogue.SPANS_REJECTED,
}

_AgentTotals = Mapping[tuple[str, str, str], Number]
_Labels = tuple[str, str]


def run_samples(exporter: "Exporter") -> Iterable[Sample]:
    """What is known of runs: series of an agent appear once its first scan is complete."""
    return _run_samples(
        [
            (workspace.id, workspace.name, list(map(copy, workspace.agents.values())))
            for workspace in exporter.workspaces().values()
        ],
        totals=exporter.ledger.totals.items(),
        costs=exporter.period_costs(),
        exemplars=exporter.exemplars,
    )


def _run_samples(
    workspaces: Iterable[tuple[str, str, Iterable["AgentState"]]],
    *,
    totals: Iterable[tuple[TotalKey, Number]],
    costs: Mapping[int, tuple[Decimal, Decimal]],
    exemplars: ExemplarBook,
) -> Iterator[Sample]:
    by_agent: defaultdict[int, dict[tuple[str, str, str], Number]] = defaultdict(dict)
    for key, value in totals:
        by_agent[key.agent_no][key.family, key.label1, key.label2] = value
    for workspace_id, workspace_name, agents in workspaces:
        yield Sample(catalogue.WORKSPACE_INFO, (workspace_id, workspace_name), 1)
        for agent in agents:
            day, month = costs.get(agent.no, (Decimal(0), Decimal(0)))
            if not agent.listed and not month:
                continue
            labels = (workspace_id, agent.id)
            yield Sample(catalogue.AGENT_INFO, (*labels, agent.name), 1)
            if agent.shown:
                yield Sample(catalogue.PERIOD_COST, (*labels, "day"), day)
                yield Sample(catalogue.PERIOD_COST, (*labels, "month"), month)
            if not agent.listed:
                continue
            if agent.shown:
                yield from _agent(exemplars, labels, agent.no, by_agent[agent.no])
            yield from _live(labels, agent)


def exporter_samples(exporter: "Exporter") -> Iterable[Sample]:
    """What is known of the exporter as a whole and of each workspace."""
    return list(_exporter_samples(exporter))


def _exporter_samples(exporter: "Exporter") -> Iterator[Sample]:
    yield Sample(catalogue.BUILD_INFO, (__version__, revision()), 1)
    yield Sample(catalogue.READY, (), int(not exporter.not_ready()))
    ledger, settings = exporter.ledger, exporter.settings
    for family, metric in _WHOLE.items():
        yield Sample(metric, (), ledger.totals.get(family))
    quarantined: dict[str, Number] = dict.fromkeys((*Reason, *GivenUp, DAMAGED), 0)
    for key, value in ledger.totals.items():
        if key.family == Family.QUARANTINED:
            quarantined[key.label1] = value
    for reason, value in quarantined.items():
        yield Sample(catalogue.RUNS_QUARANTINED, (reason,), value)
    yield Sample(catalogue.OUTBOX_LIMIT_BYTES, (), settings.outbox_limit_bytes)
    if exporter.delivery is not None:
        # Where no traces are sent, none is late.
        if ledger.oldest_pending_ns is not None:
            yield Sample(catalogue.OLDEST_PENDING_TRACE, (), ledger.oldest_pending_ns / _NANO)
        if exporter.delivery.backend_up is not None:
            yield Sample(catalogue.TRACE_BACKEND_UP, (), int(exporter.delivery.backend_up))
    yield Sample(catalogue.LEDGER_BYTES, (), ledger.size_bytes)
    yield Sample(catalogue.LEDGER_FREE_BYTES, (), ledger.free_bytes)
    yield Sample(catalogue.LEDGER_WRITABLE, (), int(exporter.gate.fault is None))
    yield Sample(catalogue.LEDGER_CREATED, (), ledger.created_ns / _NANO)
    yield Sample(catalogue.AGENTS_MISSING, (), len(exporter.missing_agents()))
    for workspace in exporter.workspaces().values():
        yield from _workspace(exporter, workspace)


def _workspace(exporter: "Exporter", workspace: "WorkspaceState") -> Iterator[Sample]:
    labels = (workspace.id,)
    agents = workspace.agents.values()
    if workspace.up is not None:
        yield Sample(catalogue.UP, labels, int(workspace.up))
    yield Sample(catalogue.API_BUDGET, labels, workspace.budget.requests_per_minute)
    unscanned = sum(agent.listed and not agent.scanned for agent in agents)
    yield Sample(catalogue.AGENTS_UNSCANNED, labels, unscanned)
    totals = exporter.ledger.totals
    awaiting = sum(int(totals.get(Family.AWAITING_DETAIL, agent.no)) for agent in agents)
    yield Sample(catalogue.RUNS_AWAITING_DETAIL, labels, awaiting)
    oldest = [agent.progress.oldest_awaiting_ns for agent in agents]
    oldest_ns = min((one for one in oldest if one is not None), default=None)
    if oldest_ns is not None:
        yield Sample(catalogue.OLDEST_AWAITING_DETAIL, labels, oldest_ns / _NANO)
    budget = exporter.budget_usd(workspace.id)
    if budget is not None:
        yield Sample(catalogue.BUDGET, (*labels, "month"), budget)


def _agent(
    book: ExemplarBook, labels: _Labels, agent_no: int, totals: _AgentTotals
) -> Iterator[Sample]:
    sums: dict[tuple[Metric, tuple[str, ...]], Number] = {
        (catalogue.RUNS, (*labels, *known)): 0 for known in _KNOWN_RUNS
    }
    for token_type in catalogue.TOKEN_TYPES:
        sums[catalogue.RUN_TOKENS, (*labels, token_type)] = 0
    for metric in (catalogue.RUN_COST, catalogue.RUNS_UNPRICED, catalogue.RUN_REVISIONS):
        sums[metric, labels] = 0
    durations: dict[str, dict[str, int]] = {status: {} for status in TERMINAL_STATUSES}
    prices: dict[str, int] = {}
    for (family, label1, label2), value in totals.items():
        if family in _SUMS:
            metric, count = _SUMS[family]
            sums[metric, (*labels, *(label1, label2)[:count])] = value
        elif family == Family.DURATION_BUCKET:
            durations.setdefault(label1, {})[label2] = int(value)
        elif family == Family.PRICE_BUCKET:
            prices[label1] = int(value)
        elif family == Family.LAST_RUN_NS:
            yield Sample(catalogue.LAST_RUN, labels, int(value) / _NANO)
    for (metric, label_values), value in sums.items():
        yield Sample(metric, label_values, value)
    for status, counts in durations.items():
        total_ns = int(totals.get((Family.DURATION_NS, status, ""), 0))
        yield Sample(
            catalogue.RUN_DURATION,
            (*labels, status),
            HistogramValue(
                counts, total_ns / _NANO, book.of(catalogue.RUN_DURATION, agent_no, status)
            ),
        )
    yield Sample(
        catalogue.RUN_PRICE,
        labels,
        HistogramValue(
            prices,
            totals.get((Family.COST_USD, "", ""), 0),
            book.of(catalogue.RUN_PRICE, agent_no),
        ),
    )


def _live(labels: _Labels, agent: "AgentState") -> Iterator[Sample]:
    if agent.last_poll_ns is not None:
        yield Sample(catalogue.LAST_POLL_SUCCESS, labels, agent.last_poll_ns / _NANO)
    counts = dict.fromkeys((*IN_FLIGHT_STATUSES, OTHER), 0)
    for run in agent.progress.in_flight:
        counts[run.status if run.status in counts else OTHER] += 1
    for status, count in counts.items():
        yield Sample(catalogue.RUNS_IN_FLIGHT, (*labels, status), count)
    if agent.progress.in_flight:
        oldest_ns = min(run.created_ns for run in agent.progress.in_flight)
        yield Sample(catalogue.OLDEST_IN_FLIGHT_RUN, labels, oldest_ns / _NANO)


@lru_cache(maxsize=1)
def revision() -> str:
    """The source revision, which the image's build writes beside the package; else `unknown`."""
    try:
        text = (Path(__file__).parents[1] / "REVISION").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return "unknown"
    return text or "unknown"
