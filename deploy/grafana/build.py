# ruff: noqa: INP001 (a program, no package)
"""Writes the three dashboards with Grafana's foundation SDK.

    python deploy/grafana/build.py

Change a panel here, run it, commit the JSON. It talks to no Grafana and reads no metric.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder

FOLDER = Path(__file__).parent
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

# Selectors. Sums of money of a workspace must not depend on the agents that are chosen.
JOB = 'job=~"$job"'
WORKSPACE = f'{JOB},workspace_id=~"$workspace"'
AGENT = f'{WORKSPACE},agent_id=~"$agent"'
FAILED = 'status="failed"'
ESCALATED = 'disposition=~"escalated|escalation_and_answer"'
RESOLVED = 'disposition="resolved"'

# Fewer runs than this have no quantile worth a look.
MIN_TIMED_RUNS = 5
BY_AGENT = "workspace_id, agent_id"

GREEN, AMBER, RED = "green", "orange", "red"
Steps = Sequence[tuple[float | None, str]]
POLL_AGE: Steps = [(None, GREEN), (120, AMBER), (600, RED)]
FAILURE_RATIO: Steps = [(None, GREEN), (0.05, AMBER), (0.2, RED)]
BUDGET: Steps = [(None, GREEN), (0.8, AMBER), (1, RED)]
ANY_IS_BAD: Steps = [(None, GREEN), (0.5, RED)]
ANY_IS_ODD: Steps = [(None, GREEN), (0.5, AMBER)]
NEUTRAL: Steps = [(None, "text")]

TO_EXPORTER = (
    "What the exporter does",
    "/d/conduit-exporter?${job:queryparam}&${__url_time_range}",
)
TO_AGENT = (
    "This agent",
    (
        "/d/conduit-agent?var-workspace=${__field.labels.workspace_id}"
        "&var-agent=${__field.labels.agent_id}&${__url_time_range}"
    ),
)
TO_AGENT_THAT_DAY = (
    "This agent around that day",
    (
        "/d/conduit-agent?var-workspace=${__field.labels.workspace_id}"
        "&var-agent=${__field.labels.agent_id}&time=${__value.time}&time.window=172800000"
    ),
)
TO_AGENT_OF_ROW = (
    "This agent",
    (
        "/d/conduit-agent?var-workspace=${__data.fields.workspace_id}"
        "&var-agent=${__data.fields.agent_id}&${__url_time_range}"
    ),
)
_TEMPO_PANE = {
    "traces": {
        "datasource": "tempo",
        "queries": [
            {
                "refId": "A",
                "datasource": {"type": "tempo", "uid": "tempo"},
                "queryType": "traceql",
                "query": '{ span.gen_ai.agent.id = "${agent}" }',
            }
        ],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
}
TO_TRACES = (
    (
        "Traces in Jaeger",
        "${jaeger}/search?service=conduit&tags=%7B%22gen_ai.agent.id%22%3A%22${agent}%22%7D",
    ),
    (
        "Traces in Tempo",
        "/explore?schemaVersion=1&panes=" + quote(json.dumps(_TEMPO_PANE), safe="${}"),
    ),
    ("Runs on the exporter's page", "${exporter}/runs?agent=${agent}"),
)

Query = tuple[str, str]  # PromQL and legend


def increase(metric: str, *matchers: str, selector: str = AGENT) -> str:
    """The increase over the dashboard's range."""
    return f"increase({metric}{{{','.join((selector, *matchers))}}}[$__range])"


def bar(metric: str, *matchers: str, selector: str = AGENT) -> str:
    """The increase from each step to the next: bars that meet, add up and stand at their start."""
    chosen = ",".join((selector, *matchers))
    return f"increase({metric}{{{chosen}}}[$__interval] offset -$__interval)"


def named(expr: str, window: str = "[$__range]") -> str:
    """The expression, by agent, with the agent's name as a label.

    The name may be younger than the window's start, may have changed within it, and may be shown
    by two targets: one name an agent is taken, whichever.
    """
    info = f"last_over_time(conduit_agent_info{{{JOB}}}{window})"
    return (
        f"{expr}\n* on ({BY_AGENT}) group_left (agent_name) "
        f"topk by ({BY_AGENT}) (1, max by ({BY_AGENT}, agent_name) ({info}))"
    )


def workspace_named(expr: str) -> str:
    """The expression, by workspace, with the workspace's name as a label."""
    return (
        f"{expr}\n* on (workspace_id) group_left (workspace_name) topk by (workspace_id) "
        f"(1, max by (workspace_id, workspace_name) (conduit_workspace_info{{{JOB}}}))"
    )


NAMED_BAR = "[$__interval] offset -$__interval"


def share(part: str, whole: str) -> str:
    """A ratio that is empty, not NaN, where there is nothing to divide by."""
    return f"{part}\n/ ({whole} > 0)"


def quantile(q: float, metric: str, by: str = "") -> str:
    """A quantile over the range, empty where too few runs ended for one."""
    labels = f", {by}" if by else ""
    on = f"on ({by})"
    total = (
        f"sum by ({by}) ({increase(metric + '_count')})"
        if by
        else (f"sum({increase(metric + '_count')})")
    )
    return (
        f"histogram_quantile({q}, sum by (le{labels}) ({increase(metric + '_bucket')}))\n"
        f"and {on} {total} >= {MIN_TIMED_RUNS}"
    )


# Panels.


def _steps(steps: Steps) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).url(url)


def _queries(queries: Iterable[Query], dress: Callable[[prometheus.Dataquery], Any]) -> list[Any]:
    built = []
    for letter, (expr, legend) in zip("ABCDEFGHIJKL", queries, strict=False):
        query = prometheus.Dataquery().expr(expr).ref_id(letter).datasource(SOURCE)
        dress(query.legend_format(legend) if legend else query)
        built.append(query)
    return built


def _dressed(
    panel: Any, title: str, description: str, *, unit: str, width: int, height: int
) -> Any:
    return (
        panel.title(title)
        .description(description)
        .unit(unit)
        .span(width)
        .height(height)
        .datasource(SOURCE)
    )


