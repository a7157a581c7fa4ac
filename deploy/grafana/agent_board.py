# ruff: noqa: INP001 (part of a program, no package)
"""The dashboard of one agent, from its outcomes to a single trace."""

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import (
    dashboard,
)
from panels import (
    ANY_IS_ODD,
    FAILURE_RATIO,
    OUTCOME_COLORS,
    TO_TRACES,
    buckets,
    frame,
    info_variable,
    lines,
    note,
    number,
    rows_by,
)
from promql import (
    AGENT,
    COST,
    DURATION,
    ESCALATED,
    FAILED,
    PRICE,
    RUNS,
    TOKENS,
    UNPRICED,
    WORKSPACE,
    age,
    bar,
    increase,
    names,
    period_cost,
    quantile,
    share,
    total,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models import dashboard as models


SURVIVES = "Counts are kept in the exporter's ledger and survive its restarts."


def agent() -> dashboard.Dashboard:
    """One agent, from its outcomes to a single run's trace."""
    panel: Builder[models.Panel]
    board = (
        frame(
            "conduit-agent",
            "Conduit / Agent",
            "One agent: outcomes, duration, money, tools, and the way to its traces.",
            start="now-24h",
            refresh="1m",
        )
        .with_variable(info_variable("agent", WORKSPACE, multi=False))
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
    runs, cost = total(increase(RUNS)), total(increase(COST))
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
                names("agent", AGENT),
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
            (f"min({age('conduit_last_run_timestamp_seconds', AGENT)})", ""),
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
            (f"max({age('conduit_oldest_in_flight_run_timestamp_seconds', AGENT)})", ""),
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
            (f"round({total(increase(RUNS, FAILED))})", ""),
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
            height=8,
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
            (total(period_cost("day")), "today"),
            (total(period_cost("month")), "this month"),
            unit="currencyUSD",
            width=8,
            decimals=2,
        ),
        number(
            "Cost per run (range)",
            "What does a run cost? Cost over runs with a price.",
            (share(cost, f"({runs} - {total(increase(UNPRICED))})"), ""),
            unit="currencyUSD",
            decimals=4,
        ),
        number(
            "Unpriced runs (range)",
            "What is not in these sums? Runs for which Conduit told no cost.",
            (f"round({total(increase(UNPRICED))})", ""),
            unit="short",
            steps=ANY_IS_ODD,
        ),
        number(
            "Changed after counting (range)",
            "Did Conduit change its mind? Runs that Conduit showed differently after they were "
            "counted; sums keep the first figures.",
            (f"round({total(increase('conduit_run_revisions_total'))})", ""),
            unit="short",
            steps=ANY_IS_ODD,
        ),
        lines(
            "Cost (bars of at least 10m)",
            "When was it dear? Cost of runs that ended within each step.",
            (total(bar(COST)), "cost"),
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
