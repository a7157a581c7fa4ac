"""The files of deploy/: confined, one writer a ledger, one name a port, in step with the code."""

import re
import runpy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import exporter
from exporter.settings.loading import load
from exporter.simulator.__main__ import main as simulated_conduit

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
PORT = 10464


def dockerfile_instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of each line of the Dockerfile, continuations joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return [(line.split()[0], line.partition(" ")[2]) for line in joined.splitlines() if line]


@cache
def document(name: str) -> Any:
    """A YAML file of deploy/, its anchors resolved."""
    return yaml.safe_load((DEPLOY / name).read_text())


def test_build_context_is_what_the_image_copies() -> None:
    """.dockerignore lets through exactly what the Dockerfile copies, so no secret is sent along."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        source
        for instruction, rest in dockerfile_instructions()
        if instruction == "COPY" and "--from=" not in rest
        for source in rest.split()[:-1]
    }

    assert "*" in lines
    assert copied == allowed


SERVICES = document("compose.yaml")["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_compose_service_is_confined(name: str) -> None:
    """Each has a read-only root, no capability, no way to gain one, and ports of this machine."""
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "user"} & set(service)
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


def test_compose_names_resolve() -> None:
    """Services depend on services that start with them, volumes are declared, files are there."""
    for name, service in SERVICES.items():
        for needed in service.get("depends_on", []):
            assert set(SERVICES[needed].get("profiles", [])) <= set(service.get("profiles", []))
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), (name, source)
            else:
                assert source in document("compose.yaml")["volumes"]
        if build := service.get("build"):
            assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_compose_runs_the_tested_versions() -> None:
    """Jaeger and Prometheus are the releases that tests/real runs against."""
    built = (ROOT / ".ci/real-parts").read_text()
    jaeger = re.search(r"JAEGER_VERSION=v1\.(\d+)\.(\d+)", built)
    prometheus = re.search(r"PROMETHEUS_VERSION=v0\.(\d)(\d\d)\.(\d+)", built)
    assert jaeger is not None
    assert prometheus is not None
    major, minor, patch = (int(part) for part in prometheus.groups())

    # Jaeger 1.63 and 2.0 were one release, and each later one carries both numbers.
    jaeger_2 = f"2.{int(jaeger[1]) - 63}.{jaeger[2]}"
    assert SERVICES["jaeger"]["image"] == f"jaegertracing/jaeger:{jaeger_2}"
    assert SERVICES["prometheus"]["image"] == f"prom/prometheus:v{major}.{minor}.{patch}"


def test_compose_exporters_are_found_by_prometheus_and_jaeger() -> None:
    """The scrape target is an exporter's name and port; traces go to Jaeger's service."""
    jobs = document("prometheus/prometheus.yml")["scrape_configs"]
    targets = [
        target
        for job in jobs
        for group in job.get("static_configs", [])
        for target in group["targets"]
    ]
    assert f"exporter:{PORT}" in targets
    assert ("EXPOSE", str(PORT)) in dockerfile_instructions()

    for name in ("exporter", "demo"):
        service = SERVICES[name]
        aliases = service.get("networks", {}).get("default", {}).get("aliases", [])
        assert "exporter" in {name, *aliases}
        assert service["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://jaeger:4318"
        assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]


def test_compose_grafana_finds_its_dashboards() -> None:
    """The folder that Compose mounts is where the provisioned provider looks."""
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    providers = [
        provider["options"]["path"]
        for path in (DEPLOY / "grafana/provisioning/dashboards").glob("*.y*ml")
        for provider in yaml.safe_load(path.read_text())["providers"]
    ]

    assert providers == [mounts["./grafana"]]


def test_compose_demo_reads_the_simulated_conduit() -> None:
    """The simulated Conduit listens where the demo's exporter and the health check look for it."""
    service = SERVICES["demo-conduit"]
    listen = simulated_conduit.make_context("simulator", list(service["command"])).params["listen"]
    port = listen.rpartition(":")[2]

    assert service["entrypoint"] == ["python", "-m", "exporter.simulator"]
    assert listen == f"0.0.0.0:{port}"
    assert SERVICES["demo"]["environment"]["CONDUIT_BASE_URL"] == f"http://demo-conduit:{port}"
    assert f'("127.0.0.1", {port})' in service["healthcheck"]["test"][-1]