def number(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 4,
    steps: Steps = NEUTRAL,
    empty: str = "no runs",
    decimals: int | None = None,
    words: dict[str, tuple[str, str]] | None = None,
    links: Sequence[tuple[str, str]] = (),
    names: bool = False,
) -> stat.Panel:
    """Numbers as of now; `words` maps a value to a text and a colour, `names` shows labels."""
    panel = _dressed(stat.Panel(), title, description, unit=unit, width=width, height=4)
    panel.targets(_queries(queries, lambda query: query.instant()))
    panel.thresholds(_steps(steps)).no_value(empty)
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    panel.graph_mode(common_models.BigValueGraphMode.NONE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if steps is not NEUTRAL or words:
        panel.color_mode(common_models.BigValueColorMode.BACKGROUND)
    if decimals is not None:
        panel.decimals(decimals)
    if words:
        results = {k: models.ValueMappingResult(text=t, color=c) for k, (t, c) in words.items()}
        panel.mappings([models.ValueMap(options=results)])
    if names:
        panel.text_mode(common_models.BigValueTextMode.NAME)
    return panel.data_links([_link(*link) for link in links])  # type: ignore[no-any-return]  # Any


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 12,
    bars_of: str = "",
    last_week: bool = False,
    colors: dict[str, str] | None = None,
    links: Sequence[tuple[str, str]] = (),
    steps: Steps = (),
) -> timeseries.Panel:
    """Lines over time; with `bars_of` (a shortest interval, e.g. 1h) stacked bars of counts."""
    panel = _dressed(timeseries.Panel(), title, description, unit=unit, width=width, height=8)
    panel.targets(_queries(queries, lambda query: query.range()))
    panel.no_value("no runs" if bars_of else "no data")
    panel.legend(
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
    )
    panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    panel.min(0)
    if bars_of:
        panel.interval(bars_of)
        panel.draw_style(common_models.GraphDrawStyle.BARS).bar_alignment(
            common_models.BarAlignment.AFTER
        )
        panel.fill_opacity(80).line_width(0)
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    if last_week:
        panel.time_shift("1w")
    if steps:
        panel.thresholds(_steps(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.LINE)
        )
    for pattern, color in (colors or {}).items():
        fixed = {"mode": "fixed", "fixedColor": color}
        panel.override_by_regexp(pattern, [models.DynamicConfigValue(id_val="color", value=fixed)])
    return panel.data_links([_link(*link) for link in links])  # type: ignore[no-any-return]  # Any


def buckets(
    title: str, description: str, metric: str, *, unit: str, width: int, interval: str
) -> heatmap.Panel:
    """How many runs fell into each bucket of a histogram over time, with exemplars."""
    panel = _dressed(heatmap.Panel(), title, description, unit=unit, width=width, height=8)
    query = (f"sum by (le) ({bar(metric + '_bucket')})", "{{le}}")
    dress = lambda q: q.range().exemplar(exemplar=True).format(PromQueryFormat.HEATMAP)  # noqa: E731 - one use
    panel.targets(_queries([query], dress))
    panel.color(
        heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(16)
    )
    panel.y_axis(heatmap.YAxisConfig().unit(unit))
    panel.exemplars_color("rgba(255,0,255,0.7)")
    panel.filter_values(heatmap.FilterValueRange().le(1e-9))
    return panel.interval(interval).no_value("no runs")  # type: ignore[no-any-return]  # Any


def gauges(
    title: str, description: str, *queries: Query, unit: str, width: int, steps: Steps
) -> bargauge.Panel:
    """Bars of a share, up to 1."""
    panel = _dressed(bargauge.Panel(), title, description, unit=unit, width=width, height=4)
    panel.targets(_queries(queries, lambda query: query.instant()))
    panel.thresholds(_steps(steps)).min(0).max(1).no_value("no budget set")
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.orientation(common_models.VizOrientation.HORIZONTAL)  # type: ignore[no-any-return]  # Any


def rows_by(
    title: str,
    description: str,
    columns: Sequence[tuple[str, str, str]],
    *,
    width: int = 24,
    hidden: Sequence[str] = (),
    links: Sequence[tuple[str, str]] = (),
    sort: str,
) -> table.Panel:
    """A table: a column for each (title, unit, query), rows joined by their labels."""
    panel = _dressed(table.Panel(), title, description, unit="short", width=width, height=9)
    queries = [(expr, "") for _, _, expr in columns]
    panel.targets(_queries(queries, lambda query: query.instant().format(PromQueryFormat.TABLE)))
    letters = "ABCDEFGHIJKL"
    renamed = {f"Value #{letters[i]}": name for i, (name, _, _) in enumerate(columns)}
    renamed |= {"agent_name": "agent"}
    panel.transformations(
        [
            models.DataTransformerConfig(id_val="merge", options={}),
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True},
                    "indexByName": {"agent_name": 0},
                    "renameByName": renamed,
                },
            ),
        ]
    )
    for name, unit, _ in columns:
        panel.override_by_name(name, [models.DynamicConfigValue(id_val="unit", value=unit)])
    for name in hidden:
        panel.override_by_name(
            name, [models.DynamicConfigValue(id_val="custom.hidden", value=True)]
        )
    panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(desc=True)])
    return panel.no_value("–").data_links([_link(*link) for link in links])  # type: ignore[no-any-return]  # Any  # noqa: RUF001 - a dash for an empty cell


def note(title: str, content: str, *, width: int, height: int = 4) -> text.Panel:
    """Words for a reader."""
    return (
        text.Panel()
        .title(title)
        .description("What the numbers beside it leave out.")
        .content(content)
        .mode("markdown")  # type: ignore[arg-type]  # the enum's own text
        .span(width)
        .height(height)
    )


def firing_alerts(width: int) -> dashboard.Panel:
    """Grafana's list of alerts, those of this exporter alone."""
    return (
        dashboard.Panel()
        .type("alertlist")
        .title("Firing alerts (now)")
        .description(
            "What is wrong? Alerts named Conduit... that fire or wait to, of every data source "
            "that Grafana asks for alerts. Each has its runbook. Empty without the rules of "
            "deploy/prometheus."
        )
        .datasource(SOURCE)
        .span(6)
        .height(4)
        .options(
            {
                "viewMode": "list",
                "groupMode": "default",
                "groupBy": [],
                "maxItems": 20,
                "sortOrder": 3,
                "alertInstanceLabelFilter": '{alertname=~"Conduit.*"}',
                "stateFilter": {"firing": True, "pending": True, "error": True},
            }
        )
        .span(width)
    )


