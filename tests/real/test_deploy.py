"""The files of deploy/, each under the tool that reads it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.settings.loading import load
from tests.real import parts
from tests.real.collector import Collector
from tests.real.processes import (
    Process,
    eventually,
    free_port,
    inherited_environment,
    loopback_client,
)
from tests.real.prometheus import promtool

pytestmark = pytest.mark.real

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
EXAMPLE = ROOT / "tests/fixtures/run_example.json"
RENDERED = ("base", "sidecar", "sharded", "overlays/openshift", "overlays/operator")
VERSIONS = ("1.29.0", "1.37.0")


def rendered(folder: str | Path) -> str:
    """What `kubectl apply -k` would send."""
    return parts.run("kustomize", "build", KUBERNETES / folder)


def documented(language: str) -> list[str]:
    """The blocks of OPERATING.md in a language."""
    text = (ROOT / "docs/OPERATING.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def resources(folder: str | Path) -> dict[tuple[str, str], Any]:
    """The rendered resources by kind and name."""
    found = yaml.safe_load_all(rendered(folder))
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def pod_of(folder: str) -> Any:
    return resources(folder)["StatefulSet", "conduit-exporter"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("folder", RENDERED)
def test_manifests_are_valid(folder: str) -> None:
    """What kustomize renders is valid to the letter in the oldest and in the newest Kubernetes."""
    manifests = rendered(folder)
    schemas = parts.FOLDER / "bin" / "kubernetes-schemas"
    name = "{{.ResourceKind}}{{.KindSuffix}}.json"
    for version in VERSIONS:
        parts.run(
            "kubeconform",
            *("-strict", "-summary", "-kubernetes-version", version),
            *("-schema-location", f"{schemas}/v{version}/{name}"),
            *("-schema-location", f"{schemas}/{name}"),
            stdin=manifests,
        )


def test_shards_are_numbered_by_their_pods_and_counted_by_the_replicas() -> None:
    """Each pod is told its own number, and all are told how many there are."""
    spec = resources("sharded")["StatefulSet", "conduit-exporter"]["spec"]
    [container] = spec["template"]["spec"]["containers"]
    env = {variable["name"]: variable for variable in container["env"]}

    label = "metadata.labels['apps.kubernetes.io/pod-index']"
    assert env["EXPORTER_SHARD"]["valueFrom"]["fieldRef"]["fieldPath"] == label
    assert env["EXPORTER_TOTAL_SHARDS"]["value"] == str(spec["replicas"])
    # What the last pod is told, the exporter takes.
    told = {"EXPORTER_TOTAL_SHARDS": str(spec["replicas"]), "CONDUIT_API_TOKEN": "token"}
    load(told | {"EXPORTER_SHARD": str(spec["replicas"] - 1)}, None)


def test_openshift_chooses_the_user() -> None:
    """The OpenShift overlay names no user and no group, and stays confined otherwise."""
    context = pod_of("overlays/openshift")["securityContext"]

    assert not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys()
    assert context["runAsNonRoot"] is True


def test_documented_overlay_renders(tmp_path: Path) -> None:
    """The overlay of OPERATING.md sets image, namespace, settings and label, and keeps the rest."""
    [overlay] = [block for block in documented("yaml") if "configMapGenerator" in block]
    shutil.copytree(KUBERNETES, tmp_path / "conduit-exporter/deploy/kubernetes")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/kustomization.yaml").write_text(overlay)
    found = {one["kind"]: one for one in yaml.safe_load_all(rendered(tmp_path / "mine"))}

    assert {one["metadata"]["namespace"] for one in found.values()} == {"conduit"}
    assert found["PodMonitor"]["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert found["ConfigMap"]["data"] == {
        "CONDUIT_API_TOKEN_FILE": "/etc/conduit-exporter/token",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://tempo.observability:4318",
    }
    [container] = found["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("registry.example.com/conduit-exporter:")
    assert container["envFrom"][0]["configMapRef"]["name"] == found["ConfigMap"]["metadata"]["name"]


def test_operators_find_what_is_theirs() -> None:
    """An overlay's `release` label reaches the PodMonitor and the rules; dashboards have Grafana's.

    Each dashboard is a ConfigMap of its own.
    """
    found = resources("overlays/operator")
    labels = {key: one["metadata"]["labels"] for key, one in found.items()}
    selected = [key for key in found if key[0] in ("PodMonitor", "PrometheusRule")]
    boards = [key for key in found if key[1].startswith("conduit-dashboard-")]

    assert (len(selected), len(boards)) == (3, 3)
    assert {labels[key]["release"] for key in selected} == {"kube-prometheus-stack"}
    for key in boards:
        assert labels[key]["grafana_dashboard"] == "1"
        [text] = found[key]["data"].values()
        assert json.loads(text)["uid"].startswith("conduit-")


def monitor_relabelings() -> list[dict[str, Any]]:
    """The PodMonitor's relabelings under the names of a Prometheus configuration."""
    monitor = yaml.safe_load((KUBERNETES / "components/podmonitor/podmonitor.yaml").read_text())
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    return [
        {re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", key): value for key, value in rule.items()}
        for rule in endpoint["relabelings"]
    ]


def test_series_stay_the_same_when_a_pod_is_replaced(tmp_path: Path) -> None:
    """Another pod, node and address give the same labels, so no counter starts a new series."""
    pods = [
        ("conduit-exporter-0", "StatefulSet", "conduit-exporter", "conduit-exporter-0"),
        ("conduit-exporter-1", "StatefulSet", "conduit-exporter", "conduit-exporter-1"),
        ("web-shop-5d9c7f-x2x4z", "ReplicaSet", "web-shop-5d9c7f", "web-shop"),
        ("web-shop-7b6d8c-q9w8e", "ReplicaSet", "web-shop-7b6d8c", "web-shop"),
    ]
    groups = [
        {
            "targets": [f"10.0.0.{number}:10464"],
            "labels": {
                "__meta_kubernetes_namespace": "ai",
                "__meta_kubernetes_pod_name": pod,
                "__meta_kubernetes_pod_controller_kind": kind,
                "__meta_kubernetes_pod_controller_name": controller,
                # The operator's own.
                "namespace": "ai",
                "pod": pod,
                "container": "any",
                "endpoint": "metrics",
            },
        }
        for number, (pod, kind, controller, _) in enumerate(pods)
    ]
    job = {"job_name": "j", "static_configs": groups, "relabel_configs": monitor_relabelings()}
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump({"scrape_configs": [job]}))
    found = promtool("check", "service-discovery", "--timeout=1s", config, "j")
    targets = [target["labels"] for target in json.loads(found.stdout)]
    targets.sort(key=lambda labels: labels["__address__"])

    assert [
        {label: text for label, text in labels.items() if not label.startswith("__")}
        for labels in targets
    ] == [{"job": "j", "namespace": "ai", "instance": f"ai/{name}"} for *_, name in pods]


