"""The readings that /metrics shows: the ledger's totals and the live state, by the catalogue.

Answers from memory alone; called at each scrape.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Final

from exporter.convert.trace import NO_DISPOSITION
from exporter.ledger import families
from exporter.ledger.ledger import Ledger
from exporter.ledger.totals import Number, TotalKey
from exporter.metrics import catalogue
from exporter.metrics.catalogue import Metric
from exporter.metrics.labels import OTHER
from exporter.metrics.reading import Exemplar, HistogramValue, Reading
from exporter.models import DISPOSITIONS, IN_FLIGHT_STATUSES, TERMINAL_STATUSES
from exporter.sync.state import AgentState, WorkspaceState

Workspaces = Callable[[], Mapping[str, WorkspaceState]]
Exemplars = Callable[[int, str], Iterable[Exemplar]]

_NANO: Final = 1e9
_KNOWN_RUNS: Final = tuple(product(TERMINAL_STATUSES, (*DISPOSITIONS, NO_DISPOSITION)))
# Families whose readings are plain sums: the metric, and how many of the two labels it has.
_SUMS: Final[Mapping[str, tuple[Metric, int]]] = {
    families.RUNS: (catalogue.RUNS, 2),
    families.TOKENS: (catalogue.RUN_TOKENS, 1),
    families.COST_USD: (catalogue.RUN_COST, 0),
    families.UNPRICED: (catalogue.RUNS_UNPRICED, 0),
    families.REVISIONS: (catalogue.RUN_REVISIONS, 0),
    families.TOOL_CALLS: (catalogue.TOOL_CALLS, 1),
    families.TOOL_ERRORS: (catalogue.TOOL_CALL_ERRORS, 1),
}
_WHOLE: Final[Mapping[str, Metric]] = {
    families.TRACES_DELIVERED: catalogue.TRACES_DELIVERED,
    families.SPANS_DELIVERED: catalogue.SPANS_DELIVERED,
    families.TRACES_REJECTED: catalogue.TRACES_REJECTED,
    families.SPANS_REJECTED: catalogue.SPANS_REJECTED,
}

_ByAgent = dict[int, dict[tuple[str, str, str], Number]]


class RunReadings:
    """What is known of runs: series of an agent appear once its first scan is complete."""

    def __init__(self, *, ledger: Ledger, workspaces: Workspaces, exemplars: Exemplars) -> None:
        self._ledger = ledger
        self._workspaces = workspaces
        self._exemplars = exemplars

    def __call__(self) -> Iterator[Reading]:
        """Yield every reading of every agent."""
        totals: _ByAgent = defaultdict(dict)
        for key, value in self._ledger.totals.items():
            totals[key.agent_no][key.family, key.label1, key.label2] = value
        for workspace in self._workspaces().values():
            yield Reading(catalogue.WORKSPACE_INFO, (workspace.id, workspace.name), 1)
            for agent in workspace.agents.values():
                labels = (workspace.id, agent.id)
                yield Reading(catalogue.AGENT_INFO, (*labels, agent.name), 1)
                if agent.scanned:
                    yield from self._agent(labels, agent.no, totals.get(agent.no, {}))
                yield from _live(labels, agent)

    def _agent(
        self,
        labels: tuple[str, str],
        agent_no: int,
        totals: Mapping[tuple[str, str, str], Number],
    ) -> Iterator[Reading]:
        sums: dict[tuple[Metric, tuple[str, ...]], Number] = {
            (catalogue.RUNS, (*labels, *known)): 0 for known in _KNOWN_RUNS
        }
        for token_type in ("input", "output"):
            sums[catalogue.RUN_TOKENS, (*labels, token_type)] = 0
        for metric in (catalogue.RUN_COST, catalogue.RUNS_UNPRICED, catalogue.RUN_REVISIONS):
            sums[metric, labels] = 0
        buckets: dict[str, dict[str, int]] = {status: {} for status in TERMINAL_STATUSES}
        for (family, label1, label2), value in totals.items():
            if family in _SUMS:
                metric, count = _SUMS[family]
                sums[metric, (*labels, *(label1, label2)[:count])] = value
            elif family == families.DURATION_BUCKET:
                buckets.setdefault(label1, {})[label2] = int(value)
            elif family == families.LAST_RUN_NS:
                yield Reading(catalogue.LAST_RUN, labels, int(value) / _NANO)
        for (metric, label_values), value in sums.items():
            yield Reading(metric, label_values, value)
        for status, counts in buckets.items():
            duration_ns = totals.get((families.DURATION_NS, status, ""), 0)
            yield Reading(
                catalogue.RUN_DURATION,
                (*labels, status),
                HistogramValue.of(
                    catalogue.RUN_DURATION,
                    counts,
                    total=int(duration_ns) / _NANO,
                    exemplars=self._exemplars(agent_no, status),
                ),
            )


class ExporterReadings:
    """What is known of the exporter's own work."""

    def __init__(
        self, *, ledger: Ledger, workspaces: Workspaces, version: str, revision: str
    ) -> None:
        self._ledger = ledger
        self._workspaces = workspaces
        self._build = (version, revision)

    def __call__(self) -> Iterator[Reading]:
        """Yield every reading of the exporter as a whole and of each workspace."""
        yield Reading(catalogue.BUILD_INFO, self._build, 1)
        ledger = self._ledger
        for family, metric in _WHOLE.items():
            yield Reading(metric, (), ledger.totals.get(TotalKey(family)))
        for key, value in ledger.totals.items():
            if key.family == families.QUARANTINED:
                yield Reading(catalogue.RUNS_QUARANTINED, (key.label1,), value)
        outbox = ledger.outbox_state
        yield Reading(catalogue.TRACES_PENDING, (), outbox.pending)
        yield Reading(catalogue.TRACES_PARKED, (), outbox.parked)
        yield Reading(catalogue.OUTBOX_BYTES, (), outbox.stored_bytes)
        if outbox.oldest_ns is not None:
            yield Reading(catalogue.OLDEST_PENDING_TRACE, (), outbox.oldest_ns / _NANO)
        yield Reading(catalogue.LEDGER_BYTES, (), ledger.size_bytes)
        for workspace in self._workspaces().values():
            labels = (workspace.id,)
            if workspace.up is not None:
                yield Reading(catalogue.UP, labels, int(workspace.up))
            yield Reading(catalogue.API_BUDGET, labels, workspace.budget.requests_per_minute)
            awaiting = sum(agent.awaiting_total for agent in workspace.agents.values())
            yield Reading(catalogue.RUNS_AWAITING_DETAIL, labels, awaiting)


def _live(labels: tuple[str, str], agent: AgentState) -> Iterator[Reading]:
    if agent.last_poll_ns is not None:
        yield Reading(catalogue.LAST_POLL_SUCCESS, labels, agent.last_poll_ns / _NANO)
    counts = dict.fromkeys((*IN_FLIGHT_STATUSES, OTHER), 0)
    for run in agent.in_flight.values():
        # After a restart the status is not known until the next page shows it.
        status = run.status or "running"
        counts[status if status in counts else OTHER] += 1
    for status, count in counts.items():
        yield Reading(catalogue.RUNS_IN_FLIGHT, (*labels, status), count)
    if agent.in_flight:
        oldest = min(run.created_ns for run in agent.in_flight.values())
        yield Reading(catalogue.OLDEST_IN_FLIGHT_RUN, labels, oldest / _NANO)