# Dashboards.


def _variable(
    name: str, label: str, query: str, *, regex: str = "", multi: bool = True
) -> dashboard.QueryVariable:
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(multi)
        .include_all(multi)
    )
    if regex:
        variable.regex(regex)
    if multi:
        variable.all_value(".*")
        variable.current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return variable


def _info_variable(name: str, matchers: str, *, multi: bool) -> dashboard.QueryVariable:
    names = f"{name}_id, {name}_name"
    return _variable(
        name,
        name.capitalize(),
        f"query_result(max by ({names}) "
        f"(last_over_time(conduit_{name}_info{{{matchers}}}[$__range])))",
        regex=f'/{name}_name="(?<text>[^"]*)|{name}_id="(?<value>[^"]+)/g',
        multi=multi,
    )


def _annotation(name: str, expr: str, color: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(enable=True)
        .hide(hide=False)
        .icon_color(color)
        .expr(expr)
    )


def _dashboard(
    uid: str, title: str, description: str, *, start: str, refresh: str, timezone: str = "browser"
) -> dashboard.Dashboard:
    build = "conduit_exporter_build_info"
    created = "conduit_exporter_ledger_created_timestamp_seconds"
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["conduit"])
        .readonly()
        .timezone(timezone)
        .time(start, "now")
        .refresh(refresh)
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Conduit")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["conduit"])
            .as_dropdown(as_dropdown=False)
            .keep_time(keep_time=True)
            .include_vars(include_vars=True)
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(_variable("job", "Job", f"label_values({build}, job)"))
        .with_variable(_info_variable("workspace", JOB, multi=True))
        .annotation(
            _annotation(
                "Exporter started",
                f"changes(process_start_time_seconds{{{JOB}}}[2m]) > 0",
                "blue",
            )
        )
        .annotation(_annotation("Ledger replaced", f"changes({created}{{{JOB}}}[5m]) > 0", RED))
        .annotation(
            _annotation(
                "New version", f"{build}{{{JOB}}} unless {build}{{{JOB}}} offset 5m", "purple"
            )
        )
        .annotation(
            _annotation("Alert", 'ALERTS{alertname=~"Conduit.*",alertstate="firing"}', AMBER)
        )
    )


RUNS, COST, TOKENS = "conduit_runs_total", "conduit_run_cost_usd_total", "conduit_run_tokens_total"
UNPRICED = "conduit_runs_unpriced_total"
DURATION, PRICE = "conduit_run_duration_seconds", "conduit_run_price_usd"
OUTCOME_COLORS = {
    "^failed.*": RED,
    "^completed (escalated|escalation_and_answer)$": AMBER,
    "^completed resolved$": GREEN,
}
SURVIVES = "Counts are kept in the exporter's ledger and survive its restarts."


def _sum(expr: str) -> str:
    return f"sum({expr})"


def _by_agent(expr: str) -> str:
    return f"sum by ({BY_AGENT}) ({expr})"


def _period(period: str, selector: str = AGENT) -> str:
    return f'conduit_period_cost_usd{{{selector},period="{period}"}}'


def _age(metric: str, selector: str) -> str:
    return f"time() - {metric}{{{selector}}}"


