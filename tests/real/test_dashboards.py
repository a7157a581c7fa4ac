"""Every query of the dashboards, rules and runbooks, in a Prometheus that scrapes three loads.

Each load is an exporter that reads a hotel group of its own: busy, a run an hour, none. Time is
scaled: five seconds stand for an hour, and Grafana's range and interval are chosen to fit. Windows
that stand in a query itself are as long as they say.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.pictures.panels import Panels
from exporter.simulator.data import Scenario
from exporter.simulator.hotel import hospitality
from tests.alert_rules import ROOT, RULE_FILES, rules
from tests.dashboards import BOARDS, other_queries, panels, targets
from tests.metric_labels import HISTOGRAMS, LABELS
from tests.real import parts
from tests.real.conduit import Conduit, quiet
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger
from tests.real.prometheus import Prometheus

pytestmark = pytest.mark.real

HOUR_S = 5
RUN_AN_HOUR = 4 / HOUR_S  # at rate 1 there is a run every four seconds
# How many runs are to end while they are watched.
RUNS = {"busy": 60, "sparse": 4, "none": 0}
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
# Panels that show something only when something is wrong, or waits, or is set.
QUIET = {
    "Age of the oldest that awaits its detail",
    "Answers of 429 (bars of at least 10m)",
    "Collectors failing (now)",
    "Label overflow (range)",
    "Oldest waiting (now)",
    "Quarantined by reason (since the ledger was made)",
    "Web config in use (now)",
}
# What a handful of runs may not show: a tool that failed, quantiles, which need five runs, and the
# attempts, which may all lie before the first scrape.
RARE = {
    "Attempts by outcome (bars of at least 1m)",
    "Errors by tool (bars of at least 10m)",
    "From the end of a run until it was counted (30m)",
    "From the end of a run until its trace was acknowledged (30m)",
    "p50 and p95 (range)",
    "p50, p95, p99 by status (range)",
}


def hotel_group(*, seed: int, rate: float) -> Callable[[int], Scenario]:
    """The demo's hotel group with a minute of history."""
    return lambda start_ns: hospitality(seed=seed, start_ns=start_ns, history_s=60, rate=rate)


SCENARIOS = {
    "busy": hotel_group(seed=1, rate=15 * RUN_AN_HOUR),
    "sparse": hotel_group(seed=2, rate=RUN_AN_HOUR),
    "none": quiet,
}


def filled(expr: str, *, job: str, until_s: float, range_: str, interval: str) -> str:
    """The query as Grafana sends it with everything of a job chosen."""
    for name, value in {
        "$__range": range_,
        "$__interval": interval,
        "${__to:date:seconds}": f"{until_s:.3f}",
        "$job": job,
        "$workspace": ".*",
        "$agent": ".*",
    }.items():
        expr = expr.replace(name, value)
    return expr


