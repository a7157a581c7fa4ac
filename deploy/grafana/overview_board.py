# ruff: noqa: INP001 (part of a program, no package)
"""The dashboard for who pays, and for a first look of who is woken."""

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import (
    dashboard,
)
from panels import (
    ANY_IS_ODD,
    BUDGET,
    FAILURE_RATIO,
    GREEN,
    OUTCOME_COLORS,
    POLL_AGE,
    RED,
    TO_AGENT_OF_ROW,
    TO_AGENT_THAT_DAY,
    TO_EXPORTER,
    buckets,
    firing_alerts,
    frame,
    gauges,
    info_variable,
    lines,
    number,
    rows_by,
)
from promql import (
    AGENT,
    BY_AGENT,
    COST,
    DURATION,
    ESCALATED,
    FAILED,
    RESOLVED,
    RUNS,
    TOKENS,
    UNPRICED,
    WORKSPACE,
    age,
    bar,
    by_agent,
    increase,
    named,
    period_cost,
    quantile,
    share,
    total,
    workspace_named,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models import dashboard as models


SURVIVES = "Counts are kept in the exporter's ledger and survive its restarts."


def overview() -> dashboard.Dashboard:
    """What is spent and what comes of it: for who pays, and for a first look."""
    panel: Builder[models.Panel]
    board = frame(
        "conduit-overview",
        "Conduit / Overview",
        "Cost and outcomes of agent runs. Days and hours are UTC.",
        start="now-7d",
        refresh="5m",
        timezone="utc",
    ).with_variable(info_variable("agent", WORKSPACE, multi=True))
    runs, cost = total(increase(RUNS)), total(increase(COST))
    month = f"sum by (workspace_id) ({period_cost('month', WORKSPACE)})"
    budget = f'max by (workspace_id) (conduit_budget_usd{{{WORKSPACE},period="month"}})'
    week = f"sum by (workspace_id) (increase({COST}{{{WORKSPACE}}}[7d]))"
    reset = f"sum by (workspace_id) (resets({COST}{{{WORKSPACE}}}[7d])) > 0"
    forecast = f"({month} + {week} / 7 * scalar(days_in_month() - day_of_month()) unless ({reset}))"
    by_outcome = f"sum by (status, disposition) ({bar(RUNS)})"
    resolved_by_agent = by_agent(increase(RUNS, RESOLVED))
    poll_age = age("conduit_exporter_last_poll_success_timestamp_seconds", AGENT)
    in_flight = f"sum by ({BY_AGENT}) (conduit_runs_in_flight{{{AGENT}}})"
    last_run = age("conduit_last_run_timestamp_seconds", AGENT)
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
            "longest ago were read. Where there are many idle agents, they are read every 10 "
            "minutes, beyond some 450 in a workspace more rarely.",
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
            (share(total(increase(RUNS, FAILED)), runs), ""),
            unit="percentunit",
            width=3,
            decimals=1,
            steps=FAILURE_RATIO,
        ),
        number(
            "Handed to a person (range)",
            "Which share of runs went to a person? Runs with disposition escalated or "
            "escalation_and_answer over all runs of the range.",
            (share(total(increase(RUNS, ESCALATED)), runs), ""),
            unit="percentunit",
            width=3,
            decimals=1,
        ),
        number(
            "Resolved (range)",
            "Which share of runs did what it was for? Runs with disposition resolved over all "
            "runs of the range, as the agent itself decided.",
            (share(total(increase(RUNS, RESOLVED)), runs), ""),
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
            (total(period_cost("day")), ""),
            unit="currencyUSD",
            decimals=2,
        ),
        number(
            "Cost this month",
            "What have we spent this month? conduit_period_cost_usd, exact from the ledger: runs "
            "that ended in the present month of EXPORTER_TIMEZONE, since the ledger was made. Runs "
            "without a price are not in it.",
            (total(period_cost("month")), ""),
            unit="currencyUSD",
            decimals=2,
        ),
        gauges(
            "Budget used (this month, and forecast)",
            "When do we stop? Cost of the month over EXPORTER_MONTHLY_BUDGET_USD, and the same "
            "with the mean day of the last 7 for each day left. All agents of a workspace, "
            "whichever are chosen. Empty without a budget; no forecast within 7 days after "
            "counters began anew.",
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
            (share(cost, total(increase(RUNS, RESOLVED))), ""),
            unit="currencyUSD",
            decimals=2,
            empty="none resolved",
        ),
        number(
            "Unpriced runs (range)",
            f"What is not in these sums? Increase of {UNPRICED}, rounded: runs for which Conduit "
            "told no cost. Their cost is unknown, not zero.",
            (f"round({total(increase(UNPRICED))})", ""),
            unit="short",
            width=3,
            steps=ANY_IS_ODD,
        ),
        number(
            "Unpriced share (range)",
            "How much is not in these sums? Runs without a price over all runs of the range.",
            (share(total(increase(UNPRICED)), runs), ""),
            unit="percentunit",
            width=3,
            decimals=1,
        ),
        lines(
            "Cost per day and agent (UTC)",
            "Which day, which agent? Increase of cost from midnight to midnight UTC; each bar "
            "stands at its day's start, today's grows. Runs without a price are not in it, nor "
            "what Prometheus did not scrape; the exact month is above.",
            (named(by_agent(bar(COST))), "{{agent_name}}"),
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
                ("cost", "currencyUSD", named(by_agent(increase(COST)))),
                (
                    "per resolved run",
                    "currencyUSD",
                    named(f"({share(by_agent(increase(COST)), resolved_by_agent)})"),
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
                ("runs", "short", named(f"round({by_agent(increase(RUNS))})")),
                *(
                    (
                        name,
                        "percentunit",
                        named(
                            "("
                            + share(by_agent(increase(RUNS, what)), by_agent(increase(RUNS)))
                            + ")"
                        ),
                    )
                    for name, what in (
                        ("failed", FAILED),
                        ("escalated", ESCALATED),
                        ("resolved", RESOLVED),
                    )
                ),
                ("cost", "currencyUSD", named(by_agent(increase(COST)))),
                (
                    "cost / resolved",
                    "currencyUSD",
                    named(f"({share(by_agent(increase(COST)), resolved_by_agent)})"),
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
    priced = f"({increase(TOKENS)} and on ({BY_AGENT}) ({by_agent(increase(COST))} > 0))"
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
                (share(total(increase(TOKENS, f'token_type="{kind}"')), runs), ""),
                unit="short",
                height=8,
                decimals=0,
            )
            for kind in ("input", "output")
        ),
        number(
            "USD per 1000 tokens (range)",
            "Did the price move? Cost over tokens of agents that have a price; input and output "
            "together, so a new mix moves it too.",
            (f"1000 * {share(cost, total(priced))}", ""),
            unit="currencyUSD",
            height=8,
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
            height=8,
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