def overview() -> dashboard.Dashboard:
    """What is spent and what comes of it: for who pays, and for a first look."""
    panel: Builder[models.Panel]
    board = _dashboard(
        "conduit-overview",
        "Conduit / Overview",
        "Cost and outcomes of agent runs. Days and hours are UTC.",
        start="now-7d",
        refresh="5m",
        timezone="utc",
    ).with_variable(_info_variable("agent", WORKSPACE, multi=True))
    runs, cost = _sum(increase(RUNS)), _sum(increase(COST))
    month = f"sum by (workspace_id) ({_period('month', WORKSPACE)})"
    budget = f'max by (workspace_id) (conduit_budget_usd{{{WORKSPACE},period="month"}})'
    week = f"sum by (workspace_id) (increase({COST}{{{WORKSPACE}}}[7d]))"
    forecast = f"({month} + {week} / 7 * scalar(days_in_month() - day_of_month()))"
    by_outcome = f"sum by (status, disposition) ({bar(RUNS)})"
    resolved_by_agent = _by_agent(increase(RUNS, RESOLVED))
    poll_age = _age("conduit_exporter_last_poll_success_timestamp_seconds", AGENT)
    in_flight = f"sum by ({BY_AGENT}) (conduit_runs_in_flight{{{AGENT}}})"
    last_run = _age("conduit_last_run_timestamp_seconds", AGENT)
    board.with_row(dashboard.Row("Now"))
    for panel in (
        number(
            "Conduit API (now)",
            "May I trust this page? 0 as soon as the last contact with Conduit failed for one "
            "chosen workspace. Says nothing of single agents: see the age beside it.",
            (f"min(conduit_up{{{WORKSPACE}}})", ""),
            unit="short",
            width=3,
            words={"1": ("readable", GREEN), "0": ("down", RED)},
            empty="no data",
            links=[TO_EXPORTER],
        ),
        number(
            "Oldest poll (now)",
            "How late are these numbers? Seconds since the newest runs of the agent that was read "
            "longest ago were read. Idle agents are read every 10 minutes at the latest.",
            (f"max({poll_age})", ""),
            unit="s",
            width=3,
            steps=POLL_AGE,
            empty="no data",
            links=[TO_EXPORTER],
        ),
        firing_alerts(6),
        number(
            "Runs (range)",
            f"How many runs ended? Increase of {RUNS} over the chosen range, rounded. {SURVIVES} "
            "Runs in flight are not in it.",
            (f"round({runs})", ""),
            unit="short",
            width=3,
        ),
        number(
            "Failed (range)",
            "Which share of runs failed? Failed runs over all runs of the range. Runs that failed "
            "before Conduit knew of them are in neither.",
            (share(_sum(increase(RUNS, FAILED)), runs), ""),
            unit="percentunit",
            width=3,
            decimals=1,
            steps=FAILURE_RATIO,
        ),
        number(
            "Handed to a person (range)",
            "Which share of runs went to a person? Runs with disposition escalated or "
            "escalation_and_answer over all runs of the range.",
            (share(_sum(increase(RUNS, ESCALATED)), runs), ""),
            unit="percentunit",
            width=3,
            decimals=1,
        ),
        number(
            "Resolved (range)",
            "Which share of runs did what it was for? Runs with disposition resolved over all "
            "runs of the range, as the agent itself decided.",
            (share(_sum(increase(RUNS, RESOLVED)), runs), ""),
            unit="percentunit",
            width=3,
            decimals=1,
        ),
    ):
        board.with_panel(panel)
    board.with_row(dashboard.Row("Money"))
    for panel in (
        number(
            "Cost today",
            "What have we spent today? conduit_period_cost_usd, exact from the ledger: runs that "
            "ended in the present day of EXPORTER_TIMEZONE. Runs without a price are not in it.",
            (_sum(_period("day")), ""),
            unit="currencyUSD",
            decimals=2,
        ),
        number(
            "Cost this month",
            "What have we spent this month? conduit_period_cost_usd, exact from the ledger: runs "
            "that ended in the present month of EXPORTER_TIMEZONE, since the ledger was made. Runs "
            "without a price are not in it.",
            (_sum(_period("month")), ""),
            unit="currencyUSD",
            decimals=2,
        ),
        gauges(
            "Budget used (this month, and forecast)",
            "When do we stop? Cost of the month over EXPORTER_MONTHLY_BUDGET_USD, and the same "
            "with the mean day of the last 7 for each day left. All agents of a workspace, "
            "whichever are chosen. Empty without a budget.",
            (workspace_named(f"{month}\n/ {budget}"), "{{workspace_name}} used"),
            (workspace_named(f"{forecast}\n/ {budget}"), "{{workspace_name}} forecast"),
            unit="percentunit",
            width=6,
            steps=BUDGET,
        ),
        number(
            "Cost per resolved run (range)",
            "Is it worth it? All cost of the range, failed runs included, over the runs that "
            "resolved. Conversations of several runs are not joined yet.",
            (share(cost, _sum(increase(RUNS, RESOLVED))), ""),
            unit="currencyUSD",
            decimals=2,
            empty="none resolved",
        ),
        number(
            "Unpriced runs (range)",
            f"What is not in these sums? Increase of {UNPRICED}, rounded: runs for which Conduit "
            "told no cost. Their cost is unknown, not zero.",
            (f"round({_sum(increase(UNPRICED))})", ""),
            unit="short",
            width=3,
            steps=ANY_IS_ODD,
        ),
        number(
            "Unpriced share (range)",
            "How much is not in these sums? Runs without a price over all runs of the range.",
            (share(_sum(increase(UNPRICED)), runs), ""),
            unit="percentunit",
            width=3,
            decimals=1,
        ),
        lines(
            "Cost per day and agent (UTC)",
            "Which day, which agent? Increase of cost from midnight to midnight UTC; each bar "
            "stands at its day's start, today's grows. Runs without a price are not in it, nor "
            "what Prometheus did not scrape; the exact month is above.",
            (named(_by_agent(bar(COST)), NAMED_BAR), "{{agent_name}}"),
            unit="currencyUSD",
            width=16,
            bars_of="1d",
            links=[TO_AGENT_THAT_DAY],
        ),
        rows_by(
            "Cost per resolved run by agent (range)",
            "Which agent is worth it? All cost of an agent over its resolved runs. Empty where "
            "none resolved.",
            [
                ("cost", "currencyUSD", named(_by_agent(increase(COST)))),
                (
                    "per resolved run",
                    "currencyUSD",
                    named(f"({share(_by_agent(increase(COST)), resolved_by_agent)})"),
                ),
            ],
            width=8,
            hidden=["workspace_id", "agent_id"],
            links=[TO_AGENT_OF_ROW],
            sort="cost",
        ),
    ):
        board.with_panel(panel)
    board.with_row(dashboard.Row("Outcome"))
    board.with_panel(
        lines(
            "Outcomes per hour (UTC)",
            "When did it turn? Runs that ended within each hour or longer step, by status and "
            "disposition; outcomes that did not happen are left out.",
            (f"round({by_outcome}) > 0", "{{status}} {{disposition}}"),
            unit="short",
            width=24,
            bars_of="1h",
            colors=OUTCOME_COLORS,
        )
    )
    board.with_panel(
        rows_by(
            "Agents (range)",
            "Who? Counts and sums over the range, p95 over at least 5 runs, in flight and last run "
            "as of now. An agent without a run in the range shows dashes.",
            [
                ("runs", "short", named(f"round({_by_agent(increase(RUNS))})")),
                *(
                    (
                        name,
                        "percentunit",
                        named(
                            "("
                            + share(_by_agent(increase(RUNS, what)), _by_agent(increase(RUNS)))
                            + ")"
                        ),
                    )
                    for name, what in (
                        ("failed", FAILED),
                        ("escalated", ESCALATED),
                        ("resolved", RESOLVED),
                    )
                ),
                ("cost", "currencyUSD", named(_by_agent(increase(COST)))),
                (
                    "cost / resolved",
                    "currencyUSD",
                    named(f"({share(_by_agent(increase(COST)), resolved_by_agent)})"),
                ),
                ("p95", "s", named(f"({quantile(0.95, DURATION, BY_AGENT)})")),
                ("in flight", "short", named(in_flight)),
                ("last run", "s", named(f"max by ({BY_AGENT}) ({last_run})")),
            ],
            hidden=["workspace_id", "agent_id"],
            links=[TO_AGENT_OF_ROW],
            sort="runs",
        )
    )
    board.with_row(dashboard.Row("Tokens"))
    priced = f"({increase(TOKENS)} and on ({BY_AGENT}) ({_by_agent(increase(COST))} > 0))"
    for panel in (
        lines(
            "Tokens per hour (UTC)",
            "Why did cost move? Tokens of runs that ended within each hour or longer step.",
            (f"sum by (token_type) ({bar(TOKENS)})", "{{token_type}}"),
            unit="short",
            bars_of="1h",
        ),
        *(
            number(
                f"{kind.capitalize()} per run (range)",
                f"Did prompts or answers grow? {kind.capitalize()} tokens over runs of the range.",
                (share(_sum(increase(TOKENS, f'token_type="{kind}"')), runs), ""),
                unit="short",
                decimals=0,
            )
            for kind in ("input", "output")
        ),
        number(
            "USD per 1000 tokens (range)",
            "Did the price move? Cost over tokens of agents that have a price; input and output "
            "together, so a new mix moves it too.",
            (f"1000 * {share(cost, _sum(priced))}", ""),
            unit="currencyUSD",
            decimals=4,
        ),
    ):
        board.with_panel(panel)
    board.with_row(dashboard.Row("Duration"))
    for panel in (
        number(
            "p50 and p95 (range)",
            "Is it slow? Half, and 95 of 100, runs took at most this long; read between bucket "
            "bounds, over at least 5 runs. Runs whose duration Conduit does not tell are left out.",
            (quantile(0.5, DURATION), "p50"),
            (quantile(0.95, DURATION), "p95"),
            unit="s",
            width=8,
            empty="too few runs",
        ),
        buckets(
            "Durations per hour (UTC)",
            "When was it slow? Runs by duration; a dot is an exemplar, a run's trace. Bounds of "
            "buckets are fixed, nothing is finer than they are.",
            DURATION,
            unit="s",
            width=16,
            interval="1h",
        ),
    ):
        board.with_panel(panel)
    return board


