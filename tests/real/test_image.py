"""The container image: built from deploy/Dockerfile, small, unprivileged, and it runs."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import exporter as package
from tests.real.conduit import Conduit, hotel
from tests.real.container import Images
from tests.real.expectation import assert_traces, expected_series, expected_traces
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger
from tests.real.processes import free_port

pytestmark = pytest.mark.real

ROOT = Path(__file__).parent.parent.parent
REVISION = "0123456789abcdef0123456789abcdef01234567"
HOME = "/var/lib/conduit-exporter"
INSTALLED = "/opt/conduit-exporter"

# Prints what the user of the image could change outside of the ledger's folder.
WRITABLE = """
import json, os
places = ["/opt", "/etc", "/usr", "/var"]
print(json.dumps([
    path
    for place in places
    for folder, folders, files in os.walk(place)
    for path in [folder, *(os.path.join(folder, name) for name in files)]
    if os.access(path, os.W_OK) and not os.path.islink(path)
    and os.stat(path).st_mode & 0o1000 == 0
]))
"""

# Prints the modules of the application and its dependencies that have no compiled form.
UNCOMPILED = """
import importlib.util, json, pathlib
root = pathlib.Path("/opt/conduit-exporter")
print(json.dumps([
    str(source)
    for source in root.rglob("*.py")
    if not pathlib.Path(importlib.util.cache_from_source(source)).exists()
]))
"""


@pytest.fixture(scope="module")
def image(images: Images) -> Iterator[str]:
    """The image of this checkout, upon the rig's Debian base."""
    tag = images.build(
        ROOT / "deploy/Dockerfile",
        ROOT,
        {"BASE": images.base(), "REVISION": REVISION},
        tag="localhost/conduit-exporter:checkout",
    )
    yield tag
    images.remove(tag)


def python(images: Images, image: str, program: str) -> str:
    """What a Python program prints in the image, as the image's user."""
    result = images.run(image, ["-c", program], entrypoint=["python"])
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_image_tells_its_version(images: Images, image: str) -> None:
    """`docker run conduit-exporter --version` answers."""
    result = images.run(image, ["--version"])

    assert result.returncode == 0, result.stderr
    assert package.__version__ in result.stdout


def test_image_runs_the_demo(images: Images, image: str) -> None:
    """The demo runs in the image to its end, and writes nothing but in its own folder."""
    result = images.run(image, ["demo", "--duration", "5s"])

    assert result.returncode == 0, result.stdout + result.stderr


def test_image_runs_the_daemon(
    images: Images, image: str, start_jaeger: Callable[[], Jaeger], tmp_path: Path
) -> None:
    """The daemon in the image reads, counts and delivers; it is healthy, and ends on SIGTERM."""
    jaeger = start_jaeger()
    with Conduit(hotel(rate=2.0, history_s=120.0)) as conduit:
        conduit.freeze()
        exporter = Exporter(tmp_path, conduit, otlp_http=jaeger.otlp_http)
        env = {name: text for name, text in exporter.env.items() if name != "EXPORTER_LEDGER"}
        health_check = images.config(image)["Healthcheck"]["Test"][1:]
        with images.started(image, env=env, log=tmp_path / "exporter.log") as process:
            process.wait_http(
                f"http://{exporter.address}/-/ready", ready=lambda got: got.is_success
            )
            runs = conduit.ended_runs()
            exporter.wait_settled(expected_series(conduit), traces=len(runs))
            probed = images.run_in(process, health_check, env)
            assert (probed.returncode, "200" in probed.stdout) == (0, True), probed.stderr
            assert process.stop() == 0, process.tail()
    assert_traces(jaeger, expected_traces(runs, exporter.options), service="conduit")


def test_image_runs_as_any_user_on_a_read_only_root(
    images: Images, image: str, tmp_path: Path
) -> None:
    """User 1234567 with group 0, nothing writable but the ledger's folder: it counts and ends."""
    folder = tmp_path / "ledger"
    folder.mkdir()
    # As the image has it, so as a new volume has it.
    os.chown(folder, 10001, 0)
    folder.chmod(0o770)
    with Conduit(hotel(rate=2.0, history_s=120.0)) as conduit:
        conduit.freeze()
        exporter = Exporter(tmp_path, conduit, OTEL_TRACES_EXPORTER="none")
        env = {name: text for name, text in exporter.env.items() if name != "EXPORTER_LEDGER"}
        with images.confined(
            image,
            images.config(image)["Entrypoint"] + images.config(image)["Cmd"],
            env,
            user=1_234_567,
            volume=(folder, HOME),
            log=tmp_path / "exporter.log",
        ) as process:
            process.wait_http(
                f"http://{exporter.address}/-/ready", ready=lambda got: got.is_success
            )
            # Tool calls are known from traces alone.
            expected = expected_series(conduit)
            exporter.wait_settled({k: v for k, v in expected.items() if "_tool_" not in k[0]})
            assert process.stop() == 0, process.tail()

    written = {path.name: path.stat() for path in folder.iterdir()}
    assert "conduit-exporter.db" in written
    assert {(stat.st_uid, stat.st_gid) for stat in written.values()} == {(1_234_567, 0)}
    assert "Traceback" not in process.log_text()


