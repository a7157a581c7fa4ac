"""The container image: built from deploy/Dockerfile, small, unprivileged, and it runs."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import exporter as package
from tests.real.conduit import Conduit, hotel
from tests.real.container import Builder, Image
from tests.real.expectation import assert_traces, expected_series, expected_traces
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger

pytestmark = [pytest.mark.real, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
REVISION = "0123456789abcdef0123456789abcdef01234567"
HOME = "/var/lib/conduit-exporter"

# Prints, as the image's user, what the files of the image say.
FACTS = """
import importlib.metadata, importlib.util, json, os, pathlib, exporter

installed = pathlib.Path("/opt/conduit-exporter")
print(json.dumps({
    "command": (installed / "bin/conduit-exporter").read_text().splitlines()[0],
    "revision": pathlib.Path(exporter.__file__).with_name("REVISION").read_text().strip(),
    "packages": {
        one.name.lower().replace("_", "-"): one.version
        for one in importlib.metadata.distributions()
        if installed in pathlib.Path(one.locate_file("")).parents
    },
    "uncompiled": [
        str(source)
        for source in installed.rglob("*.py")
        if not pathlib.Path(importlib.util.cache_from_source(source)).exists()
    ],
    "writable": [
        path
        for place in ("/opt", "/etc", "/usr", "/var")
        for folder, _, files in os.walk(place)
        for path in [folder, *(os.path.join(folder, name) for name in files)]
        if os.access(path, os.W_OK) and not os.path.islink(path)
        and os.stat(path).st_mode & 0o1000 == 0 and os.path.dirname(path) != HOME
    ],
}))
""".replace("HOME", repr(HOME))


@pytest.fixture(scope="module")
def builder() -> Builder:
    return Builder()


@pytest.fixture(scope="module")
def image(builder: Builder) -> Iterator[Image]:
    """The image of this checkout, upon the rig's Debian base."""
    arguments = {"BASE": builder.base(), "REVISION": REVISION}
    with builder.built(ROOT / "deploy/Dockerfile", ROOT, **arguments) as built:
        yield built


@pytest.fixture(scope="module")
def facts(image: Image) -> Any:
    """What FACTS prints in the image."""
    result = image.run("python", "-c", FACTS)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_image_is_configured_for_a_sidecar(image: Image) -> None:
    """Unprivileged numeric user, the ledger's folder as volume, port, health check, no shell."""
    config = image.config

    assert config["User"] == "10001:10001"
    assert config["WorkingDir"] == HOME
    assert list(config["Volumes"]) == [HOME]
    assert list(config["ExposedPorts"]) == ["10464/tcp"]
    assert config["Entrypoint"] == ["conduit-exporter"]
    assert config["Cmd"] == ["run"]
    assert config["Healthcheck"]["Test"] == ["CMD", "conduit-exporter", "healthcheck"]


def test_image_is_labelled(builder: Builder, image: Image) -> None:
    """Labels tell version, revision, licence and base."""
    labels = image.config["Labels"]
    told = {name.removeprefix("org.opencontainers.image."): text for name, text in labels.items()}

    assert told["version"] == package.__version__
    assert told["revision"] == REVISION
    assert told["licenses"] == "Apache-2.0"
    assert told["base.name"] == builder.base()


def test_image_may_be_read_only(facts: Any) -> None:
    """Its user can change the ledger's folder and nothing else, and every module is compiled."""
    assert facts["writable"] == [HOME]
    assert facts["uncompiled"] == []


def test_image_holds_what_it_needs_and_no_more(builder: Builder, image: Image, facts: Any) -> None:
    """Its revision, a command without a shell, the pins, no installer, less than 120 MB in all."""
    assert facts["revision"] == REVISION
    assert facts["command"] == "#!/opt/conduit-exporter/bin/python"
    assert {"httpx", "prometheus-client"} <= facts["packages"].keys()
    assert not {"pip", "setuptools", "wheel"} & facts["packages"].keys()
    assert builder.size(image.tag) - builder.size(builder.base()) < 120e6


def test_bill_of_materials_names_what_the_image_holds(facts: Any, tmp_path: Path) -> None:
    """`make sbom` lists the packages of the image at their versions, and no other."""
    made = tmp_path / "sbom.cdx.json"
    subprocess.run(
        ["make", "sbom", f"SBOM={made}"], cwd=ROOT, check=True, capture_output=True, timeout=300
    )
    bill = json.loads(made.read_text())
    listed = {component["name"]: component["version"] for component in bill["components"]}

    assert bill["metadata"]["component"]["name"] == "conduit-exporter"
    assert facts["packages"].items() <= listed.items()
    # What else is listed is for another system or Python, as requirements.txt says of it.
    requirements = (ROOT / "requirements.txt").read_text()
    for name in listed.keys() - facts["packages"].keys():
        assert re.search(rf"^{re.escape(name)}==\S+ ;", requirements, re.MULTILINE), name


def test_image_runs_the_demo(image: Image) -> None:
    """The demo runs as the image's user to its end."""
    result = image.run("conduit-exporter", "demo", "--duration", "5s")

    assert result.returncode == 0, result.stdout + result.stderr


def test_image_runs_the_daemon(image: Image, jaeger: Jaeger, tmp_path: Path) -> None:
    """As user 1234567 with group 0, on a read-only root: healthy, all delivered, ends on SIGTERM.

    The image's health check says so while it runs, and fails when nothing listens.
    """
    folder = tmp_path / "ledger"
    folder.mkdir()
    # As the image has it, so as a new volume has it.
    os.chown(folder, 10001, 0)
    folder.chmod(0o770)
    with Conduit(hotel(rate=2.0, history_s=60.0)) as conduit:
        conduit.freeze()
        exporter = Exporter(tmp_path, conduit, otlp_http=jaeger.otlp_http)
        env = {name: text for name, text in exporter.env.items() if name != "EXPORTER_LEDGER"}
        health_check = image.config["Healthcheck"]["Test"][1:]
        runs = conduit.ended_runs()
        with image.confined(
            env, user=1_234_567, volume=(folder, HOME), log=tmp_path / "exporter.log"
        ) as process:
            process.wait_http(
                f"http://{exporter.address}/-/ready", ready=lambda got: got.is_success
            )
            exporter.wait_settled(expected_series(conduit), traces=len(runs))
            assert image.run(*health_check, **env).returncode == 0
            assert process.stop() == 0, process.tail()
        assert image.run(*health_check, **env).returncode == 1

    assert_traces(jaeger, expected_traces(runs, exporter.options), service="conduit")
    written = {path.name: path.stat() for path in folder.iterdir()}
    assert "conduit-exporter.db" in written
    assert {(stat.st_uid, stat.st_gid) for stat in written.values()} == {(1_234_567, 0)}
    assert "Traceback" not in process.log_text()