def agent() -> dashboard.Dashboard:
    """One agent, from its outcomes to a single run's trace."""
    panel: Builder[models.Panel]
    board = (
        _dashboard(
            "conduit-agent",
            "Conduit / Agent",
            "One agent: outcomes, duration, money, tools, and the way to its traces.",
            start="now-24h",
            refresh="1m",
        )
        .with_variable(_info_variable("agent", WORKSPACE, multi=False))
        .with_variable(
            dashboard.TextBoxVariable("jaeger")
            .label("Jaeger")
            .default_value("http://localhost:16686")
        )
        .with_variable(
            dashboard.TextBoxVariable("exporter")
            .label("Exporter")
            .default_value("http://localhost:10464")
        )
    )
    runs, cost = _sum(increase(RUNS)), _sum(increase(COST))
    traces = list(TO_TRACES)

    def over(window: str, *matchers: str) -> str:
        part = f"sum(increase({RUNS}{{{','.join((AGENT, *matchers))}}}[{window}]))"
        return share(part, f"sum(increase({RUNS}{{{AGENT}}}[{window}]))")

    outcomes = (
        f"round(sum by (status, disposition) ({bar(RUNS)})) > 0",
        "{{status}} {{disposition}}",
    )
    for panel in (
        number(
            "Agent",
            "Whose page is this? Name and id, from conduit_agent_info.",
            (
                (
                    f"max by (agent_id, agent_name) (last_over_time(conduit_agent_info{{{AGENT}}}"
                    "[$__range]))"
                ),
                "{{agent_name}} ({{agent_id}})",
            ),
            unit="short",
            width=8,
            empty="choose an agent",
            names=True,
            links=traces,
        ),
        number(
            "Last run ended (now)",
            "Is it alive? Seconds since the latest counted run ended.",
            (f"min({_age('conduit_last_run_timestamp_seconds', AGENT)})", ""),
            unit="s",
        ),
        number(
            "In flight (now)",
            "What is it doing? Runs that had not ended when they were last seen, by status.",
            (f"sum by (status) (conduit_runs_in_flight{{{AGENT}}})", "{{status}}"),
            unit="short",
            width=8,
            empty="none",
        ),
        number(
            "Oldest in flight (now)",
            "Does a run hang? Seconds since the oldest run in flight was created. A run that "
            "waits for a person may be old.",
            (f"max({_age('conduit_oldest_in_flight_run_timestamp_seconds', AGENT)})", ""),
            unit="s",
            empty="none",
        ),
    ):
        board.with_panel(panel)
    board.with_row(dashboard.Row("Outcomes"))
    for panel in (
        number(
            "Failed (range)",
            "How many failed? Increase of failed runs over the range, rounded; read it with the "
            "number beside it, as 4 of 12.",
            (f"round({_sum(increase(RUNS, FAILED))})", ""),
            unit="short",
            steps=ANY_IS_ODD,
        ),
        number(
            "of runs (range)",
            f"Of how many? Increase of {RUNS} over the range, rounded. {SURVIVES}",
            (f"round({runs})", ""),
            unit="short",
        ),
        number(
            "Failed share (1h, 1d, 7d)",
            "Is now worse than usual? Failed runs over all runs of the last hour, day and week, "
            "whatever range is chosen.",
            *((over(window, FAILED), window) for window in ("1h", "1d", "7d")),
            unit="percentunit",
            width=8,
            decimals=1,
            steps=FAILURE_RATIO,
        ),
        number(
            "Escalated share (1h, 1d, 7d)",
            "Does it hand over more than usual? Escalated runs over all runs of the last hour, "
            "day and week, whatever range is chosen.",
            *((over(window, ESCALATED), window) for window in ("1h", "1d", "7d")),
            unit="percentunit",
            width=8,
            decimals=1,
        ),
        lines(
            "Outcomes (bars of at least 10m)",
            "When did it turn? Runs that ended within each step, by status and disposition.",
            outcomes,
            unit="short",
            bars_of="10m",
            colors=OUTCOME_COLORS,
            links=traces,
        ),
        lines(
            "Outcomes, the same hours last week",
            "Is this usual? The panel beside it, a week earlier. Empty where Prometheus keeps "
            "less than that.",
            outcomes,
            unit="short",
            bars_of="10m",
            colors=OUTCOME_COLORS,
            last_week=True,
            links=traces,
        ),
    ):
        board.with_panel(panel)
    board.with_row(dashboard.Row("Duration"))
    for panel in (
        buckets(
            "Durations (steps of at least 10m)",
            "Which runs were slow? Runs by duration; a dot is an exemplar and opens its trace.",
            DURATION,
            unit="s",
            width=16,
            interval="10m",
        ),
        number(
            "p50, p95, p99 by status (range)",
            "How slow, and do failures take longer? Read between bucket bounds, for each status "
            "with at least 5 runs.",
            *(
                (quantile(q, DURATION, "status"), f"p{round(100 * q)} {{{{status}}}}")
                for q in (0.5, 0.95, 0.99)
            ),
            unit="s",
            width=8,
            empty="too few runs",
        ),
    ):
        board.with_panel(panel)
    board.with_row(dashboard.Row("Money"))
    for panel in (
        number(
            "Cost (range)",
            "What did it cost? Increase of cost over the range. Runs without a price are not in "
            "it.",
            (cost, ""),
            unit="currencyUSD",
            decimals=2,
        ),
        number(
            "Cost today, this month",
            "What has it cost? conduit_period_cost_usd, exact from the ledger, by the calendar of "
            "EXPORTER_TIMEZONE.",
            (_sum(_period("day")), "today"),
            (_sum(_period("month")), "this month"),
            unit="currencyUSD",
            width=8,
            decimals=2,
        ),
        number(
            "Cost per run (range)",
            "What does a run cost? Cost over runs with a price.",
            (share(cost, f"({runs} - {_sum(increase(UNPRICED))})"), ""),
            unit="currencyUSD",
            decimals=4,
        ),
        number(
            "Unpriced runs (range)",
            "What is not in these sums? Runs for which Conduit told no cost.",
            (f"round({_sum(increase(UNPRICED))})", ""),
            unit="short",
            steps=ANY_IS_ODD,
        ),
        number(
            "Changed after counting (range)",
            "Did Conduit change its mind? Runs that Conduit showed differently after they were "
            "counted; sums keep the first figures.",
            (f"round({_sum(increase('conduit_run_revisions_total'))})", ""),
            unit="short",
            steps=ANY_IS_ODD,
        ),
        lines(
            "Cost (bars of at least 10m)",
            "When was it dear? Cost of runs that ended within each step.",
            (_sum(bar(COST)), "cost"),
            unit="currencyUSD",
            width=8,
            bars_of="10m",
            links=traces,
        ),
        lines(
            "Tokens (bars of at least 10m)",
            "More in, or more out? Tokens of runs that ended within each step.",
            (f"sum by (token_type) ({bar(TOKENS)})", "{{token_type}}"),
            unit="short",
            width=8,
            bars_of="10m",
            links=traces,
        ),
        buckets(
            "Cost of a run (steps of at least 10m)",
            "Which run was dear? Runs by their cost; a dot is an exemplar and opens its trace.",
            PRICE,
            unit="currencyUSD",
            width=8,
            interval="10m",
        ),
    ):
        board.with_panel(panel)
    board.with_row(dashboard.Row("Tools"))
    calls, errors = "conduit_tool_calls_total", "conduit_tool_call_errors_total"
    for panel in (
        rows_by(
            "Tools (range)",
            "Which tool fails? Calls and failed calls of traced runs, and calls over all runs. A "
            "tool that is new in the range lacks its first calls.",
            [
                ("calls", "short", f"round(sum by (tool) ({increase(calls)}))"),
                ("errors", "short", f"round(sum by (tool) ({increase(errors)}))"),
                (
                    "error share",
                    "percentunit",
                    share(
                        f"sum by (tool) ({increase(errors)})", f"sum by (tool) ({increase(calls)})"
                    ),
                ),
                (
                    "calls per run",
                    "short",
                    f"sum by (tool) ({increase(calls)})\n/ on () group_left () ({runs} > 0)",
                ),
            ],
            width=10,
            sort="calls",
        ),
        lines(
            "Errors by tool (bars of at least 10m)",
            "When did it fail? Failed calls of traced runs within each step, by tool.",
            (f"round(sum by (tool) ({bar(errors)})) > 0", "{{tool}}"),
            unit="short",
            width=8,
            bars_of="10m",
            links=traces,
        ),
        note(
            "About tools",
            "Tools are counted from **traced** runs. With EXPORTER_TRACE_SAMPLE_RATIO below 1, "
            "failed and escalated runs are traced all the same, so shares of errors look higher "
            "than they are. With EXPORTER_TRACE_DETAIL=summary there are none.",
            width=6,
            height=8,
        ),
    ):
        board.with_panel(panel)
    return board


