# ruff: noqa: INP001 (part of a program, no package)
"""PromQL of the dashboards: selectors, windows, names joined, ratios and quantiles.

Each returns text. Traffic is sparse: increases, never rates a second; no ratio is NaN.
"""

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
# Not end(): a range query ends at its last whole step, which may be a day before.
RANGE_END = " @ ${__to:date:seconds}"

RUNS, COST, TOKENS = "conduit_runs_total", "conduit_run_cost_usd_total", "conduit_run_tokens_total"
UNPRICED = "conduit_runs_unpriced_total"
DURATION, PRICE = "conduit_run_duration_seconds", "conduit_run_price_usd"


def increase(metric: str, *matchers: str, selector: str = AGENT) -> str:
    """The increase over the dashboard's range."""
    return f"increase({metric}{{{','.join((selector, *matchers))}}}[$__range])"


def bar(metric: str, *matchers: str, selector: str = AGENT) -> str:
    """The increase from each step to the next: bars that meet, add up and stand at their start."""
    chosen = ",".join((selector, *matchers))
    return f"increase({metric}{{{chosen}}}[$__interval] offset -$__interval)"


def names(what: str, matchers: str, *, by: str = "", at: str = "") -> str:
    """The names of agents or workspaces as of now, the last one known where there is none now.

    In an instant query now is its time, the end of the range; elsewhere `at` says so.
    """
    info, by = f"conduit_{what}_info{{{matchers}}}", by or f"{what}_id"
    return (
        f"max by ({by}, {what}_name) ({info}{at} or on ({by}) last_over_time({info}[$__range]{at}))"
    )


def named(expr: str) -> str:
    """The expression, by agent, with the agent's name as a label: one over the whole range.

    It may have changed within the range, where the present one is taken, and may be shown by two
    targets, where either is.
    """
    return (
        f"{expr}\n* on ({BY_AGENT}) group_left (agent_name) "
        f"topk by ({BY_AGENT}) (1, {names('agent', JOB, by=BY_AGENT, at=RANGE_END)})"
    )


def workspace_named(expr: str) -> str:
    """The expression, by workspace, with the workspace's name as a label."""
    return (
        f"{expr}\n* on (workspace_id) group_left (workspace_name) topk by (workspace_id) "
        f"(1, max by (workspace_id, workspace_name) (conduit_workspace_info{{{JOB}}}))"
    )


def share(part: str, whole: str) -> str:
    """A ratio that is empty, not NaN, where there is nothing to divide by."""
    return f"{part}\n/ ({whole} > 0)"


def quantile(q: float, metric: str, by: str = "") -> str:
    """A quantile over the range, empty where too few runs ended for one."""
    labels = f", {by}" if by else ""
    on = f"on ({by})"
    count = (
        f"sum by ({by}) ({increase(metric + '_count')})"
        if by
        else (f"sum({increase(metric + '_count')})")
    )
    return (
        f"histogram_quantile({q}, sum by (le{labels}) ({increase(metric + '_bucket')}))\n"
        f"and {on} {count} >= {MIN_TIMED_RUNS}"
    )


def total(expr: str) -> str:
    """The sum over all that is chosen."""
    return f"sum({expr})"


def by_agent(expr: str) -> str:
    """The sum for each agent."""
    return f"sum by ({BY_AGENT}) ({expr})"


def period_cost(period: str, selector: str = AGENT) -> str:
    """The exact cost of the present calendar day or month."""
    return f'conduit_period_cost_usd{{{selector},period="{period}"}}'


def age(metric: str, selector: str) -> str:
    """Seconds since the time that the metric tells."""
    return f"time() - {metric}{{{selector}}}"
