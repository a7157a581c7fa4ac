"""The image builder of the rig: base, build, run, stop."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.container import Images
from tests.real.processes import alive, eventually

pytestmark = pytest.mark.real

DOCKERFILE = """\
ARG BASE
FROM ${BASE} AS build
ARG WORD
RUN printf '%s' "$WORD" > /word
FROM ${BASE}
COPY --from=build /word /word
USER 65534:65534
ENTRYPOINT ["python3", "-u"]
CMD ["-c", "import os; print(open('/word').read(), os.getuid(), os.environ.get('SAID', ''))"]
HEALTHCHECK CMD ["true"]
"""

SERVER = """\
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("up")
signal.pause()
"""


@pytest.fixture(scope="module")
def image(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A small two-stage image upon the base."""
    context = tmp_path_factory.mktemp("context")
    (context / "Dockerfile").write_text(DOCKERFILE)
    tag = images.build(
        context / "Dockerfile",
        context,
        {"BASE": images.base(), "WORD": "hello"},
        tag="localhost/conduit-exporter:rig",
    )
    yield tag
    images.remove(tag)


def test_base_image_runs_python_3_11(images: Images) -> None:
    """The base that debootstrap made runs Python 3.11 under chroot isolation."""
    result = images.run(images.base(), ["python3", "--version"])

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Python 3.11.")


def test_image_runs_its_own_entrypoint_as_its_user(images: Images, image: str) -> None:
    """A built image runs entrypoint and command as its user, with build argument and variable."""
    result = images.run(image, env={"SAID": "aloud"})

    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "hello 65534 aloud"


def test_image_keeps_its_health_check(images: Images, image: str) -> None:
    """The health check of the Dockerfile is in the image's configuration."""
    assert images.config(image)["Healthcheck"]["Test"] == ["CMD", "true"]


def test_rebuilt_image_replaces_the_earlier_one(images: Images, image: str, tmp_path: Path) -> None:
    """Building the same tag again leaves one image of it."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    images.build(
        tmp_path / "Dockerfile", tmp_path, {"BASE": images.base(), "WORD": "again"}, tag=image
    )

    assert images.run(image).stdout.startswith("again")
    assert images.size(image) < 300e6


def test_program_in_a_container_receives_sigterm(
    images: Images, image: str, tmp_path: Path
) -> None:
    """Stopping a container lets its program end by itself, with its own exit code, and entirely."""
    with images.started(image, ["-c", SERVER], log=tmp_path / "server.log") as process:
        process.wait_log("up")
        inner = process.inner_pid()
        assert process.stop() == 7

    assert not alive(inner)


def test_killed_container_leaves_no_process(images: Images, image: str, tmp_path: Path) -> None:
    """A killed container takes its program with it, and the image stays usable."""
    with images.started(image, ["-c", SERVER], log=tmp_path / "server.log") as process:
        process.wait_log("up")
        inner = process.inner_pid()
        process.kill()

    eventually(lambda: None if alive(inner) else True, what="the program is gone", timeout_s=5.0)
    assert images.run(image, ["--version"]).returncode == 0