@dataclass
class Load:
    """One exporter, and the range that a dashboard shows of it: between two of its scrapes."""

    exporter: Exporter
    conduit: Conduit
    job: str
    runs_before: int = 0
    cost_before: float = 0.0
    from_s: float = 0.0
    until_s: float = 0.0

    def runs(self) -> int:
        """The runs that have ended, as Conduit knows them."""
        return self.conduit.truth().runs.total()

    def cost(self) -> float:
        """The exact sum of their cost."""
        return float(sum(self.conduit.truth().cost_usd.values()))

    def filled(self, expr: str) -> str:
        """The query as Grafana sends it with everything of this job chosen."""
        # A millisecond more, so that the scrape at its start is in the range.
        range_ms = round((self.until_s - self.from_s) * 1000) + 1
        return filled(
            expr,
            job=self.job,
            until_s=self.until_s,
            range_=f"{range_ms}ms",
            interval=f"{HOUR_S}s",
        )

    def answer(self, prometheus: Prometheus, target: Mapping[str, Any]) -> list[float]:
        """All values that a panel gets for one of its queries."""
        expr = self.filled(target["expr"])
        if target.get("instant"):
            data = prometheus.api("query", query=expr, time=self.until_s)
            return [float(item["value"][1]) for item in data["result"]]
        data = prometheus.api(
            "query_range", query=expr, start=self.from_s, end=self.until_s, step=HOUR_S
        )
        return [float(value) for item in data["result"] for _, value in item["values"]]

    def settled(self, prometheus: Prometheus) -> float:
        """Wait until all that has ended is counted, traced and scraped; the time of that scrape."""
        job, runs = f'{{job="{self.job}"}}', self.runs()
        [sample] = prometheus.wait_for(
            f"timestamp(conduit_exporter_ready{job}) and on (job) conduit_exporter_ready{job} == 1"
            f" and on (job) sum by (job) (conduit_runs_total{job}) == {runs}"
            f" and on (job) conduit_exporter_traces_delivered_total{job} == {runs}",
            timeout_s=120.0,
        )
        return sample.value


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Load]]:
    """The three exporters, started on Conduits that stand still."""
    folder = tmp_path_factory.mktemp("loads")
    with ExitStack() as stack, Jaeger(folder / "jaeger") as jaeger:
        started = {}
        for name, scenario in SCENARIOS.items():
            conduit = stack.enter_context(Conduit(scenario))
            conduit.freeze()
            budget = {"EXPORTER_MONTHLY_BUDGET_USD": "2"}
            exporter = Exporter(folder / name, conduit, otlp_http=jaeger.otlp_http, **budget)
            stack.callback(exporter.stop)
            exporter.launch()
            started[name] = Load(exporter, conduit, job=f"{name}-conduit-exporter")
        yield started


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory, loads: Mapping[str, Load]
) -> Iterator[Prometheus]:
    """A Prometheus that has scraped each while its runs ended, and until all were counted."""
    jobs = [
        {
            "source_labels": ["__address__"],
            "regex": load.exporter.address,
            "target_label": "job",
            "replacement": load.job,
        }
        for load in loads.values()
    ]
    with Prometheus(
        tmp_path_factory.mktemp("prometheus"),
        targets=[load.exporter.address for load in loads.values()],
        rule_files=RULE_FILES,
        scrape_options={"relabel_configs": jobs},
    ) as started:
        for load in loads.values():
            load.from_s = load.settled(started)
            load.runs_before, load.cost_before = load.runs(), load.cost()
        for load in loads.values():
            load.conduit.thaw()
        for name, load in loads.items():
            wanted = load.runs_before + RUNS[name]
            started.wait_for(
                f'sum(conduit_runs_total{{job="{load.job}"}}) >= {wanted}', timeout_s=120.0
            )
        for load in loads.values():
            load.conduit.freeze()
        for load in loads.values():
            load.until_s = load.settled(started)
        yield started


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("board", BOARDS)
def test_every_panel_answers(
    prometheus: Prometheus, loads: Mapping[str, Load], board: str, name: str
) -> None:
    """No query fails under any load, no number is NaN, and where there are runs they are seen."""
    load, empty = loads[name], set()
    for panel in panels(BOARDS[board]):
        shown = [load.answer(prometheus, target) for target in targets(panel)]
        assert all(math.isfinite(value) for values in shown for value in values), panel["title"]
        if shown and not any(shown):
            empty.add(panel["title"])
    if name != "none":
        assert empty <= (QUIET if name == "busy" else QUIET | RARE)
    for expr in other_queries(BOARDS[board]):
        prometheus.api("query", query=load.filled(expr), time=load.until_s)


@pytest.mark.parametrize("name", SCENARIOS)
def test_totals_equal_the_ledger(
    prometheus: Prometheus, loads: Mapping[str, Load], name: str
) -> None:
    """Money to the cent, runs to the run: of the API, the ledger, the counters and the panels."""
    load = loads[name]

    def shown(board: str, title: str) -> list[float]:
        [panel] = [panel for panel in panels(BOARDS[board]) if panel["title"] == title]
        return load.answer(prometheus, targets(panel)[0])

    runs, cost = load.runs(), load.cost()
    of_ledger = load.exporter.get("/?format=json").json()["today"]["month_cost_usd"]
    [counted] = prometheus.query(f'sum(conduit_run_cost_usd_total{{job="{load.job}"}})')
    assert float(of_ledger) == pytest.approx(cost, abs=1e-9)
    assert counted.value == pytest.approx(cost, abs=1e-9)
    assert shown("overview", "Cost this month") == [pytest.approx(cost, abs=1e-9)]
    assert shown("overview", "Runs (range)") == [runs - load.runs_before]
    assert shown("agent", "Cost (range)") == [pytest.approx(cost - load.cost_before, abs=0.005)]
    if name == "busy":
        # A bar is read from five scrapes, where it is from hundreds in a real hour.
        bars = sum(shown("agent", "Cost (bars of at least 10m)"))
        assert bars == pytest.approx(cost - load.cost_before, rel=0.15)


def test_the_panels_of_the_picture_can_be_drawn(
    prometheus: Prometheus, loads: Mapping[str, Load]
) -> None:
    """What draws README's dashboard finds in it, and in the answers, all that it looks for."""
    drawn = Panels(BOARDS["overview"], ask=prometheus.api, now_s=loads["busy"].until_s)
    shown = {panel["title"]: panel for panel in drawn.upper()}
    assert shown["Conduit API (now)"]["text"] == "readable"
    assert shown["Cost per day and agent (UTC)"]["bars"]
    assert shown["Agents (range)"]["rows"]


