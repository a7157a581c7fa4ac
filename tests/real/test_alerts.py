"""The committed alerts in the real promtool, amtool, Prometheus and Alertmanager.

The exposition is the test's own, so that nothing here depends on how the exporter gets there.
"""

import json
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alert_rules import ALERTMANAGER_FILE, CASE_FILES, FOLDER, RULE_FILES, alerts, load
from tests.real import parts
from tests.real.processes import Process, eventually, free_port, loopback_client
from tests.real.prometheus import Prometheus, promtool

pytestmark = pytest.mark.real

DEBIAN = "Debian's package prometheus-alertmanager brings it"
SCALE = 600  # ten minutes of a rule's `for` are a second here
WAITS_S = {"0m": 0, "5m": 300, "10m": 600, "15m": 900, "30m": 1800, "1h": 3600, "6h": 21600}


def test_rules_pass_every_lint() -> None:
    """Promtool finds no fault and no duplicate in the rule files."""
    result = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    assert result.returncode == 0, result.stdout + result.stderr


def test_prometheus_would_start_with_its_file() -> None:
    """The scrape file and the rule files that it names are valid together."""
    result = promtool("check", "config", FOLDER / "prometheus.yml")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", CASE_FILES, ids=lambda path: path.stem)
def test_alerts_fire_stay_silent_and_recover(path: Path) -> None:
    """Each case of the file holds, texts to the letter."""
    result = promtool("test", "rules", path, timeout_s=300)
    assert result.returncode == 0, result.stdout + result.stderr


def test_alertmanager_would_start_with_its_file() -> None:
    """Amtool finds no fault in routes, intervals and inhibitions."""
    assert "SUCCESS" in _amtool("check-config", ALERTMANAGER_FILE)


def test_who_is_told_of_what() -> None:
    """Critical alerts wake, warnings wait for the day, money goes to who pays, info to nobody."""
    told = {
        name: _amtool(
            *("config", "routes", "test", "--config.file", ALERTMANAGER_FILE),
            *(f"{key}={value}" for key, value in rule["labels"].items()),
        ).strip()
        for name, rule in alerts().items()
    }
    severity_to_receiver = {"critical": "on-call", "warning": "office", "info": "shown"}
    expected = {
        name: severity_to_receiver[rule["labels"]["severity"]]
        if rule["labels"].get("topic") != "cost"
        else "payer"
        for name, rule in alerts().items()
    }
    assert told == expected | {"ConduitBudgetUsed": "payer,on-call"}


