"""Every query of the dashboards, rules and runbooks in a real Prometheus with two days of data.

Three jobs stand for three loads: a run every two minutes, one an hour, and none.
"""

import math
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.alert_rules import ROOT, rules
from tests.dashboards import BOARDS, other_queries, panels, targets
from tests.metric_labels import HISTOGRAMS, LABELS
from tests.real.prometheus import Prometheus, promtool

pytestmark = pytest.mark.real

STEP_S = 60
DAYS = 2
COST_USD = 0.0123
RUN_EVERY_S: Mapping[str, int | None] = {"busy": 120, "sparse": 3600, "none": None}
BOUNDS = ("0.5", "5.0", "60.0", "+Inf")
VALUES = {
    "period": ("day", "month"),
    "status": ("completed", "failed"),
    "disposition": ("resolved", "escalated"),
    "token_type": ("input", "output"),
}
PROCESS = {
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
}
FOREIGN_LABELS = {"job", "instance", "le", "alertname", "alertstate"}
# On no panel, and why.
UNUSED: Mapping[str, str] = {}
# Panels that show something only when something is wrong, or that ask about more than the data.
QUIET = {
    "Label overflow (range)",
    "Collectors failing (now)",
    "Answers of 429 (bars of at least 10m)",
    "Outcomes, the same hours last week",
}


def _series(now_s: int) -> Iterator[tuple[str, str, list[tuple[str, Any]]]]:
    """Metric, labels, and its value at each step as a function of the seconds since the start."""
    for job, every_s in RUN_EVERY_S.items():
        where = f'job="{job}",instance="{job}"'
        for metric, labels in sorted(LABELS.items()):
            if "agent_id" in labels and every_s is None:
                continue
            chosen = [""]
            for label in sorted(labels):
                values = VALUES.get(label, (f"{label}-1",))
                chosen = [f'{one},{label}="{value}"' for one in chosen for value in values]
            yield metric, where, [(one, _value(metric, one, every_s, now_s)) for one in chosen]
        for metric in sorted(PROCESS | {"up"}):
            yield metric, where, [("", _value(metric, "", every_s, now_s))]


def _value(metric: str, labels: str, every_s: int | None, now_s: int) -> Any:
    """A function of the seconds since the start: runs that ended, their cost, a gauge of 1..."""
    rate = 1 / (every_s or 600)
    if metric == "conduit_runs_total" and 'status="failed"' in labels:
        return lambda t: int(t * rate / 10)
    if metric == "conduit_run_cost_usd_total":
        return lambda t: round(int(t * rate) * COST_USD, 4)
    if metric == "conduit_period_cost_usd":
        return lambda t: round(int(t * rate) * COST_USD, 4)
    if metric.endswith("_timestamp_seconds") or metric == "process_start_time_seconds":
        return lambda _: now_s - 100
    if metric.endswith("_total") or metric in HISTOGRAMS:
        return lambda t: int(t * rate)
    return lambda _: 1


def _openmetrics(now_s: int) -> Iterator[str]:
    start_s = now_s - DAYS * 86400
    by_metric: dict[str, list[tuple[str, Any]]] = {}
    for metric, where, series in _series(now_s):
        for labels, value in series:
            text = f"{where}{labels}"
            if metric in HISTOGRAMS:
                for bound in BOUNDS:
                    part = 1.0 if bound == "+Inf" else 0.9
                    name, le = f"{metric}_bucket", f'{text},le="{bound}"'
                    scaled = lambda t, value=value, part=part: int(value(t) * part)  # noqa: E731 - binds
                    by_metric.setdefault(name, []).append((le, scaled))
                by_metric.setdefault(f"{metric}_count", []).append((text, value))
            else:
                by_metric.setdefault(metric, []).append((text, value))
    for metric, several in by_metric.items():
        for labels, value in several:
            for t in range(0, now_s - start_s + 1, STEP_S):
                yield f"{metric}{{{labels}}} {value(t)} {start_s + t}\n"
    yield "# EOF\n"


@pytest.fixture(scope="module")
def now_s() -> int:
    """A whole hour, so that buckets of an hour end at it."""
    return int(time.time()) // 3600 * 3600


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, now_s: int) -> Iterator[Prometheus]:
    """A Prometheus that has scraped the three loads for two days."""
    folder = tmp_path_factory.mktemp("dashboards")
    data = folder / "data.om"
    with data.open("w") as file:
        file.writelines(_openmetrics(now_s))
    result = promtool(
        *("tsdb", "create-blocks-from", "openmetrics", data, folder / "data"), timeout_s=300
    )
    assert result.returncode == 0, result.stderr
    data.unlink()
    started = Prometheus(folder, targets=[])
    try:
        started.start()
        yield started
    finally:
        started.stop()


def _filled(expr: str, *, job: str, step_s: int = 3600) -> str:
    """The query as Grafana would send it with everything of one job chosen."""
    for name, value in {
        "$__range": "86400s",
        "$__interval": f"{step_s}s",
        "$job": job,
        "$workspace": ".*",
        "$agent": ".*",
    }.items():
        expr = expr.replace(name, value)
    return expr