def test_an_agent_that_was_renamed_has_its_present_name(tmp_path: Path) -> None:
    """One name over the whole range, whichever comes first in the alphabet; a gone agent's last."""
    agents = {
        "a": {"Alpha (old)": "1x20 stale", "Zeta (new)": "_x20 1x20"},
        "b": {"Zeta (old)": "1x20 stale", "Alpha (new)": "_x20 1x20"},
        "c": {"Gone": "1x20 stale"},
    }
    labels = 'job="j",instance="x",workspace_id="w",agent_id='
    series = {
        f'conduit_agent_info{{{labels}"{agent}",agent_name="{name}"}}': values
        for agent, names in agents.items()
        for name, values in names.items()
    } | {
        f'{metric}{{{labels}"{agent}"}}': "0+1x40"
        for metric in ("conduit_runs_total", "conduit_run_cost_usd_total")
        for agent in agents
    }

    def asked(board: str, title: str) -> str:
        [panel] = [panel for panel in panels(BOARDS[board]) if panel["title"] == title]
        return str(targets(panel)[0]["expr"])

    [of_variable] = [e for e in other_queries(BOARDS["agent"]) if "conduit_agent_info" in e]
    hours_and_queries = [
        (40, of_variable),
        (40, asked("agent", "Agent")),
        (40, asked("overview", "Agents (range)")),
        # Bars after the new name and before it.
        (30, asked("overview", "Cost per day and agent (UTC)")),
        (10, asked("overview", "Cost per day and agent (UTC)")),
    ]
    fill = partial(filled, job="j", until_s=40 * 3600, range_="40h", interval="1d")
    shown = {(agent, list(names)[-1]) for agent, names in agents.items()}
    test = {
        "interval": "1h",
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count by (agent_id, agent_name) ({fill(expr)})",
                "eval_time": f"{hour}h",
                "exp_samples": [
                    {"labels": f'{{agent_id="{agent}",agent_name="{name}"}}', "value": 1}
                    for agent, name in sorted(shown)
                ],
            }
            for hour, expr in hours_and_queries
        ],
    }
    file = tmp_path / "renamed.yaml"
    file.write_text(yaml.safe_dump({"tests": [test]}))
    parts.run("promtool", "test", "rules", file)


def test_a_restored_ledger_makes_no_forecast(tmp_path: Path) -> None:
    """All that the copy held would count once more, as if it were the cost of a week."""
    [panel] = [p for p in panels(BOARDS["overview"]) if p["title"].startswith("Budget used")]
    fill = partial(filled, job="j", until_s=4 * 86400, range_="4d", interval="1d")
    used, forecast = (fill(target["expr"]) for target in targets(panel))
    labels = '{job="j",instance="x",workspace_id="%s",%s}'
    steps = {"restored": "5000+10x2 5010+10x2", "steady": "5000+10x5"}
    series = [
        {"series": name + labels % (workspace, more), "values": values}
        for workspace, cost in steps.items()
        for name, more, values in (
            ("conduit_run_cost_usd_total", 'agent_id="a"', cost),
            ("conduit_period_cost_usd", 'agent_id="a",period="month"', "40x5"),
            ("conduit_budget_usd", 'period="month"', "400x5"),
            ("conduit_workspace_info", f'workspace_name="{workspace}"', "1x5"),
        )
    ]
    shown = [
        {"labels": f'{{workspace_id="{workspace}"}}', "value": 1}
        for workspace in ("restored", "steady")
    ]
    test = {
        "interval": "1d",
        "input_series": series,
        "promql_expr_test": [
            {"expr": f"count by (workspace_id) ({expr})", "eval_time": "4d", "exp_samples": samples}
            for expr, samples in ((used, shown), (forecast, shown[1:]))
        ],
    }
    file = tmp_path / "restored.yaml"
    file.write_text(yaml.safe_dump({"tests": [test]}))
    parts.run("promtool", "test", "rules", file)


def test_rules_and_runbooks_answer(prometheus: Prometheus, loads: Mapping[str, Load]) -> None:
    """No rule and no query of a runbook fails; of all alerts, only the used up budget's begin."""
    for expr in runbook_queries():
        prometheus.query(expr)
    seen = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert len(seen) == len(rules())
    assert [rule for rule in seen if rule["health"] != "ok"] == []
    active = {
        (alert["labels"]["alertname"], alert["labels"]["job"])
        for alert in prometheus.api("alerts")["alerts"]
    }
    budget = ("ConduitBudgetNearlyUsed", "ConduitBudgetUsed", "ConduitBudgetForecast")
    assert active == {(name, loads["busy"].job) for name in budget}


def runbook_queries() -> list[str]:
    """The queries of the runbooks and of README."""
    text = "".join((ROOT / name).read_text() for name in ("docs/RUNBOOKS.md", "README.md"))
    blocks = re.findall(r"```promql\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > 30
    return [query for block in blocks for query in block.split("\n\n")]


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
    prometheus: Prometheus, loads: Mapping[str, Load]
) -> None:
    """No query asks for a metric or a label that does not exist; every metric is on a panel."""
    shown = [target["expr"] for b in BOARDS.values() for p in panels(b) for target in targets(p)]
    shown += [expr for board in BOARDS.values() for expr in other_queries(board)]
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = set(LABELS) | PROCESS | {"up", "ALERTS"} | recorded
    every_label = set().union(*LABELS.values()) | FOREIGN_LABELS
    on_panels: set[str] = set()
    for expr in [*shown, *runbook_queries(), *(rule["expr"] for rule in rules())]:
        for node in _nodes(prometheus.api("parse_query", query=loads["busy"].filled(expr))):
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
