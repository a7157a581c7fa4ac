# ruff: noqa: INP001 (part of a program, no package)
"""The dashboard of the exporter's own work."""

from typing import Any

from grafana_foundation_sdk.builders import (
    dashboard,
)
from panels import (
    AMBER,
    ANY_IS_BAD,
    ANY_IS_ODD,
    GREEN,
    POLL_AGE,
    RED,
    TO_AGENT,
    frame,
    lines,
    note,
    number,
)
from promql import BY_AGENT, JOB, MIN_TIMED_RUNS, WORKSPACE, age, bar, increase


def exporter() -> dashboard.Dashboard:
    """The exporter's own work, for who runs it."""
    board = frame(
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
                width=3,
                words=up,
                empty="no target",
            ),
            number(
                "Ready (now)",
                "Are the first scans done, and can the ledger be written? As GET /-/ready.",
                (job("ready"), "{{instance}}"),
                unit="short",
                width=3,
                words=yes,
                empty="no data",
            ),
            number(
                "Version",
                "What runs? Version and revision of each exporter.",
                (f"max by (version, revision) ({job('build_info')})", "{{version}} {{revision}}"),
                unit="short",
                width=3,
                names=True,
                empty="no data",
            ),
            number(
                "Uptime (now)",
                "Did it restart? Seconds since the process started. Counts survive it.",
                (f"time() - process_start_time_seconds{{{JOB}}}", "{{instance}}"),
                unit="s",
                width=3,
                empty="no data",
            ),
            number(
                "Workspaces readable (now)",
                "Can Conduit be read? Workspaces whose last contact succeeded, and all.",
                (f"sum(conduit_up{{{WORKSPACE}}})", "readable"),
                (f"count(conduit_up{{{WORKSPACE}}})", "all"),
                unit="short",
                width=3,
                empty="no data",
            ),
            number(
                "Exporters a workspace (now)",
                "Does anything count twice? Most targets that show one workspace; 1 is right.",
                (f"max(count by (workspace_id) (conduit_up{{{WORKSPACE}}}))", ""),
                unit="short",
                width=3,
                steps=[(None, GREEN), (1.5, RED)],
                empty="no data",
            ),
            number(
                "Agents not scanned (now)",
                "Are totals complete? Agents whose first scan is open; their series are absent.",
                (f"sum({space('agents_unscanned')})", ""),
                unit="short",
                width=3,
                steps=ANY_IS_ODD,
                empty="no data",
            ),
            number(
                "Agents missing (now)",
                "Is a configured agent nowhere? Agents of CONDUIT_AGENTS that no list shows.",
                (f"sum({job('agents_missing')})", ""),
                unit="short",
                width=3,
                steps=ANY_IS_BAD,
                empty="no data",
            ),
        ],
        "Freshness": [
            lines(
                "Seconds since an agent was read (top 10)",
                "Who is late? Age of the last good poll by agent; many idle ones are read every "
                "10 minutes, beyond some 450 in a workspace more rarely. Retired agents are not "
                "read and not shown.",
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
                (f"max({age(own + 'oldest_pending_trace_timestamp_seconds', JOB)})", ""),
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
                "Does the backend keep up? Traces in the outbox, and those parked: refused alone, "
                "to be tried again.",
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
