"""The committed alerts in the real promtool, amtool, Prometheus and Alertmanager.

The exposition is the test's own, so that nothing here depends on how the exporter gets there.
"""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alert_rules import ALERTMANAGER_FILE, CASE_FILES, FOLDER, RULE_FILES, alerts, load
from tests.real import parts
from tests.real.processes import Process, eventually, free_port, loopback_client
from tests.real.prometheus import Prometheus

pytestmark = pytest.mark.real

LONG = {"month", "quiet", "weeks"}  # ten seconds of processor time each
SCALE = 600  # ten minutes of a rule's `for` are a second here
WAITS_S = {"0m": 0, "5m": 300, "10m": 600, "15m": 900, "30m": 1800, "1h": 3600, "6h": 21600}


def test_rule_files_are_valid() -> None:
    """Promtool finds no fault and no duplicate in them, nor in the file that names them."""
    parts.run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    parts.run("promtool", "check", "config", FOLDER / "prometheus.yml")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])
        for path in CASE_FILES
    ],
)
def test_alerts_fire_stay_silent_and_recover(path: Path) -> None:
    """Each case of the file holds, texts to the letter."""
    parts.run("promtool", "test", "rules", path, timeout_s=300.0)


def test_who_is_told_of_what() -> None:
    """Critical alerts wake, warnings wait for the day, money goes to who pays, info to nobody."""
    amtool = partial(parts.run, "amtool", hint=parts.DEBIAN)
    assert "SUCCESS" in amtool("check-config", ALERTMANAGER_FILE)
    told = {
        name: amtool(
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


class Site(ThreadingHTTPServer):
    """Serves an exposition at /metrics/<job> and takes Alertmanager's webhooks elsewhere."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, self))
        self.address = f"127.0.0.1:{self.server_port}"
        self.series: Mapping[str, Mapping[str, float]] = {}
        # Job -> (receiver, name of the alert), by status: firing, resolved.
        self.told: dict[str, dict[str, set[tuple[str, str]]]] = {
            status: defaultdict(set) for status in ("firing", "resolved")
        }


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, site: Site, *arguments: Any) -> None:
        self._site = site
        super().__init__(*arguments)

    def do_GET(self) -> None:
        series = self._site.series[self.path.rpartition("/")[2]]
        self.send_response(200 if series else 503)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write("".join(f"{k} {v}\n" for k, v in series.items()).encode())

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in message["alerts"]:
            told = self._site.told[alert["status"]][alert["labels"]["job"]]
            told.add((message["receiver"], alert["labels"]["alertname"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


AGENT = 'workspace_id="%s",agent_id="a1"'
FAILED = f'conduit_runs_total{{{AGENT},status="failed",disposition="none"}}'
COMPLETED = f'conduit_runs_total{{{AGENT},status="completed",disposition="resolved"}}'
LAST_POLL = f"conduit_exporter_last_poll_success_timestamp_seconds{{{AGENT}}}"
UP = 'conduit_up{workspace_id="%s"}'
SECOND_UP = 'conduit_up{workspace_id="%s-second"}'
MONTH = f'conduit_period_cost_usd{{{AGENT},period="month"}}'
OLDEST_PENDING = "conduit_exporter_oldest_pending_trace_timestamp_seconds"
REFUSED = 'conduit_exporter_api_requests_total{endpoint="runs",code="401"}'
LONG_AGO_S = 10_000.0


@dataclass(frozen=True)
class State:
    """A state of the world: what is other than healthy, and who must hear of what.

    `later` is what stays other than healthy when it is over; nothing `changed` is no answer.
    """

    changed: Mapping[str, float]
    told: Collection[tuple[str, str]]
    inhibited: Collection[str] = ()
    later: Mapping[str, float] = field(default_factory=dict)


STATES = {
    "conduit-down": State(
        {UP: 0, LAST_POLL: -LONG_AGO_S, "conduit_exporter_ready": 0},
        told={("on-call", "ConduitApiDown")},
        inhibited={"ConduitRunsStale", "ConduitNotReady"},
    ),
    "token-refused": State(
        {UP: 0, LAST_POLL: -LONG_AGO_S, REFUSED: 1},
        told={("on-call", "ConduitTokenRefused")},
        inhibited={"ConduitApiDown", "ConduitRunsStale"},
    ),
    # Nobody knows which workspace the token may not read: both are told of.
    "one-workspace-forbidden": State(
        {UP: 0, SECOND_UP: 0, REFUSED.replace("401", "403"): 1},
        told={("on-call", "ConduitTokenRefused"), ("on-call", "ConduitApiDown")},
    ),
    "trace-backend-down": State(
        {OLDEST_PENDING: -LONG_AGO_S, "conduit_exporter_outbox_bytes": 97},
        told={("on-call", "ConduitOutboxFull"), ("office", "ConduitTracesStuck")},
        inhibited={"ConduitOutboxFilling"},
    ),
    "wrong-header": State(
        {OLDEST_PENDING: -LONG_AGO_S, "conduit_exporter_traces_parked": 5},
        told={("office", "ConduitTracesParked")},
    ),
    "one-trace-parked-then-backend-down": State(
        {OLDEST_PENDING: -LONG_AGO_S, "conduit_exporter_traces_parked": 1},
        told={("office", "ConduitTracesParked"), ("office", "ConduitTracesStuck")},
    ),
    "agent-fails-always": State(
        {FAILED: 12},
        told={("on-call", "ConduitAgentFailsAlways")},
        inhibited={"ConduitFailureRatioHigh", "ConduitFailureRatioRaised"},
        later={FAILED: 12, COMPLETED: 900},
    ),
    "budget-used": State(
        {MONTH: 101},
        told={("payer", "ConduitBudgetUsed"), ("on-call", "ConduitBudgetUsed")},
        inhibited={"ConduitBudgetNearlyUsed"},
    ),
    "shard-0": State({}, told={("on-call", "ConduitExporterDown")}),
    "shard-1": State(
        {OLDEST_PENDING: -LONG_AGO_S, LAST_POLL: -LONG_AGO_S, MONTH: 81, COMPLETED: 90, FAILED: 12},
        told={
            ("office", "ConduitTracesStuck"),
            ("office", "ConduitRunsStale"),
            ("office", "ConduitFailureRatioRaised"),
            ("payer", "ConduitBudgetNearlyUsed"),
        },
        later={COMPLETED: 900, FAILED: 12},
    ),
    "healthy": State({UP: 1}, told=()),
}
JOBS = {
    name: f"conduit-exporter-{'shards' if name.startswith('shard-') else name}" for name in STATES
}


def _series(name: str, *others: Mapping[str, float]) -> dict[str, float]:
    """A healthy exposition, of a workspace named for the state, with other values on top."""
    now = time.time()
    healthy = {
        'conduit_exporter_build_info{version="1",revision="r"}': 1,
        f'conduit_agent_info{{{AGENT},agent_name="Support"}}': 1,
        UP: 1,
        LAST_POLL: now,
        "conduit_exporter_ready": 1,
        'conduit_exporter_api_requests_total{endpoint="runs",code="200"}': 9,
        FAILED: 0,
        COMPLETED: 0,
        MONTH: 10,
        'conduit_budget_usd{workspace_id="%s",period="month"}': 100,
        OLDEST_PENDING: now,
        "conduit_exporter_traces_pending": 5,
        "conduit_exporter_traces_parked": 0,
        "conduit_exporter_outbox_bytes": 1,
        "conduit_exporter_outbox_limit_bytes": 100,
    }
    for other in others:
        healthy |= {k: now + v if v == -LONG_AGO_S else v for k, v in other.items()}
    return {key.replace("%s", name): value for key, value in healthy.items()}


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


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
        str(parts.require("prometheus-alertmanager", hint=parts.DEBIAN)),
        f"--config.file={file}",
        f"--storage.path={tmp_path / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with Process(argv, log=tmp_path / "alertmanager.log") as process:
        process.wait_http(f"http://{address}/-/ready")
        yield address


def test_each_state_tells_whom_it_should_and_recovers(
    tmp_path: Path, site: Site, alertmanager: str, at_end: ExitStack
) -> None:
    """A cause is told to the right people, its consequences to nobody, and its end as well."""
    told: dict[str, set[tuple[str, str]]] = defaultdict(set)
    inhibited: dict[str, set[str]] = defaultdict(set)
    for name, state in STATES.items():
        if state.told:
            told[JOBS[name]] |= set(state.told)
        if state.inhibited:
            inhibited[JOBS[name]] |= set(state.inhibited)
    site.series = {name: _series(name) for name in STATES}
    prometheus = Prometheus(
        tmp_path / "prometheus",
        targets=[],
        rule_files=_scaled_rules(tmp_path),
        scrape_options={
            "static_configs": [
                {
                    "targets": [site.address],
                    "labels": {
                        "job": JOBS[name],
                        "instance": name,
                        "__metrics_path__": f"/metrics/{name}",
                    },
                }
                for name in STATES
            ]
        },
        alertmanagers=[alertmanager],
    )
    at_end.enter_context(prometheus)
    # Increases are seen only by who has scraped before them.
    prometheus.wait_for(
        "count_over_time(conduit_exporter_ready[1m]) > 2",
        until=lambda samples: len(samples) == len(STATES),
    )
    site.series = {
        name: _series(name, state.changed) if state.changed else {}
        for name, state in STATES.items()
    }

    def in_force() -> bool | None:
        return (_inhibited(alertmanager), site.told["firing"]) == (inhibited, told) or None

    def over() -> bool | None:
        heard = all(told[job] <= site.told["resolved"][job] for job in told)
        return (heard and not _alerts(alertmanager)) or None

    try:
        eventually(in_force, what="everybody is told", timeout_s=60)
        site.series = {name: _series(name, state.later) for name, state in STATES.items()}
        eventually(over, what="everything is over", timeout_s=60)
    except AssertionError as error:
        error.add_note(f"told {site.told}\ninhibited {_inhibited(alertmanager)}")
        raise
    # A warning whose longer window still holds may follow; nobody is woken again.
    assert _woken(site.told["firing"]) == _woken(told)


def _woken(told: Mapping[str, Collection[tuple[str, str]]]) -> set[tuple[str, str]]:
    return {(job, name) for job, heard in told.items() for who, name in heard if who == "on-call"}


def _inhibited(alertmanager: str) -> dict[str, set[str]]:
    """The names of inhibited alerts by job."""
    found: dict[str, set[str]] = defaultdict(set)
    for alert in _alerts(alertmanager):
        if alert["status"]["inhibitedBy"]:
            found[alert["labels"]["job"]].add(alert["labels"]["alertname"])
    return found


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
