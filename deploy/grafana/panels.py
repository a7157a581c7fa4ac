# ruff: noqa: INP001 (part of a program, no package)
"""The kinds of panels and the frame of a dashboard: how they look, never what they ask."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any
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
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from promql import JOB, bar, names

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

GREEN, AMBER, RED = "green", "orange", "red"
Steps = Sequence[tuple[float | None, str]]
POLL_AGE: Steps = [(None, GREEN), (600, AMBER), (1800, RED)]
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

OUTCOME_COLORS = {
    "^failed.*": RED,
    "^completed (escalated|escalation_and_answer)$": AMBER,
    "^completed resolved$": GREEN,
}


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
    height: int = 4,
    steps: Steps = NEUTRAL,
    empty: str = "no runs",
    decimals: int | None = None,
    words: dict[str, tuple[str, str]] | None = None,
    links: Sequence[tuple[str, str]] = (),
    names: bool = False,
) -> stat.Panel:
    """Numbers as of now; `words` maps a value to a text and a colour, `names` shows labels."""
    panel = _dressed(stat.Panel(), title, description, unit=unit, width=width, height=height)
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
    panel = _dressed(table.Panel(), title, description, unit="short", width=width, height=8)
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


def info_variable(name: str, matchers: str, *, multi: bool) -> dashboard.QueryVariable:
    """A choice of workspaces or agents: names to read, ids to ask with."""
    return _variable(
        name,
        name.capitalize(),
        f"query_result({names(name, matchers)})",
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


def frame(
    uid: str, title: str, description: str, *, start: str, refresh: str, timezone: str = "browser"
) -> dashboard.Dashboard:
    """A dashboard without panels: variables, annotations and the links among the three."""
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
        .with_variable(info_variable("workspace", JOB, multi=True))
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