def test_documented_scrape_configuration_relabels_as_the_podmonitor() -> None:
    """Prometheus without the operator, as OPERATING.md sets it up, keeps the same identity."""
    [block] = [block for block in documented("yaml") if "kubernetes_sd_configs" in block]
    [job] = yaml.safe_load(block)["scrape_configs"]
    relabelings = [rule for rule in monitor_relabelings() if rule.get("action") != "labeldrop"]

    assert all(rule in job["relabel_configs"] for rule in relabelings)
    assert job["job_name"] == "conduit-exporter"


def compose(*files: str) -> Any:
    """The Compose model of these files, validated and merged by Compose's own library."""
    # A stack without settings yet has no config.env.
    arguments = [DEPLOY / name for name in files]
    return json.loads(parts.run("compose-spec", "-format", "json", *arguments))["services"]


def test_compose_with_tempo_replaces_jaeger() -> None:
    """With Tempo nothing waits for Jaeger, and traces and their links go to Tempo."""
    assert {"exporter", "demo", "grafana", "jaeger"} <= compose("compose.yaml").keys()
    services = compose("compose.yaml", "compose.tempo.yaml")
    environment = dict(entry.split("=", 1) for entry in services["demo"]["environment"])
    ours = {name: environment[name] for name in environment if name.startswith("EXPORTER_")}

    assert "jaeger" not in services
    assert all("jaeger" not in service.get("depends_on", {}) for service in services.values())
    assert services["tempo"]["read_only"] is True
    assert services["tempo"]["cap_drop"] == ["ALL"]
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://tempo:4318"
    assert load(ours | {"CONDUIT_API_TOKEN": "token"}, None).trace_link is not None


def test_alerts_are_shown_by_the_sink(tmp_path: Path) -> None:
    """What Alertmanager would tell a receiver is a line in the sink's log."""
    service = compose("compose.yaml")["alert-sink"]
    port = free_port()
    [program] = service["command"]
    command = [sys.executable, "-u", *service["entrypoint"][1:], program.replace("8080", str(port))]
    told = {"alerts": [{"status": "firing", "annotations": {"summary": "Budget used"}}]}
    with Process(command, log=tmp_path / "sink.log") as process:
        process.wait_http(f"http://127.0.0.1:{port}/", ready=lambda _: True)
        with loopback_client(f"http://127.0.0.1:{port}") as client:
            assert client.post("/payer", json=told).status_code == 200
        process.wait_log("/payer firing Budget used")