class Site:
    """Serves an exposition at /metrics and takes Alertmanager's webhooks at any other path."""

    def __init__(self) -> None:
        self.series: dict[str, float] = {}
        # Receiver -> status (firing, resolved) -> names of alerts.
        self.told: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = "".join(f"{name} {value}\n" for name, value in site.series.items()).encode()
                self.send_response(200 if site.series else 503)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in message["alerts"]:
                    told = site.told[message["receiver"]]
                    told[alert["status"]].add(alert["labels"]["alertname"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def names(self, status: str) -> dict[str, set[str]]:
        """Alerts of this status by receiver."""
        return {who: set(told[status]) for who, told in self.told.items() if told[status]}


AGENT = 'workspace_id="w1",agent_id="a1"'
FAILED = f'conduit_runs_total{{{AGENT},status="failed",disposition="none"}}'
COMPLETED = f'conduit_runs_total{{{AGENT},status="completed",disposition="resolved"}}'
LAST_POLL = f"conduit_exporter_last_poll_success_timestamp_seconds{{{AGENT}}}"
UP = 'conduit_up{workspace_id="w1"}'
MONTH = f'conduit_period_cost_usd{{{AGENT},period="month"}}'
OLDEST_PENDING = "conduit_exporter_oldest_pending_trace_timestamp_seconds"


def _healthy() -> dict[str, float]:
    now = time.time()
    return {
        'conduit_exporter_build_info{version="1",revision="r"}': 1,
        f'conduit_agent_info{{{AGENT},agent_name="Support"}}': 1,
        UP: 1,
        LAST_POLL: now,
        "conduit_exporter_ready": 1,
        'conduit_exporter_api_requests_total{endpoint="runs",code="200"}': 9,
        FAILED: 0,
        COMPLETED: 0,
        MONTH: 10,
        'conduit_budget_usd{workspace_id="w1",period="month"}': 100,
        OLDEST_PENDING: now,
        "conduit_exporter_traces_pending": 5,
        "conduit_exporter_traces_parked": 0,
        "conduit_exporter_outbox_bytes": 1,
        "conduit_exporter_outbox_limit_bytes": 100,
    }


# What changes, what mends it, who is told of what, and what is inhibited.
LONG_AGO = -10_000.0
STATES: Mapping[str, tuple[dict[str, float], dict[str, float], dict[str, set[str]], set[str]]] = {
    "outage of Conduit": (
        {UP: 0, LAST_POLL: LONG_AGO, "conduit_exporter_ready": 0},
        {},
        {"on-call": {"ConduitApiDown"}},
        {"ConduitRunsStale", "ConduitNotReady"},
    ),
    "token refused": (
        {
            UP: 0,
            LAST_POLL: LONG_AGO,
            'conduit_exporter_api_requests_total{endpoint="runs",code="401"}': 1,
        },
        {},
        {"on-call": {"ConduitTokenRefused"}},
        {"ConduitApiDown", "ConduitRunsStale"},
    ),
    "trace backend down": (
        {OLDEST_PENDING: LONG_AGO, "conduit_exporter_outbox_bytes": 97},
        {},
        {"on-call": {"ConduitOutboxFull"}, "office": {"ConduitTracesStuck"}},
        {"ConduitOutboxFilling"},
    ),
    "wrong header for the trace backend": (
        {OLDEST_PENDING: LONG_AGO, "conduit_exporter_traces_parked": 2},
        {},
        {"office": {"ConduitTracesParked"}},
        {"ConduitTracesStuck"},
    ),
    "agent that fails always": (
        {FAILED: 12},
        {FAILED: 12, COMPLETED: 900},
        {"on-call": {"ConduitAgentFailsAlways"}},
        {"ConduitFailureRatioHigh", "ConduitFailureRatioRaised"},
    ),
    "budget used up": (
        {MONTH: 101},
        {},
        {"payer": {"ConduitBudgetUsed"}, "on-call": {"ConduitBudgetUsed"}},
        {"ConduitBudgetNearlyUsed"},
    ),
    "exporter down": ({}, {}, {"on-call": {"ConduitExporterDown"}}, set()),
}


@pytest.fixture
def site() -> Iterator[Site]:
    served = Site()
    yield served
    served.stop()


@pytest.fixture
def alertmanager(tmp_path: Path, site: Site) -> Iterator[str]:
    """The address of an Alertmanager with the committed routes; it is always office hours."""
    config = load(ALERTMANAGER_FILE)
    config["route"] |= {"group_wait": "2s", "group_interval": "1s"}
    config["time_intervals"][0]["time_intervals"] = [
        {"times": [{"start_time": "00:00", "end_time": "24:00"}]}
    ]
    for receiver in config["receivers"]:
        for webhook in receiver.get("webhook_configs", ()):
            webhook["url"] = f"http://{site.address}/{receiver['name']}"
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    argv = [
        parts.require("prometheus-alertmanager", hint=DEBIAN),
        f"--config.file={file}",
        f"--storage.path={tmp_path / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with Process(argv, log=tmp_path / "alertmanager.log") as process:
        process.wait_http(f"http://{address}/-/ready")
        yield address


@pytest.mark.parametrize("state", STATES)
def test_a_state_tells_whom_it_should_and_recovers(
    state: str,
    tmp_path: Path,
    site: Site,
    alertmanager: str,
    start_prometheus: Callable[..., Prometheus],
) -> None:
    """The cause is told to the right people, its consequences to nobody, and its end as well."""
    changed, mended, told, inhibited = STATES[state]
    site.series = _healthy()
    prometheus = start_prometheus(
        targets=[site.address],
        rule_files=_scaled_rules(tmp_path),
        scrape_options={"job_name": "conduit-exporter"},
        alertmanagers=[alertmanager],
    )
    # Increases are seen only by who has scraped before them.
    prometheus.wait_for("count_over_time(conduit_runs_total[1m]) > 2")
    broken = {k: time.time() + v if v == LONG_AGO else v for k, v in changed.items()}
    site.series = _healthy() | broken if changed else {}

    def in_force() -> bool | None:
        silenced = {
            alert["labels"]["alertname"]
            for alert in _alerts(alertmanager)
            if alert["status"]["inhibitedBy"]
        }
        return (silenced, site.names("firing")) == (inhibited, told) or None

    eventually(in_force, what=f"{told} told, {inhibited} inhibited", timeout_s=40)
    site.series = _healthy() | mended

    def over() -> bool | None:
        return (site.names("resolved") == told and not _alerts(alertmanager)) or None

    try:
        eventually(over, what=f"{told} resolved", timeout_s=60)
    except AssertionError as error:
        error.add_note(f"told {site.told}, in force {_alerts(alertmanager)}")
        raise
    assert site.names("firing") == told


def _scaled_rules(folder: Path) -> list[Path]:
    """The rules that prometheus.yml loads, with waits divided by SCALE."""
    scaled = []
    for name in load(FOLDER / "prometheus.yml")["rule_files"]:
        document = load(FOLDER / name)
        for group in document["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                for wait in {"for", "keep_firing_for"} & set(rule):
                    rule[wait] = f"{WAITS_S[rule[wait]] * 1000 // SCALE}ms"
        scaled.append(folder / name)
        scaled[-1].write_text(yaml.safe_dump(document))
    return scaled


def _alerts(alertmanager: str) -> list[Mapping[str, Any]]:
    with loopback_client(f"http://{alertmanager}") as client:
        return list(client.get("/api/v2/alerts").json())


def _amtool(*args: str | Path) -> str:
    result = subprocess.run(
        [parts.require("amtool", hint=DEBIAN), *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