def _answer(
    prometheus: Prometheus,
    panel: Mapping[str, Any],
    target: Mapping[str, Any],
    job: str,
    now_s: int,
) -> list[float]:
    """All values that the panel would get."""
    seconds = {"d": 86400, "h": 3600, "m": 60}
    interval = panel.get("interval") or "5m"
    step_s = max(300, int(interval[:-1]) * seconds[interval[-1]])
    expr = _filled(target["expr"], job=job, step_s=step_s)
    if target.get("instant"):
        data = prometheus.api("query", query=expr, time=now_s)
        return [float(item["value"][1]) for item in data["result"]]
    data = prometheus.api("query_range", query=expr, start=now_s - 86400, end=now_s, step=step_s)
    return [float(value) for item in data["result"] for _, value in item["values"]]


@pytest.mark.parametrize("job", RUN_EVERY_S)
@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_answers(prometheus: Prometheus, now_s: int, name: str, job: str) -> None:
    """No query fails under any load, no number is NaN, and where there are runs they are seen."""
    empty = set()
    for panel in panels(BOARDS[name]):
        for target in targets(panel):
            values = _answer(prometheus, panel, target, job, now_s)
            assert all(map(math.isfinite, values)), (panel["title"], target["expr"])
            if not values:
                empty.add(panel["title"])
    assert job != "busy" or empty <= QUIET
    for expr in other_queries(BOARDS[name]):
        prometheus.api("query", query=_filled(expr, job=job), time=now_s)


@pytest.mark.parametrize("job", ["busy", "sparse"])
def test_totals_are_what_was_fed(prometheus: Prometheus, now_s: int, job: str) -> None:
    """Money of the ledger to the micro-dollar, increases within half a percent, bars add up."""
    every_s = RUN_EVERY_S[job]
    assert every_s is not None
    shown = {
        panel["title"]: _answer(prometheus, panel, targets(panel)[0], job, now_s)
        for panel in panels(BOARDS["overview"])
        if targets(panel)
    }
    total = DAYS * 86400 // every_s * COST_USD
    day = 86400 // every_s * COST_USD
    assert shown["Cost this month"] == [pytest.approx(total, abs=1e-6)]
    anchored = f'sum(increase(conduit_run_cost_usd_total{{job="{job}"}}[1d] anchored))'
    exact = prometheus.api("query", query=anchored, time=now_s)["result"]
    assert [float(item["value"][1]) for item in exact] == [pytest.approx(day, abs=0.005)]
    bars = next(p for p in panels(BOARDS["agent"]) if p["title"].startswith("Cost (bars"))
    hourly = _answer(prometheus, {**bars, "interval": "1h"}, targets(bars)[0], job, now_s)
    assert sum(hourly) == pytest.approx(day, rel=0.02)
    runs = prometheus.api(
        "query",
        query=_filled('sum(increase(conduit_run_cost_usd_total{job="$job"}[$__range]))', job=job),
        time=now_s,
    )["result"]
    assert float(runs[0]["value"][1]) == pytest.approx(day, rel=0.005)


def test_rules_and_runbooks_can_be_asked(prometheus: Prometheus, now_s: int) -> None:
    """No expression of a rule, and no query of a runbook, fails."""
    runbooks = (ROOT / "docs/RUNBOOKS.md").read_text()
    asked = re.findall(r"```promql\n(.*?)```", runbooks, re.DOTALL)
    assert len(asked) > 30
    for expr in [*asked, *(rule["expr"] for rule in rules())]:
        prometheus.api("query", query=expr, time=now_s)


def _nodes(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every node of a parsed query."""
    if isinstance(node, Mapping):
        yield node
        for child in node.values():
            yield from _nodes(child)
    elif isinstance(node, list):
        for child in node:
            yield from _nodes(child)


def _base(name: str) -> str:
    stem = re.sub(r"_(bucket|count|sum)$", "", name)
    return stem if stem in HISTOGRAMS else name


def test_names_and_labels_are_those_of_the_catalogue(
    prometheus: Prometheus,
) -> None:
    """No query asks for a metric or a label that does not exist; every metric is on a panel."""
    shown = [target["expr"] for b in BOARDS.values() for p in panels(b) for target in targets(p)]
    shown += [expr for board in BOARDS.values() for expr in other_queries(board)]
    runbooks = (ROOT / "docs/RUNBOOKS.md").read_text()
    asked = re.findall(r"```promql\n(.*?)```", runbooks, re.DOTALL)
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = set(LABELS) | PROCESS | {"up", "ALERTS"} | recorded
    every_label = set().union(*LABELS.values()) | FOREIGN_LABELS
    on_panels: set[str] = set()
    for expr in [*shown, *asked, *(rule["expr"] for rule in rules())]:
        for node in _nodes(prometheus.api("parse_query", query=_filled(expr, job="busy"))):
            if node.get("type") in {"vectorSelector", "matrixSelector"}:
                name = _base(node["name"])
                assert name in known, expr
                labels = {matcher["name"] for matcher in node["matchers"]} - {"__name__"}
                assert labels <= LABELS.get(name, frozenset(every_label)) | FOREIGN_LABELS, expr
                if expr in shown:
                    on_panels.add(name)
            used = [
                *(node.get("grouping") or ()),
                *((node.get("matching") or {}).get("labels") or ()),
            ]
            assert set(used) <= every_label, expr
    assert set(LABELS) - on_panels == set(UNUSED)
