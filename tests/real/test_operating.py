"""What docs/OPERATING.md says to do, done: install with pip, back up, restore, lose a ledger."""

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

import exporter as package
from tests.real.conduit import Conduit, hotel
from tests.real.expectation import expected_series
from tests.real.exporter import Exporter
from tests.real.processes import inherited_environment

pytestmark = pytest.mark.real

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_documented_installation_gives_a_command_and_a_unit(tmp_path: Path) -> None:
    """The commands for systemd, with /opt and /etc elsewhere, install what the unit starts.

    The pinned packages are those of this environment: test_fresh_clone.py installs them.
    """
    text = (ROOT / "docs/OPERATING.md").read_text()
    [block] = [b for b in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "pip install" in b]
    left_out = ("systemctl", "requirements.txt")
    commands = [line for line in block.splitlines() if not any(word in line for word in left_out)]
    here = "\n".join(commands).replace("sudo ", "")
    script = re.sub(r"(?<!\S)/(?=(?:opt|etc)/)", f"{tmp_path}/", here)
    checkout = tmp_path / "checkout"
    for name in ("exporter", "deploy"):
        shutil.copytree(ROOT / name, checkout / name)
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    (checkout / "config.env").write_text("EXPORTER_LISTEN=127.0.0.1:10464\n")
    (checkout / "conduit-token").write_text("token")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    subprocess.run(
        ["sh", "-euc", script],
        cwd=checkout,
        env=inherited_environment() | {"PIP_QUIET": "1", "PIP_NO_COMPILE": "1"},
        check=True,
        timeout=300,
    )

    unit = (tmp_path / "etc/systemd/system/conduit-exporter.service").read_text()
    started = re.search(r"^ExecStart=(\S+)", unit, re.MULTILINE)
    assert started is not None
    told = subprocess.run(
        [f"{tmp_path}{started[1]}", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": sysconfig.get_path("purelib")},
    )
    assert package.__version__ in told.stdout
    for name in ("config.env", "token"):
        path = tmp_path / "etc/conduit-exporter" / name
        assert path.stat().st_mode & 0o777 == 0o600
        assert f"/etc/conduit-exporter/{name}" in unit


def test_backup_continues_and_a_lost_ledger_counts_the_lookback_anew(
    new_exporter: Callable[..., Exporter],
) -> None:
    """A copy of a stopped exporter's folder goes on from there; without one nothing is missing."""
    with Conduit(hotel(rate=2.0, history_s=120.0)) as conduit:
        conduit.freeze()
        expected = {
            key: value
            for key, value in expected_series(conduit).items()
            if key[0].startswith(("conduit_runs", "conduit_run_"))
        }
        exporter = new_exporter(conduit, OTEL_TRACES_EXPORTER="none")
        ledger = exporter.folder / "ledger.db"
        exporter.start()
        exporter.wait_settled(expected)
        exporter.stop()
        backup = shutil.copytree(exporter.folder, exporter.folder.with_suffix(".backup"))

        ledger.unlink()
        process = exporter.start()
        exporter.wait_settled(expected)
        assert "is new" in process.log_text()
        exporter.stop()

        for file in exporter.folder.glob("ledger.db*"):
            file.unlink()
        for file in backup.glob("ledger.db*"):
            shutil.copy(file, exporter.folder)
        (exporter.folder / "exporter.log").unlink()
        process = exporter.start()
        exporter.wait_settled(expected)
        assert "is new" not in process.log_text()