def exporter() -> dashboard.Dashboard:
    """The exporter's own work, for who runs it."""
    board = _dashboard(
        "conduit-exporter",
        "Conduit / Exporter",
        "Is the exporter well, in time, within its budget and rid of its traces?",
        start="now-6h",
        refresh="1m",
    )
    own = "conduit_exporter_"
    requests, spent = f"{own}api_requests_total", f"{own}budget_requests_total"
    up = {"1": ("up", GREEN), "0": ("down", RED)}
    yes = {"1": ("yes", GREEN), "0": ("no", RED)}

    def job(metric: str, *matchers: str) -> str:
        return f"{own}{metric}{{{','.join((JOB, *matchers))}}}"

    def space(metric: str) -> str:
        return f"{own}{metric}{{{WORKSPACE}}}"

    def delay(q: float, metric: str) -> str:
        return (
            f"histogram_quantile({q}, sum by (le) (increase({job(metric + '_bucket')}[30m])))\n"
            f"and on () sum(increase({job(metric + '_count')}[30m])) >= {MIN_TIMED_RUNS}"
        )

    rows: dict[str, list[Any]] = {
        "State": [
            number(
                "Scraped (now)",
                "Is it there? up of each target. A target that Prometheus forgot is not shown.",
                (f"up{{{JOB}}}", "{{instance}}"),
                unit="short",
                words=up,
                empty="no target",
            ),
            number(
                "Ready (now)",
                "Are the first scans done, and can the ledger be written? As GET /-/ready.",
                (job("ready"), "{{instance}}"),
                unit="short",
                words=yes,
                empty="no data",
            ),
            number(
                "Version",
                "What runs? Version and revision of each exporter.",
                (f"max by (version, revision) ({job('build_info')})", "{{version}} {{revision}}"),
                unit="short",
                names=True,
                empty="no data",
            ),
            number(
                "Uptime (now)",
                "Did it restart? Seconds since the process started. Counts survive it.",
                (f"time() - process_start_time_seconds{{{JOB}}}", "{{instance}}"),
                unit="s",
                empty="no data",
            ),
            number(
                "Workspaces readable (now)",
                "Can Conduit be read? Workspaces whose last contact succeeded, and all.",
                (f"sum(conduit_up{{{WORKSPACE}}})", "readable"),
                (f"count(conduit_up{{{WORKSPACE}}})", "all"),
                unit="short",
                empty="no data",
            ),
            number(
                "Exporters a workspace (now)",
                "Does anything count twice? Most targets that show one workspace; 1 is right.",
                (f"max(count by (workspace_id) (conduit_up{{{WORKSPACE}}}))", ""),
                unit="short",
                steps=[(None, GREEN), (1.5, RED)],
                empty="no data",
            ),
            number(
                "Agents not scanned (now)",
                "Are totals complete? Agents whose first scan is open; their series are absent.",
                (f"sum({space('agents_unscanned')})", ""),
                unit="short",
                steps=ANY_IS_ODD,
                empty="no data",
            ),
            number(
                "Agents missing (now)",
                "Is a configured agent nowhere? Agents of CONDUIT_AGENTS that no list shows.",
                (f"sum({job('agents_missing')})", ""),
                unit="short",
                steps=ANY_IS_BAD,
                empty="no data",
            ),
        ],
        "Freshness": [
            lines(
                "Seconds since an agent was read (top 10)",
                "Who is late? Age of the last good poll by agent; idle agents are read every 10 "
                "minutes at the latest. Retired agents are not read and not shown.",
                (
                    (
                        f"topk(10, max by ({BY_AGENT}) (time() - "
                        f"{space('last_poll_success_timestamp_seconds')}))"
                    ),
                    "{{workspace_id}} {{agent_id}}",
                ),
                unit="s",
                width=8,
                steps=POLL_AGE,
                links=[TO_AGENT],
            ),
            lines(
                "From the end of a run until it was counted (30m)",
                "How late are counts? p50 and p95 over 30 minutes with at least 5 runs, between "
                "bucket bounds. Runs of the look-back are left out.",
                (delay(0.5, "count_delay_seconds"), "p50"),
                (delay(0.95, "count_delay_seconds"), "p95"),
                unit="s",
                width=8,
            ),
            lines(
                "From the end of a run until its trace was acknowledged (30m)",
                "How late are traces? p50 and p95 over 30 minutes with at least 5 traces, between "
                "bucket bounds.",
                (delay(0.5, "trace_delay_seconds"), "p50"),
                (delay(0.95, "trace_delay_seconds"), "p95"),
                unit="s",
                width=8,
            ),
        ],
        "Conduit API": [
            lines(
                "Requests a minute by endpoint and code",
                "What does Conduit answer? Requests a minute over 5 minutes; a code in letters is "
                "a failure without an answer.",
                (
                    f"sum by (endpoint, code) (rate({requests}{{{JOB}}}[5m])) * 60 > 0",
                    "{{endpoint}} {{code}}",
                ),
                unit="reqpm",
            ),
            lines(
                "Duration of requests, p95 by endpoint (5m)",
                "Is Conduit slow? To the last byte of the answer, between bucket bounds.",
                (
                    (
                        "histogram_quantile(0.95, sum by (endpoint, le) (rate("
                        f"{job('api_request_duration_seconds_bucket')}[5m])))\nand on (endpoint) "
                        "sum by (endpoint) (rate("
                        f"{job('api_request_duration_seconds_count')}[5m])) > 0"
                    ),
                    "{{endpoint}}",
                ),
                unit="s",
            ),
            lines(
                "Budget used by workspace (5m)",
                "Is there room? Requests a minute over CONDUIT_REQUESTS_PER_MINUTE.",
                (
                    (
                        f"sum by (workspace_id) (rate({spent}{{{WORKSPACE}}}[5m])) * 60\n"
                        "/ on (workspace_id) max by (workspace_id) "
                        f"({space('api_budget_requests_per_minute')})"
                    ),
                    "{{workspace_id}}",
                ),
                unit="percentunit",
                width=8,
                steps=[(None, GREEN), (1, RED)],
            ),
            lines(
                "Budget by purpose (bars of at least 1m)",
                "What are requests spent on? Requests within each step, by purpose.",
                (
                    f"sum by (purpose) ({bar(spent, selector=WORKSPACE)}) > 0",
                    "{{purpose}}",
                ),
                unit="short",
                width=8,
                bars_of="1m",
            ),
            lines(
                "Answers of 429 (bars of at least 10m)",
                "Are we asked to slow down? Single ones are normal.",
                (
                    (
                        "round(sum by (workspace_id) ("
                        f"{bar(own + 'api_rate_limited_total', selector=WORKSPACE)})) > 0"
                    ),
                    "{{workspace_id}}",
                ),
                unit="short",
                width=8,
                bars_of="10m",
            ),
        ],
        "Detail queue": [
            lines(
                "Runs awaiting their detail",
                "Is there a queue? Runs to be traced whose detail was not fetched yet.",
                (
                    f"sum by (workspace_id) ({space('runs_awaiting_detail')})",
                    "{{workspace_id}}",
                ),
                unit="short",
            ),
            lines(
                "Age of the oldest that awaits its detail",
                "Does the queue move? Seconds since the oldest such run ended, without the "
                "look-back's.",
                (
                    (
                        "time() - min by (workspace_id) ("
                        f"{space('oldest_awaiting_detail_timestamp_seconds')})"
                    ),
                    "{{workspace_id}}",
                ),
                unit="s",
                width=7,
                steps=[(None, GREEN), (3600, AMBER)],
            ),
            note(
                "About the queue",
                "After a **first start** the queue holds the look-back and is large: one request "
                "a run. New runs go first. It is worth a look when it grows from day to day.",
                width=5,
                height=8,
            ),
        ],
        "Traces": [
            number(
                "Backend (now)",
                "Does the trace backend take traces? As of the last attempt.",
                (job("trace_backend_up"), "{{instance}}"),
                unit="short",
                words=up,
                empty="no data",
            ),
            number(
                "Oldest waiting (now)",
                "Are traces late? Seconds since the oldest trace came into the outbox.",
                (f"max({_age(own + 'oldest_pending_trace_timestamp_seconds', JOB)})", ""),
                unit="s",
                steps=[(None, GREEN), (900, RED)],
                empty="none waits",
            ),
            number(
                "Outbox (now)",
                "How full is it? Bytes of undelivered traces over EXPORTER_OUTBOX_LIMIT; at 100 % "
                "fetching pauses.",
                (f"max({job('outbox_bytes')} / {job('outbox_limit_bytes')})", ""),
                unit="percentunit",
                decimals=1,
                steps=[(None, GREEN), (0.8, AMBER), (0.95, RED)],
                empty="no data",
            ),
            number(
                "Delivered traces and spans (range)",
                "How much arrived? Acknowledged by the backend within the range.",
                (f"round(sum(increase({job('traces_delivered_total')}[$__range])))", "traces"),
                (f"round(sum(increase({job('spans_delivered_total')}[$__range])))", "spans"),
                unit="short",
                empty="no data",
            ),
            number(
                "Rejected traces and spans (range)",
                "What was lost in the backend? Refused for good within the range.",
                (f"round(sum(increase({job('traces_rejected_total')}[$__range])))", "traces"),
                (f"round(sum(increase({job('spans_rejected_total')}[$__range])))", "spans"),
                unit="short",
                steps=ANY_IS_BAD,
                width=8,
                empty="no data",
            ),
            lines(
                "Traces waiting",
                "Does the backend keep up? Traces in the outbox, and those parked until a setting "
                "changes.",
                (f"sum({job('traces_pending')})", "pending"),
                (f"sum({job('traces_parked')})", "of them parked"),
                unit="short",
                width=8,
            ),
            lines(
                "Delivered a minute (5m)",
                "How fast? Traces that the backend acknowledged, a minute.",
                (f"sum(rate({job('traces_delivered_total')}[5m])) * 60", "traces"),
                unit="short",
                width=8,
            ),
            lines(
                "Attempts by outcome (bars of at least 1m)",
                "What does the backend answer? Attempts of delivery within each step.",
                (
                    (
                        "round(sum by (outcome) "
                        f"({bar(own + 'delivery_attempts_total', selector=JOB)})) > 0"
                    ),
                    "{{outcome}}",
                ),
                unit="short",
                width=8,
                bars_of="1m",
            ),
        ],
        "Data quality": [
            number(
                "Quarantined by reason (since the ledger was made)",
                "What is in no sum? Runs that could not be understood, by reason.",
                (f"sum by (reason) ({job('runs_quarantined_total')}) > 0", "{{reason}}"),
                unit="short",
                steps=ANY_IS_BAD,
                width=8,
                empty="none",
            ),
            number(
                "Changed after counting (range)",
                "Did Conduit change its mind? Counted runs that it showed differently later.",
                (
                    f"round(sum({increase('conduit_run_revisions_total', selector=WORKSPACE)}))",
                    "",
                ),
                unit="short",
                steps=ANY_IS_ODD,
            ),
            number(
                "Label overflow (range)",
                "Is a split cut off? Values beyond EXPORTER_MAX_LABEL_VALUES, counted as other.",
                (
                    (
                        "round(sum by (label) ("
                        f"{increase(own + 'label_overflow_total', selector=JOB)})) > 0"
                    ),
                    "{{label}}",
                ),
                unit="short",
                steps=ANY_IS_ODD,
                empty="none",
            ),
            number(
                "Collectors failing (now)",
                "Are series missing? Sources of metrics that could not be read at the scrape.",
                (f"count({job('collector_success')} == 0)", ""),
                unit="short",
                steps=ANY_IS_BAD,
                empty="none",
            ),
            number(
                "Web config in use (now)",
                "Is EXPORTER_WEB_CONFIG_FILE in force? No means that its last good state is kept.",
                (job("web_config_last_reload_successful"), "{{instance}}"),
                unit="short",
                words=yes,
                empty="no file",
            ),
        ],
        "Ledger and process": [
            number(
                "Ledger writable (now)",
                "Is anything counted? Whether the last commit succeeded.",
                (job("ledger_writable"), "{{instance}}"),
                unit="short",
                words=yes,
                empty="no data",
            ),
            number(
                "Counting since",
                "Since when do sums hold? When the ledger was made; an older sum is in no counter.",
                (f"max({job('ledger_created_timestamp_seconds')}) * 1000", ""),
                unit="dateTimeAsIso",
                width=8,
                empty="no data",
            ),
            number(
                "Disk free (now)",
                "Is there room? Free bytes of the ledger's volume.",
                (job("ledger_free_bytes"), "{{instance}}"),
                unit="bytes",
                steps=[(None, RED), (2e8, AMBER), (1e9, GREEN)],
                empty="no data",
            ),
            number(
                "Open files (now)",
                "Does it leak? Open file descriptors over their limit.",
                (
                    f"max(process_open_fds{{{JOB}}} / process_max_fds{{{JOB}}})",
                    "",
                ),
                unit="percentunit",
                decimals=1,
                steps=[(None, GREEN), (0.8, RED)],
                empty="no data",
            ),
            number(
                "Processor (5m)",
                "What does it take? Share of one core over 5 minutes.",
                (f"sum(rate(process_cpu_seconds_total{{{JOB}}}[5m]))", ""),
                unit="percentunit",
                decimals=1,
                empty="no data",
            ),
            lines(
                "Ledger and outbox on disk",
                "Does it grow? Bytes of the ledger's files, and of undelivered traces in it.",
                (f"sum({job('ledger_bytes')})", "ledger"),
                (f"sum({job('outbox_bytes')})", "outbox"),
                unit="bytes",
            ),
            lines(
                "Memory",
                "Does it leak? Resident memory of each exporter.",
                (f"process_resident_memory_bytes{{{JOB}}}", "{{instance}}"),
                unit="bytes",
            ),
        ],
    }
    for title, panels in rows.items():
        board.with_row(dashboard.Row(title))
        for panel in panels:
            board.with_panel(panel)
    return board


def files() -> dict[str, str]:
    """The text of each file by its name."""
    made = {}
    for board in (overview(), agent(), exporter()):
        # Through text: the SDK's objects become plain JSON.
        document = json.loads(json.dumps(board.build(), cls=JSONEncoder))
        for number_, panel in enumerate(document["panels"], start=1):
            panel["id"] = number_
        name = document["uid"].removeprefix("conduit-")
        text_ = json.dumps({"id": None} | document, indent=1, ensure_ascii=False)
        made[f"{name}.json"] = text_ + "\n"
    return made


if __name__ == "__main__":
    for file, content in files().items():
        (FOLDER / file).write_text(content, encoding="utf-8")
