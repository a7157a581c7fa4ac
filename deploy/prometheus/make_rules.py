# ruff: noqa: INP001 (a program, no package)
"""Writes the recording rules and the alerts; every threshold stands here once.

    python -m deploy.prometheus.make_rules

Change a threshold, run it, commit the files. It talks to nothing and keeps no state.
"""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from exporter.web.pages import RUNBOOKS

FOLDER = Path(__file__).parent
COMPONENT = "conduit-exporter"

# What @NAME@ in an expression or a text stands for; @NAME%@ is it in percent. Counts are bounded
# by halves, since `increase` extrapolates: `> 2.5` is "3 or more".
THRESHOLDS: Mapping[str, str] = {
    "JOB": ".*conduit-exporter.*",
    "POLL_AGE_S": "1800",  # a thousand idle agents in a workspace are read up to 23 minutes apart
    "RATE_LIMITED": "5",
    "DETAIL_AGE_S": "3600",
    "TRACE_AGE_S": "900",
    "OUTBOX_WARNING": "0.8",
    "OUTBOX_CRITICAL": "0.95",
    "FAILURE_RATIO_1H": "0.2",
    "FAILURE_RATIO_1D": "0.1",
    "MIN_FAILED": "2.5",
    "MIN_FAILED_1D": "4.5",  # 2 failures of 30 runs a day often meet as 4 within 24 hours
    "MIN_RUNS": "9.5",
    "ESCALATION_FACTOR": "1.5",
    "MIN_ESCALATED": "9.5",
    "IN_FLIGHT_S": "7200",  # raise it where runs wait for a person
    "BUSY_HOUR_RUNS": "9.5",
    "DURATION_FACTOR": "3",
    "MIN_TIMED_RUNS": "19.5",
    "TOOL_ERROR_RATIO": "0.25",
    "MIN_TOOL_ERRORS": "4.5",
    "COST_FACTOR": "3",
    "COST_FLOOR_USD": "5",
    "MIN_HOURS": "24",  # of history of a workspace, before there is a usual hour
    "DAILY_COST_USD": "100",  # of a file that is not loaded: no limit is ours to guess
    "BUDGET_NEARLY": "0.8",
    "FORECAST_FROM_DAY": "3",
    "UNPRICED_RATIO": "0.5",
    "MIN_UNPRICED": "2.5",
}

AGENT = "job, workspace_id, agent_id"
_BY_WORKSPACE = "by (job, workspace_id)"
FAILED = 'status="failed"'
ESCALATED = 'disposition=~"escalated|escalation_and_answer"'


def increase(metric: str, window: str, *, matcher: str = "", by: str = AGENT) -> str:
    """The increase over the window, e.g. `7d` or `7d] offset 1d` less its bracket, summed."""
    selector = f"{metric}{{{matcher}}}" if matcher else metric
    length, _, offset = window.partition(" ")
    return f"sum by ({by}) (increase({selector}[{length}]{' ' if offset else ''}{offset}))"


@dataclass(frozen=True)
class Alert:
    """One alert; `dashboard` is overview, agent or exporter, `topic` cost where it is money."""

    name: str
    severity: str
    wait: str
    expr: str
    summary: str
    description: str
    dashboard: str
    keep: str = ""
    topic: str = ""

    def rule(self, runbooks: str) -> dict[str, Any]:
        """The rule as Prometheus reads it, with a link into the page of runbooks."""
        rule: dict[str, Any] = {"alert": self.name, "expr": _filled(self.expr), "for": self.wait}
        if self.keep:
            rule["keep_firing_for"] = self.keep
        rule["labels"] = {"severity": self.severity, "component": COMPONENT}
        if self.topic:
            rule["labels"]["topic"] = self.topic
        rule["annotations"] = {
            "summary": _filled(self.summary),
            "description": _filled(self.description),
            "runbook_url": f"{runbooks}#{self.name.lower()}",
            "dashboard_url": _DASHBOARDS[self.dashboard],
        }
        return rule


