"""The image's recipe and the Compose file: confined, loopback only, in step with what is tested."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.settings.loading import load
from exporter.simulator.__main__ import main as demo_conduit
from exporter.simulator.scenario import DEMO_TOKEN

ROOT = Path(__file__).parent.parent


def dockerfile_instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of each line of the Dockerfile, continuations joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "deploy/Dockerfile").read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return [(line.split()[0], line.partition(" ")[2]) for line in joined.splitlines() if line]


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


def test_image_settings_do_not_look_like_the_exporters() -> None:
    """The image sets no CONDUIT_ or EXPORTER_ name: an unknown one would be an error."""
    instructions = dockerfile_instructions()
    variables = [rest for name, rest in instructions if name == "ENV"]

    assert variables
    assert not re.search(r"\b(CONDUIT|EXPORTER)_", " ".join(variables))


@cache
def compose() -> dict[str, Any]:
    """The Compose file, its anchors resolved."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    return loaded


SERVICES = compose()["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_compose_service_is_confined(name: str) -> None:
    """Each container has a read-only root, no capability and no way to gain one."""
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "user"} & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_compose_ports_are_bound_to_loopback(name: str) -> None:
    """No port is open to the network, and each tells one number inside and out."""
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)


def test_compose_names_resolve() -> None:
    """Services depend on services that start with them, volumes are declared, files are there."""
    for name, service in SERVICES.items():
        for needed in service.get("depends_on", []):
            assert set(SERVICES[needed].get("profiles", [])) <= set(service.get("profiles", []))
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (ROOT / "deploy" / source).is_file(), (name, source)
            else:
                assert source in compose()["volumes"]
        if build := service.get("build"):
            assert (ROOT / "deploy" / build["context"] / build["dockerfile"]).is_file()


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
    scrape = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
    targets = [
        target for job in scrape for group in job["static_configs"] for target in group["targets"]
    ]
    assert targets == ["exporter:10464"]
    assert ("EXPOSE", "10464") in dockerfile_instructions()

    for name in ("exporter", "demo"):
        service = SERVICES[name]
        aliases = service.get("networks", {}).get("default", {}).get("aliases", [])
        assert "exporter" in {name, *aliases}
        assert service["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://jaeger:4318"
        assert service["ports"] == ["127.0.0.1:10464:10464"]


def test_compose_demo_settings_are_valid() -> None:
    """The demo's environment is what the exporter takes, with the token that opens the demo."""
    settings = load(SERVICES["demo"]["environment"], None)

    assert settings.secrets() == (DEMO_TOKEN,)


def test_compose_demo_reads_the_simulated_conduit() -> None:
    """The simulated Conduit listens where the demo's exporter and the health check look for it."""
    service = SERVICES["demo-conduit"]
    listen = demo_conduit.make_context("exporter.simulator", list(service["command"])).params[
        "listen"
    ]
    port = listen.rpartition(":")[2]

    assert service["entrypoint"] == ["python", "-m", "exporter.simulator"]
    assert listen == f"0.0.0.0:{port}"
    assert SERVICES["demo"]["environment"]["CONDUIT_BASE_URL"] == f"http://demo-conduit:{port}"
    assert f'("127.0.0.1", {port})' in service["healthcheck"]["test"][-1]