def test_image_needs_no_shell(images: Images, image: str) -> None:
    """Entrypoint and health check are programs with arguments, and no script of a shell."""
    config = images.config(image)
    first_line = python(
        images, image, f"print(open('{INSTALLED}/bin/conduit-exporter').readline())"
    )

    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert first_line.strip() == f"#!{INSTALLED}/bin/python"


def test_bill_of_materials_names_what_the_image_holds(
    images: Images, image: str, tmp_path: Path
) -> None:
    """`make sbom` lists the packages of the image at their versions, and no other."""
    made = tmp_path / "sbom.cdx.json"
    subprocess.run(
        ["make", "sbom", f"SBOM={made}"], cwd=ROOT, check=True, capture_output=True, timeout=300
    )
    bill = json.loads(made.read_text())
    listed = {component["name"]: component["version"] for component in bill["components"]}

    assert bill["metadata"]["component"]["name"] == "conduit-exporter"
    assert installed(images, image).items() <= listed.items()
    # What else is listed is for another system or Python, as requirements.txt says of it.
    requirements = (ROOT / "requirements.txt").read_text()
    for name in listed.keys() - installed(images, image).keys():
        assert re.search(rf"^{re.escape(name)}==\S+ ;", requirements, re.MULTILINE), name


def test_health_check_fails_without_a_daemon(images: Images, image: str) -> None:
    """The image's health check says unhealthy where nothing listens."""
    health_check = images.config(image)["Healthcheck"]["Test"][1:]
    env = {"EXPORTER_LISTEN": f"127.0.0.1:{free_port()}"}
    probed = images.run(image, health_check[1:], env)

    assert probed.returncode == 1, probed.stdout + probed.stderr


def test_image_is_configured_for_a_sidecar(images: Images, image: str) -> None:
    """Unprivileged numeric user, the ledger's folder as volume, port, health check, daemon."""
    config = images.config(image)

    assert config["User"] == "10001:10001"
    assert config["WorkingDir"] == HOME
    assert list(config["Volumes"]) == [HOME]
    assert list(config["ExposedPorts"]) == ["10464/tcp"]
    assert config["Entrypoint"] == ["conduit-exporter"]
    assert config["Cmd"] == ["run"]
    assert config["Healthcheck"]["Test"] == ["CMD", "conduit-exporter", "healthcheck"]


def test_image_is_labelled(images: Images, image: str) -> None:
    """Labels tell version, revision and licence."""
    labels = images.config(image)["Labels"]

    assert labels["org.opencontainers.image.version"] == package.__version__
    assert labels["org.opencontainers.image.revision"] == REVISION
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.base.name"] == images.base()


def test_image_holds_its_revision(images: Images, image: str) -> None:
    """The package in the image knows the revision it was built from."""
    program = (
        "import pathlib, exporter; print(pathlib.Path(exporter.__file__).with_name('REVISION')"
        ".read_text())"
    )

    assert python(images, image, program).strip() == REVISION


def test_image_writes_nowhere_but_in_its_folder(images: Images, image: str) -> None:
    """Its user can change the ledger's folder and nothing else, so the root may be read-only."""
    assert json.loads(python(images, image, WRITABLE)) == [HOME]


def test_image_is_compiled(images: Images, image: str) -> None:
    """Every module has its bytecode, which nobody could write at run time."""
    assert json.loads(python(images, image, UNCOMPILED)) == []


def installed(images: Images, image: str) -> dict[str, str]:
    """The packages of the image's environment and their versions."""
    program = (
        "import importlib.metadata as m, json, sys;"
        " print(json.dumps({d.name.lower().replace('_', '-'): d.version"
        " for d in m.distributions(path=sys.path)"
        f" if str(d.locate_file('')).startswith('{INSTALLED}')}}))"
    )
    found: dict[str, str] = json.loads(python(images, image, program))
    return found


def test_image_ships_no_installer(images: Images, image: str) -> None:
    """The environment holds the pinned packages and no pip or setuptools."""
    shipped = installed(images, image).keys()

    assert {"httpx", "prometheus-client"} <= shipped
    assert not {"pip", "setuptools", "wheel"} & shipped


def test_image_adds_little_to_its_base(images: Images, image: str) -> None:
    """The exporter and its dependencies weigh less than 120 MB."""
    assert images.size(image) - images.size(images.base()) < 120e6