_DASHBOARDS = {
    "overview": "/d/conduit-overview?var-workspace={{ $labels.workspace_id }}",
    "agent": "/d/conduit-agent?var-workspace={{ $labels.workspace_id }}"
    "&var-agent={{ $labels.agent_id }}",
    "exporter": "/d/conduit-exporter?var-job={{ $labels.job }}",
    "exporters": "/d/conduit-exporter",
}


def _filled(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        number = THRESHOLDS[match[1]]
        return f"{float(number):.0%}" if match[2] else number

    return re.sub(r"@(\w+)(%?)@", value, text)


def _named(expr: str) -> str:
    """The expression with the agent's name as a label; its value stays."""
    return (
        f"(\n{_indented(expr)}\n)\n"
        f"* on ({AGENT}) group_left (agent_name) workspace_agent:conduit_agent_info:max"
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _count(metric: str) -> str:
    """A whole number in a text: the metric's value for the agent that the alert is about."""
    return (
        "{{ with printf `" + metric + "{job=%q,workspace_id=%q,agent_id=%q}` "
        "$labels.job $labels.workspace_id $labels.agent_id | query }}"
        '{{ . | first | value | printf "%.0f" }}{{ end }}'
    )


def _recorded(what: str, window: str) -> str:
    return f"workspace_agent:{what}:increase{window}"


def _resets(window: str) -> str:
    """Whether a ledger was lost or restored: all that the new one holds counts again, in a jump."""
    return f"sum by (job, workspace_id) (resets(conduit_run_cost_usd_total[{window}])) > 0"


def recording_rules() -> list[dict[str, Any]]:
    """The one group of recording rules; `job` is kept, since the inhibitions compare it."""
    rules = [
        {
            "record": "workspace_agent:conduit_agent_info:max",
            # One name an agent, also while two targets show it under an old and a new one.
            "expr": f"topk by ({AGENT}) (\n"
            f"  1, max by ({AGENT}, agent_name) (conduit_agent_info)\n)",
        }
    ]
    sums = {
        "conduit_runs": ("conduit_runs_total", ""),
        "conduit_runs_failed": ("conduit_runs_total", FAILED),
        "conduit_runs_escalated": ("conduit_runs_total", ESCALATED),
        "conduit_runs_resolved": ("conduit_runs_total", 'disposition="resolved"'),
        "conduit_run_cost_usd": ("conduit_run_cost_usd_total", ""),
    }
    for window in ("1h", "1d"):
        for name, (metric, matcher) in sums.items():
            expr = increase(metric, window, matcher=matcher)
            rules.append({"record": _recorded(name, window), "expr": expr})
    buckets = "conduit_run_duration_seconds_bucket"
    rules.append(
        {
            "record": f"workspace_agent_le:{buckets}:increase1h",
            "expr": increase(buckets, "1h", by=f"{AGENT}, le"),
        }
    )
    return [{"name": "conduit-exporter-recording", "interval": "1m", "rules": rules}]


ABSENT = Alert(
    "ConduitExporterAbsent",
    "critical",
    "15m",
    # Of a target that is known and down, ConduitExporterDown tells.
    'absent(conduit_exporter_build_info)\nunless on () up{job=~"@JOB@"} == 0',
    "No conduit-exporter is scraped",
    "For 15 minutes no target has shown conduit_exporter_build_info: the exporter is gone, or "
    "Prometheus no longer knows of it. Runs are read later, since Conduit keeps them. Look at "
    "Status > Targets for the job, then at whether the exporter is deployed at all. Leave this "
    "rule group out where no exporter is meant to run.",
    "exporters",
)

EXPORTER = [
    Alert(
        "ConduitExporterDown",
        "critical",
        "10m",
        'up{job=~"@JOB@"} == 0',
        "conduit-exporter {{ $labels.instance }} cannot be scraped",
        "Prometheus has had no answer from job {{ $labels.job }} for 10 minutes, so every other "
        "alert of it is blind. Ask for its log and for GET /-/healthy. Nothing is lost: runs are "
        "counted when it is back.",
        "exporter",
    ),
    Alert(
        "ConduitTokenRefused",
        "critical",
        "5m",
        # The first 401 of a process is a series that begins at 1, which `increase` does not see.
        "(\n"
        + _indented(
            "sum by (job, instance, code) (increase("
            'conduit_exporter_api_requests_total{code=~"401|403"}[30m])) > 0\n'
            "or\n"
            "sum by (job, instance, code) ("
            'conduit_exporter_api_requests_total{code=~"401|403"}\n'
            "  unless last_over_time(conduit_exporter_api_requests_total[1d] offset 30m)) > 0"
        )
        + "\n)\nand on (job, instance) min by (job, instance) (conduit_up) == 0",
        "Conduit refuses the token of {{ $labels.instance }} ({{ $labels.code }})",
        "Conduit answered {{ $labels.code }} within the last 30 minutes, and at least one "
        "workspace cannot be read. 401: put a valid token into CONDUIT_API_TOKEN_FILE (read again "
        "at once) or CONDUIT_API_TOKEN (needs a restart). 403: the token may not read a workspace. "
        "`conduit-exporter check` tells which.",
        "exporter",
    ),
    Alert(
        "ConduitApiDown",
        "critical",
        "10m",
        "min by (job, instance, workspace_id) (conduit_up) == 0",
        "The Conduit API cannot be read for workspace {{ $labels.workspace_id }}",
        "conduit_up has been 0 for 10 minutes: no connection, 5xx, a refusal (403) or answers that "
        "cannot be read. Compare with Conduit's status and this machine's way out. Nothing is "
        "lost: the exporter tries by itself and reads what it missed.",
        "exporter",
    ),
    Alert(
        "ConduitRunsStale",
        "warning",
        "5m",
        _named(
            f"time() - max by ({AGENT}, instance)\n"
            "  (conduit_exporter_last_poll_success_timestamp_seconds)\n"
            "> @POLL_AGE_S@"
        ),
        "Runs of {{ $labels.agent_name }} were last read {{ $value | humanizeDuration }} ago",
        "The newest runs of this agent have not been read for over @POLL_AGE_S@ s, longer than a "
        "healthy exporter leaves one of a thousand idle agents alone. Look for the agent's id in "
        "the exporter's log: its list may answer errors while those of others do not.",
        "exporter",
    ),
    Alert(
        "ConduitRateLimited",
        "warning",
        "15m",
        increase("conduit_exporter_api_rate_limited_total", "30m", by="job, workspace_id")
        + " > @RATE_LIMITED@",
        "Conduit limits requests for workspace {{ $labels.workspace_id }}: "
        '{{ $value | printf "%.0f" }} answers of 429 in 30 minutes',
        "More than @RATE_LIMITED@ answers of 429 in 30 minutes: someone else uses the same "
        "workspace's limit, or CONDUIT_REQUESTS_PER_MINUTE is above it. Lower it, or find the "
        "other client. Runs are late, none is lost.",
        "exporter",
    ),
    Alert(
        "ConduitDetailsStuck",
        "warning",
        "15m",
        "time() - min by (job, instance, workspace_id)\n"
        "  (conduit_exporter_oldest_awaiting_detail_timestamp_seconds)\n"
        "> @DETAIL_AGE_S@",
        "A run of workspace {{ $labels.workspace_id }} ended "
        "{{ $value | humanizeDuration }} ago and awaits its detail",
        "The oldest run that is to be traced ended over @DETAIL_AGE_S@ s ago; the look-back "
        "does not count. More runs end than the request budget can fetch, or the outbox is full. "
        "Compare awaiting runs with the budget on the Exporter dashboard; "
        "EXPORTER_TRACE_SAMPLE_RATIO and EXPORTER_TRACE_DETAIL=summary need fewer requests.",
        "exporter",
    ),
    Alert(
        "ConduitTracesStuck",
        "warning",
        "5m",
        "time() - conduit_exporter_oldest_pending_trace_timestamp_seconds > @TRACE_AGE_S@\n"
        "unless conduit_exporter_traces_pending == conduit_exporter_traces_parked",
        "Traces of {{ $labels.job }} have waited {{ $value | humanizeDuration }} for the backend",
        "The oldest trace in the outbox has waited for over @TRACE_AGE_S@ s. The backend is down, "
        "slow or cannot be reached: look at conduit_exporter_trace_backend_up and the log. Traces "
        "wait on disk and are sent when it is back.",
        "exporter",
    ),
    Alert(
        "ConduitTracesParked",
        "warning",
        "15m",
        "conduit_exporter_traces_parked > 0",
        '{{ $value | printf "%.0f" }} traces of {{ $labels.job }} are refused alone',
        "The trace backend refuses these traces, or fails on them, while it takes others. They are "
        "kept and tried again within the hour. The log names each with the backend's reason.",
        "exporter",
    ),
    Alert(
        "ConduitTracesRejected",
        "warning",
        "0m",
        "increase(conduit_exporter_traces_rejected_total[1h]) > 0\n"
        "or\n"
        "increase(conduit_exporter_spans_rejected_total[1h]) > 0",
        "The trace backend refused traces of {{ $labels.job }} for good",
        "Within the last hour the backend refused whole traces or single spans: they are lost "
        "there and not sent again. The log has the backend's reason, and names each trace that "
        "was refused whole; a limit of size or age is usual. After mending it, "
        "`conduit-exporter replay --since` sends again.",
        "exporter",
        keep="1h",
    ),
    Alert(
        "ConduitOutboxFilling",
        "warning",
        "5m",
        "conduit_exporter_outbox_bytes / conduit_exporter_outbox_limit_bytes > @OUTBOX_WARNING@",
        "The outbox of {{ $labels.job }} is {{ $value | humanizePercentage }} full",
        "Undelivered traces take more than @OUTBOX_WARNING%@ of EXPORTER_OUTBOX_LIMIT. At the "
        "limit fetching pauses; runs are counted all the same. Bring the trace backend back, or "
        "raise the limit where the disk allows it.",
        "exporter",
    ),
    Alert(
        "ConduitOutboxFull",
        "critical",
        "5m",
        "conduit_exporter_outbox_bytes / conduit_exporter_outbox_limit_bytes > @OUTBOX_CRITICAL@",
        "The outbox of {{ $labels.job }} is {{ $value | humanizePercentage }} full: "
        "no more details are fetched",
        "Undelivered traces take more than @OUTBOX_CRITICAL%@ of EXPORTER_OUTBOX_LIMIT, so details "
        "are no longer fetched; what Conduit forgets meanwhile gets no trace. Counting goes on. "
        "Bring the trace backend back, or raise the limit where the disk allows it.",
        "exporter",
    ),
    Alert(
        "ConduitLedgerUnwritable",
        "critical",
        "5m",
        "conduit_exporter_ledger_writable == 0",
        "{{ $labels.job }} cannot write its ledger: nothing is counted",
        "Commits have failed for 5 minutes: the disk is full or read-only, or the file was "
        "replaced. Look at conduit_exporter_ledger_free_bytes and the log. Runs are read again "
        "once it can be written.",
        "exporter",
    ),
    Alert(
        "ConduitCountersReset",
        "warning",
        "0m",
        _resets("30m"),
        "Counters of workspace {{ $labels.workspace_id }} began anew",
        "conduit_run_cost_usd_total went back within the last 30 minutes: the ledger was lost, "
        "replaced or restored from a copy. Sums over this moment count once more all that the "
        "ledger in use holds: of a new one its look-back, of a copy everything that was ever "
        "counted in it. conduit_period_cost_usd is right as far as that ledger goes.",
        "overview",
        keep="6h",
    ),
    Alert(
        "ConduitDuplicateExporter",
        "warning",
        "15m",
        "count by (workspace_id) (conduit_up) > 1",
        "{{ $value }} targets show workspace {{ $labels.workspace_id }}: sums count twice",
        "More than one scraped target reads this workspace, so that dashboards add the same runs "
        "up. Run one exporter a workspace (or EXPORTER_SHARD), or drop the second scrape of it.",
        "overview",
    ),
    Alert(
        "ConduitRunsQuarantined",
        "warning",
        "0m",
        # The second half sees a reason's first run. It looks back a day, so that a gap in the
        # scrapes an hour ago makes no reason look new.
        "sum by (job, reason) (increase(conduit_exporter_runs_quarantined_total[1h])) > 0\n"
        "or\n"
        "sum by (job, reason) (conduit_exporter_runs_quarantined_total\n"
        "  unless last_over_time(conduit_exporter_runs_quarantined_total[1d] offset 1h)) > 0",
        "{{ $labels.job }} could not understand runs: {{ $labels.reason }}",
        "Within the last hour runs were set aside since they could not be read or converted; they "
        "are in no sum. The log names them. Conduit's format changed, or this is a fault of the "
        "exporter: report it with the reason.",
        "exporter",
        keep="1h",
    ),
    Alert(
        "ConduitMetricsIncomplete",
        "warning",
        "5m",
        "conduit_exporter_collector_success == 0",
        "Metrics of {{ $labels.collector }} are missing at {{ $labels.job }}",
        "A source of metrics could not be read, and its series are absent: other alerts may be "
        "blind. The log has the error.",
        "exporter",
    ),
    Alert(
        "ConduitWebConfigNotReloaded",
        "warning",
        "15m",
        "conduit_exporter_web_config_last_reload_successful == 0",
        "{{ $labels.job }} keeps an older web config file",
        "EXPORTER_WEB_CONFIG_FILE cannot be used as it stands, so the last good one is kept: a "
        "new certificate or password is not in force. The log says which line.",
        "exporter",
    ),
    Alert(
        "ConduitNotReady",
        "warning",
        "30m",
        "conduit_exporter_ready == 0",
        "{{ $labels.job }} is not ready",
        "For 30 minutes the first scan of a configured agent has been open, a configured agent has "
        "been missing, or the ledger could not be written. GET /-/ready names which.",
        "exporter",
    ),
    Alert(
        "ConduitLabelOverflow",
        "info",
        "0m",
        increase("conduit_exporter_label_overflow_total", "1d", by="job, label") + " > 0",
        "Values of label {{ $labels.label }} count as other at {{ $labels.job }}",
        "Within the last day there were more values than EXPORTER_MAX_LABEL_VALUES. Sums stay "
        "right, the split by this label does not. Raise the setting if Prometheus can hold it.",
        "exporter",
    ),
]

_RUNS_1H, _FAILED_1H = _recorded("conduit_runs", "1h"), _recorded("conduit_runs_failed", "1h")
_RUNS_1D, _FAILED_1D = _recorded("conduit_runs", "1d"), _recorded("conduit_runs_failed", "1d")
_ESCALATED_1D = _recorded("conduit_runs_escalated", "1d")
_BUCKETS_1H = "workspace_agent_le:conduit_run_duration_seconds_bucket:increase1h"
_TOOLS = {"by": f"{AGENT}, tool"}

AGENTS = [
    Alert(
        "ConduitFailureRatioHigh",
        "critical",
        "5m",
        _named(
            f"{_FAILED_1H} / {_RUNS_1H} > @FAILURE_RATIO_1H@\n"
            f"and {_FAILED_1H} > @MIN_FAILED@\n"
            f"and {_RUNS_1H} > @MIN_RUNS@"
        ),
        f"{_count(_FAILED_1H)} of {_count(_RUNS_1H)} runs of {{{{ $labels.agent_name }}}} failed "
        "in the last hour ({{ $value | humanizePercentage }})",
        "More than @FAILURE_RATIO_1H%@ of the runs that ended within the last hour failed, at "
        "least 3 of at least 10. Read the errors at /runs?agent={{ $labels.agent_id }}"
        "&status=failed on the exporter, and open a failed run's trace.",
        "agent",
        keep="15m",
    ),
    Alert(
        "ConduitFailureRatioRaised",
        "warning",
        "30m",
        _named(
            f"{_FAILED_1D} / {_RUNS_1D} > @FAILURE_RATIO_1D@\n"
            f"and {_FAILED_1D} > @MIN_FAILED_1D@\n"
            f"and {_RUNS_1D} > @MIN_RUNS@"
        ),
        f"{_count(_FAILED_1D)} of {_count(_RUNS_1D)} runs of {{{{ $labels.agent_name }}}} failed "
        "in the last day ({{ $value | humanizePercentage }})",
        "More than @FAILURE_RATIO_1D%@ of the runs that ended within the last day failed, at least "
        "5 of at least 10. Read the errors at /runs?agent={{ $labels.agent_id }}&status=failed on "
        "the exporter: one cause or several?",
        "agent",
        keep="1h",
    ),
    Alert(
        "ConduitAgentFailsAlways",
        "critical",
        "5m",
        _named(
            increase("conduit_runs_total", "6h", matcher=FAILED)
            + " > @MIN_FAILED@\nand\n"
            + increase("conduit_runs_total", "6h", matcher='status="completed"')
            + " < 0.5"
        ),
        'All {{ $value | printf "%.0f" }} runs of {{ $labels.agent_name }} failed in 6 hours',
        "At least 3 runs failed within the last 6 hours and none completed. Read the errors at "
        "/runs?agent={{ $labels.agent_id }}&status=failed on the exporter: a model, a key or a "
        "tool that all runs need is likely gone.",
        "agent",
        # As long as it takes ConduitFailureRatioHigh, which it inhibits, to forget: nobody is woken
        # again for a cause that is over.
        keep="1h",
    ),
    Alert(
        "ConduitEscalationsRaised",
        "warning",
        "1h",
        _named(
            f"{_ESCALATED_1D} / {_RUNS_1D}\n> @ESCALATION_FACTOR@ *\n"
            + increase("conduit_runs_total", "7d offset 1d", matcher=ESCALATED)
            + "\n/ "
            + increase("conduit_runs_total", "7d offset 1d")
            + f"\nand {_ESCALATED_1D} > @MIN_ESCALATED@"
        ),
        "{{ $labels.agent_name }} handed {{ $value | humanizePercentage }} of its runs to a "
        "person in the last day",
        "The share of runs with an escalation is over @ESCALATION_FACTOR@ times that of the seven "
        "days before, and at least 10 runs. Compare what guests asked and which tools failed at "
        "/runs?agent={{ $labels.agent_id }}&disposition=escalated on the exporter.",
        "agent",
    ),
    Alert(
        "ConduitRunStuck",
        "warning",
        "15m",
        _named(
            f"time() - min by ({AGENT}) (conduit_oldest_in_flight_run_timestamp_seconds)"
            "\n> @IN_FLIGHT_S@"
        ),
        "A run of {{ $labels.agent_name }} has not ended for {{ $value | humanizeDuration }}",
        "The oldest run in flight is older than @IN_FLIGHT_S@ s. It may wait for a person; if not, "
        "it hangs. The exporter's status page shows when it began, and Conduit's list which it is.",
        "agent",
    ),
    Alert(
        "ConduitAgentSilent",
        "warning",
        "15m",
        _named(
            f"{_RUNS_1H} < 0.5\n"
            f"and {_RUNS_1H} offset 1w > @BUSY_HOUR_RUNS@\n"
            f"and {_RUNS_1H} offset 2w > @BUSY_HOUR_RUNS@\n"
            # Not where Conduit cannot be read, nor where the exporter itself is not there to tell.
            f"and on (job, workspace_id) min {_BY_WORKSPACE} (conduit_up) == 1"
        ),
        "{{ $labels.agent_name }} had no run in the last hour",
        "No run ended within the last hour, though at this hour there were at least 10 in each of "
        "the last two weeks, and Conduit can be read. Is the channel that starts its runs still "
        "connected, and is the agent switched on?",
        "agent",
    ),
    Alert(
        "ConduitDurationRaised",
        "warning",
        "15m",
        _named(
            f"histogram_quantile(0.95, sum by ({AGENT}, le) ({_BUCKETS_1H}))\n"
            "> @DURATION_FACTOR@ * histogram_quantile(0.95,\n  "
            + increase("conduit_run_duration_seconds_bucket", "7d", by=f"{AGENT}, le")
            + f')\nand sum by ({AGENT}) ({_BUCKETS_1H}{{le="+Inf"}}) > @MIN_TIMED_RUNS@'
        ),
        "The slowest runs of {{ $labels.agent_name }} take {{ $value | humanizeDuration }}",
        "The 95th percentile of the last hour is over @DURATION_FACTOR@ times that of the last "
        "seven days, over at least 20 runs; both lie between bucket bounds. Open a slow run from "
        "the heatmap's exemplars and compare its tools.",
        "agent",
    ),
    Alert(
        "ConduitToolErrorsHigh",
        "warning",
        "10m",
        _named(
            increase("conduit_tool_call_errors_total", "1h", **_TOOLS)
            + "\n/ "
            + increase("conduit_tool_calls_total", "1h", **_TOOLS)
            + " > @TOOL_ERROR_RATIO@\nand "
            + increase("conduit_tool_call_errors_total", "1h", **_TOOLS)
            + " > @MIN_TOOL_ERRORS@"
        ),
        "{{ $value | humanizePercentage }} of the calls of tool {{ $labels.tool }} by "
        "{{ $labels.agent_name }} failed in the last hour",
        "More than @TOOL_ERROR_RATIO%@ of this tool's calls within the last hour said that they "
        "failed, at least 5. Only traced runs count: with sampling, failed runs weigh more than "
        "they should. Open a failed run's trace at this tool.",
        "agent",
        keep="30m",
    ),
]

_COST_1H, _COST_1D = (
    _recorded("conduit_run_cost_usd", "1h"),
    _recorded("conduit_run_cost_usd", "1d"),
)
_MONTH = f'sum {_BY_WORKSPACE} (conduit_period_cost_usd{{period="month"}})'
_BUDGET = f'max {_BY_WORKSPACE} (conduit_budget_usd{{period="month"}})'

COST = [
    Alert(
        "ConduitCostSpike",
        "warning",
        "15m",
        _named(
            f"{_COST_1H} > @COST_FLOOR_USD@\n"
            f"and {_COST_1H} > @COST_FACTOR@ *\n"
            f"  {increase('conduit_run_cost_usd_total', '7d')}\n"
            "  / on (job, workspace_id) group_left ()\n"
            f"    (count_over_time(sum {_BY_WORKSPACE} ({_COST_1H})[7d:1h]) >= @MIN_HOURS@)\n"
            f"unless {_COST_1H} <= @COST_FACTOR@ * ({_COST_1H} offset 1w)\n"
            f"unless on (job, workspace_id) {_resets('1h')}"
        ),
        'Runs of {{ $labels.agent_name }} cost {{ $value | printf "%.2f" }} USD in the last hour',
        "The last hour cost over @COST_FLOOR_USD@ USD, over @COST_FACTOR@ times the usual hour of "
        "the last seven days, and over @COST_FACTOR@ times the same hour a week ago. More runs, or "
        "dearer ones? Compare runs, tokens a run and cost a run.",
        "agent",
        topic="cost",
    ),
    Alert(
        "ConduitBudgetNearlyUsed",
        "warning",
        "15m",
        f"{_MONTH}\n/ {_BUDGET}\n> @BUDGET_NEARLY@",
        "Workspace {{ $labels.workspace_id }} has used {{ $value | humanizePercentage }} of its "
        "budget of the month",
        "Runs that ended this month cost over @BUDGET_NEARLY%@ of EXPORTER_MONTHLY_BUDGET_USD; "
        "runs without a price are not in it. The forecast is on the dashboard.",
        "overview",
        topic="cost",
    ),
    Alert(
        "ConduitBudgetUsed",
        "critical",
        "15m",
        f"{_MONTH}\n/ {_BUDGET}\n> 1",
        "Workspace {{ $labels.workspace_id }} has used {{ $value | humanizePercentage }} of its "
        "budget of the month",
        "Runs that ended this month cost more than EXPORTER_MONTHLY_BUDGET_USD. The exporter stops "
        "no run: decide whether to raise the budget or to switch agents off.",
        "overview",
        topic="cost",
    ),
    Alert(
        "ConduitBudgetForecast",
        "info",
        "6h",
        f"{_MONTH}\n"
        f"+ {increase('conduit_run_cost_usd_total', '7d', by='job, workspace_id')} / 7\n"
        "  * scalar(days_in_month() - day_of_month())\n"
        f"> {_BUDGET}\n"
        "and on () day_of_month() > @FORECAST_FROM_DAY@\n"
        f"unless {_resets('7d')}",
        'Workspace {{ $labels.workspace_id }} will cost about {{ $value | printf "%.2f" }} USD '
        "this month, more than its budget",
        "The month so far, and the mean day of the last seven for each day left (UTC), are above "
        "EXPORTER_MONTHLY_BUDGET_USD. Not before day 4 of a month, nor within seven days after the "
        "counters began anew.",
        "overview",
        topic="cost",
    ),
    Alert(
        "ConduitCostUnknown",
        "warning",
        "1h",
        _named(
            increase("conduit_runs_unpriced_total", "1d")
            + f"\n/ {_RUNS_1D} > @UNPRICED_RATIO@\nand "
            + increase("conduit_runs_unpriced_total", "1d")
            + " > @MIN_UNPRICED@\nand "
            + increase("conduit_run_cost_usd_total", "7d offset 1d")
            + " > 0"
        ),
        "{{ $value | humanizePercentage }} of the runs of {{ $labels.agent_name }} have no price",
        "Conduit told no cost for over @UNPRICED_RATIO%@ of the runs of the last day, at least 3, "
        "though this agent was priced in the week before. Sums of cost are too low by them. Was "
        "its model or plan changed?",
        "agent",
        topic="cost",
    ),
]

DAILY_COST = Alert(
    "ConduitDailyCostHigh",
    "warning",
    "0m",
    f"sum {_BY_WORKSPACE} ({_COST_1D}) > @DAILY_COST_USD@\nunless {_resets('1d')}",
    'Runs of workspace {{ $labels.workspace_id }} cost {{ $value | printf "%.2f" }} USD in a day',
    "The last 24 hours cost more than @DAILY_COST_USD@ USD. Which agent, and more runs or dearer "
    "ones? The dashboard splits cost by day and agent.",
    "overview",
    keep="1h",
    topic="cost",
)


def alert_groups(runbooks: str) -> list[dict[str, Any]]:
    """The groups of alerts that are shipped switched on."""
    groups = {
        "conduit-exporter-absent": [ABSENT],
        "conduit-exporter": EXPORTER,
        "conduit-agents": AGENTS,
        "conduit-cost": COST,
    }
    return [
        {"name": name, "rules": [alert.rule(runbooks) for alert in alerts]}
        for name, alerts in groups.items()
    ]


class _Dumper(yaml.SafeDumper):
    """Writes expressions of several lines as blocks."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def _yaml(groups: list[dict[str, Any]]) -> str:
    document = {"groups": groups}
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def files(runbooks: str = RUNBOOKS) -> dict[str, str]:
    """The text of each file by its name."""
    head = "# Made by deploy/prometheus/make_rules.py, where the thresholds stand.\n"
    daily = [{"name": "conduit-daily-cost", "rules": [DAILY_COST.rule(runbooks)]}]
    return {
        "conduit-exporter.rules.yaml": head + _yaml(recording_rules()),
        "conduit-exporter.alerts.yaml": head + _yaml(alert_groups(runbooks)),
        "conduit-daily-cost.alerts.yaml": head
        + "# Not loaded by prometheus.yml: the limit in it has to become yours.\n"
        + _yaml(daily),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the rules and alerts beside this file.")
    parser.add_argument(
        "--runbooks", default=RUNBOOKS, metavar="URL", help="where runbooks are read"
    )
    for name, text in files(parser.parse_args().runbooks).items():
        (FOLDER / name).write_text(text, encoding="utf-8")
