"""Compose's demo without an engine: its commands and settings, between the real programs."""

import sys
from pathlib import Path

import pytest

from tests.alert_rules import load
from tests.real.jaeger import Jaeger
from tests.real.processes import Process, free_port
from tests.real.prometheus import Prometheus

pytestmark = pytest.mark.real

ROOT = Path(__file__).parent.parent.parent
PROMETHEUS = ROOT / "deploy/prometheus"


def test_demo_shows_something_everywhere(jaeger: Jaeger, tmp_path: Path) -> None:
    """Without a token: the target is up, rules load, an alert begins, an exemplar is in Jaeger."""
    services = load(ROOT / "deploy/compose.yaml")["services"]
    scrape = load(PROMETHEUS / "prometheus.yml")
    [job] = [one for one in scrape["scrape_configs"] if one["job_name"] == "conduit-exporter"]
    conduit, exporter = (f"127.0.0.1:{free_port()}" for _ in range(2))
    environment = services["demo"]["environment"] | {
        "CONDUIT_BASE_URL": f"http://{conduit}",
        "EXPORTER_LEDGER": f"sqlite:///{tmp_path / 'ledger.db'}",
        "EXPORTER_LISTEN": exporter,
        "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp_http,
    }
    _, *module = services["demo-conduit"]["entrypoint"]
    [static] = job["static_configs"]
    static |= {"targets": [exporter], "labels": static["labels"] | {"pod": "p", "container": "c"}}
    prometheus = Prometheus(
        tmp_path / "prometheus",
        targets=[],
        rule_files=[PROMETHEUS / name for name in scrape["rule_files"]],
        scrape_options=job,
    )
    with (
        prometheus,
        Process(
            [sys.executable, *module, "--listen", conduit], log=tmp_path / "conduit.log", cwd=ROOT
        ) as simulated,
        Process(
            [sys.executable, "-m", "exporter", "run"],
            log=tmp_path / "exporter.log",
            env=environment,
            cwd=ROOT,
        ) as daemon,
    ):
        simulated.wait_http(f"http://{conduit}/v1/workspaces")
        daemon.wait_http(f"http://{exporter}/-/ready", ready=lambda got: got.is_success)
        prometheus.wait_for('up{job="conduit-exporter"} == 1')
        # Counters of a ledger are one series wherever its process runs: its place is no label.
        [ready] = prometheus.query("conduit_exporter_ready")
        place = {"job": "conduit-exporter", "instance": "conduit-exporter"}
        assert ready.labels == {"__name__": "conduit_exporter_ready"} | place
        prometheus.wait_for("sum(conduit_runs_total) > 100")
        rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
        assert rules
        assert [rule for rule in rules if rule.get("lastError")] == []
        # It fires when it has been pending for its time.
        prometheus.wait_for('ALERTS{alertname="ConduitBudgetUsed"}', timeout_s=60.0)
        prometheus.wait_for("conduit_exporter_traces_delivered_total > 0")
        [exemplar, *_] = prometheus.exemplars("conduit_run_duration_seconds_bucket", at_least=1)
        assert jaeger.trace(exemplar["labels"]["trace_id"])