def test_unit_is_valid_and_confined(tmp_path: Path) -> None:
    """The service manager knows every line of the unit and rates its exposure as low."""
    unit = (DEPLOY / "systemd/conduit-exporter.service").read_text()
    copy = tmp_path / "conduit-exporter.service"
    copy.write_text(unit.replace("/opt/conduit-exporter/bin/conduit-exporter", sys.executable))
    verified = subprocess.run(
        [parts.require("systemd-analyze", hint=parts.DEBIAN), "verify", "--man=no", copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert {"DynamicUser=yes", "ProtectSystem=strict", "StateDirectory=conduit-exporter"} <= set(
        unit.splitlines()
    )
    # Also told of units of this machine; those are not ours.
    assert [line for line in verified.stderr.splitlines() if copy.name in line] == []
    parts.run("systemd-analyze", "security", "--offline=true", "--threshold=20", copy)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The gateway of deploy/collector on free ports, its backends at addresses of the test."""
    ports = {name: free_port() for name in ("grpc", "http", "jaeger", "tempo")}
    text = (DEPLOY / "collector/gateway.yaml").read_text()
    config = tmp_path / "gateway.yaml"
    config.write_text(
        text.replace("0.0.0.0:4317", f"127.0.0.1:{ports['grpc']}").replace(
            "0.0.0.0:4318", f"127.0.0.1:{ports['http']}"
        )
    )
    addresses = {
        "OTLP": f"http://127.0.0.1:{ports['http']}",
        "JAEGER_ENDPOINT": f"127.0.0.1:{ports['jaeger']}",
        "TEMPO_ENDPOINT": f"http://127.0.0.1:{ports['tempo']}",
        # Nobody listens there, for the whole test.
        "VENDOR_ENDPOINT": f"http://127.0.0.1:{free_port()}",
    }
    command: list[str | Path] = [parts.require("otelcol"), "--config", f"file:{config}"]
    with Process(command, log=tmp_path / "gateway.log", env=addresses) as process:
        process.wait_log("Everything is ready")
        yield addresses


def test_gateway_answers_when_its_backends_have(
    gateway: dict[str, str], tmp_path: Path, at_end: ExitStack
) -> None:
    """Refused while a backend is down, accepted once both have it; a dead vendor is no matter.

    The committed file is valid with nothing set around it.
    """
    parts.run("otelcol", "validate", "--config", DEPLOY / "collector/gateway.yaml")
    jaeger, tempo = Collector(tmp_path / "jaeger"), Collector(tmp_path / "tempo")
    at_end.callback(jaeger.stop)
    at_end.callback(tempo.stop)
    jaeger.otlp_grpc = gateway["JAEGER_ENDPOINT"]
    tempo.otlp_http = gateway["TEMPO_ENDPOINT"]
    trace = subprocess.run(
        [sys.executable, "-m", "exporter", "convert", "--format", "otlp-json", EXAMPLE],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=inherited_environment(),
    ).stdout
    with loopback_client(gateway["OTLP"]) as client:

        def send() -> int:
            headers = {"content-type": "application/json"}
            return client.post("/v1/traces", content=trace, headers=headers).status_code

        assert send() == 503
        jaeger.start()
        assert send() == 503
        tempo.start()
        eventually(lambda: send() == 200 or None, what="accepted", timeout_s=30.0)
        assert jaeger.printed_span_ids()
        assert tempo.printed_span_ids()


@pytest.mark.parametrize("folder", ["base", "sidecar", "sharded"])
def test_exec_probes_ask_no_kubelet_for_a_password(folder: str, tmp_path: Path) -> None:
    """With the component every probe is the health check of the image, and none asks for ready."""
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    component = "components: [../kubernetes/components/exec-probes]"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/kustomization.yaml").write_text(
        f"resources: [../kubernetes/{folder}]\n{component}\n"
    )
    found = {one["kind"]: one for one in yaml.safe_load_all(rendered(tmp_path / "mine"))}
    pod = found["Deployment" if folder == "sidecar" else "StatefulSet"]["spec"]["template"]["spec"]
    [container] = pod["initContainers" if folder == "sidecar" else "containers"]

    probes = {name: probe for name, probe in container.items() if name.endswith("Probe")}
    assert probes.keys() == {"startupProbe", "livenessProbe"}
    for probe in probes.values():
        assert probe["exec"] == {"command": ["conduit-exporter", "healthcheck"]}
        assert "httpGet" not in probe
