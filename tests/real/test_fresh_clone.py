"""What a newcomer does first: clone, `make demo`. Installs the pins from the package index."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.real import parts
from tests.real.processes import Process, free_port, loopback_client

pytestmark = [pytest.mark.real, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
INSTALL_S = 300.0
TRACE_LINE = r"^trace [0-9a-f]{32} .+ tokens .+$"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the last commit with what the working tree has on top, nothing ignored."""
    if not (ROOT / ".git").exists():
        parts.unavailable("this is no git checkout, so there is nothing to clone")
    folder = tmp_path / "conduit-exporter"
    git("clone", "--quiet", "--no-hardlinks", ROOT, folder)
    for name in git("ls-files", "-z", cwd=folder).split("\0"):
        if name and not (ROOT / name).exists():
            (folder / name).unlink()
    for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def git(*arguments: str | Path, cwd: Path = ROOT) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=cwd, capture_output=True, text=True, check=True
    ).stdout


def test_make_demo_runs_in_a_fresh_clone(clone: Path, tmp_path: Path) -> None:
    """One command installs, welcomes, shows traces and serves /metrics, and ends by itself."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    demo = ["make", "demo", f"ARGS=--duration 8s --listen 127.0.0.1:{port}"]
    with Process(demo, log=tmp_path / "demo.log", cwd=clone) as process:
        process.wait_log("A hotel group at work", timeout_s=INSTALL_S)
        process.wait_http(f"{url}/metrics", ready=lambda got: "conduit_runs_total{" in got.text)
        with loopback_client(url) as client:
            assert client.get("/").status_code == 200
        process.wait_log(TRACE_LINE)
        assert process.wait(timeout_s=30.0) == 0, process.tail()

    log = process.log_text()
    assert "Installing the dependencies into .venv, once..." in log
    assert f"Metrics   {url}/metrics" in log
    assert "Traceback" not in log
    assert git("status", "--porcelain", "--ignored", cwd=clone).count(".db") == 0