WORKLOADS = {
    "standalone": "kubernetes/base/statefulset.yaml",
    "sidecar": "kubernetes/sidecar/deployment.yaml",
}
EACH_WORKLOAD = pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS.keys())


def pod_of(workload: str) -> Any:
    return document(workload)["spec"]["template"]["spec"]


def container_of(workload: str) -> Any:
    """The exporter's container, the only one of its name."""
    pod = pod_of(workload)
    [found] = [
        container
        for container in pod["containers"] + pod.get("initContainers", [])
        if container["name"] == "conduit-exporter"
    ]
    return found


@EACH_WORKLOAD
def test_kubernetes_container_is_confined(workload: str) -> None:
    """No root, read-only, no capability, seccomp, no access to the API, memory bounded, CPU not."""
    pod = pod_of(workload)
    context = pod["securityContext"] | container_of(workload)["securityContext"]

    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == 10001
    assert context["fsGroup"] == 10001
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert all("hostPath" not in volume for volume in pod["volumes"])
    assert container_of(workload)["resources"].keys() == {"requests", "limits"}
    assert container_of(workload)["resources"]["limits"].keys() == {"memory"}


@EACH_WORKLOAD
def test_kubernetes_has_one_writer_a_ledger(workload: str) -> None:
    """One replica, ended before the next one starts, on a volume that outlives the pod."""
    spec = document(workload)["spec"]
    claims = [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])] + [
        volume["name"]
        for volume in spec["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    ]

    assert spec["replicas"] == 1
    # A StatefulSet never runs two pods of one ordinal.
    assert spec.get("strategy") == (
        {"type": "Recreate"} if document(workload)["kind"] == "Deployment" else None
    )
    mounts = {mount["name"]: mount["mountPath"] for mount in container_of(workload)["volumeMounts"]}
    assert claims == ["ledger"]
    assert mounts["ledger"] == "/var/lib/conduit-exporter"
    # A drain takes 10 seconds at most.
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 25


@pytest.mark.parametrize("folder", ["base", "sidecar"])
def test_kubernetes_settings_are_valid(folder: str, tmp_path: Path) -> None:
    """The ConfigMap holds what the exporter takes; the token is a file of the mounted Secret."""
    kustomization = document(f"kubernetes/{folder}/kustomization.yaml")
    [generated] = kustomization["configMapGenerator"]
    settings = dict(literal.split("=", 1) for literal in generated["literals"])
    workload = WORKLOADS["standalone" if folder == "base" else "sidecar"]
    mounts = {mount["name"]: mount for mount in container_of(workload)["volumeMounts"]}

    assert settings["CONDUIT_API_TOKEN_FILE"] == f"{mounts['token']['mountPath']}/token"
    assert "subPath" not in mounts["token"]  # such a mount never sees a new token
    (tmp_path / "token").write_text("secret")
    load(settings | {"CONDUIT_API_TOKEN_FILE": str(tmp_path / "token")}, None)


@pytest.mark.parametrize("folder", ["base", "sidecar"])
def test_kubernetes_and_compose_run_this_version(folder: str) -> None:
    """The image's tag is the package's version, in the manifests, in Compose and in its label."""
    images = document(f"kubernetes/{folder}/kustomization.yaml")["images"]
    tags = {image["name"]: image["newTag"] for image in images}

    assert tags["conduit-exporter"] == exporter.__version__
    assert SERVICES["exporter"]["image"] == f"conduit-exporter:{exporter.__version__}"
    assert ("ARG", f"VERSION={exporter.__version__}") in dockerfile_instructions()


def test_kubernetes_rules_are_those_of_prometheus() -> None:
    """Each PrometheusRule is what its make.py makes of deploy/prometheus."""
    made = runpy.run_path(str(KUBERNETES / "components/rules/make.py"))

    for name in made["NAMES"]:
        text = made["prometheus_rule"](name)
        assert (KUBERNETES / "components/rules" / name).read_text() == text, "run make.py"
        assert yaml.safe_load(text)["spec"] == document(f"prometheus/{name}")
