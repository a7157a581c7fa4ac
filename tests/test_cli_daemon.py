"""`run` and `demo` as processes: they start, answer, and end in an orderly way when told to."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from exporter.simulator.hotel import DEMO_TOKEN
from tests.real.conduit import Conduit
from tests.real.processes import Process
from tests.simulator_support import BOTH, sim_run, small_scenario

ROOT = Path(__file__).parent.parent
DEADLINE_S = 60.0


def started(*arguments: str, folder: Path, **environ: str) -> Process:
    """A command that works in a folder of its own, and whose log lies beside it."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return Process(
        [sys.executable, "-m", *arguments],
        log=folder / f"{arguments[0]}{len(list(folder.iterdir()))}.log",
        env={"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environ},
        cwd=work,
    )


def end(process: Process, number: signal.Signals = signal.SIGTERM) -> int:
    """Tell it to end; the exit code."""
    process.signal(number)
    return process.wait(timeout_s=DEADLINE_S)


def get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=DEADLINE_S, trust_env=False)


def test_the_demo_shows_all_of_it(tmp_path: Path) -> None:
    """Metrics, pages and traces in seconds; Ctrl-C ends it with 0, and nothing is left behind."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    command = ("exporter", "demo", "--listen", "127.0.0.1:0")
    with started(*command, folder=tmp_path, TMPDIR=str(scratch)) as demo:
        url = demo.wait_log(r"Metrics +(http://127\.0\.0\.1:\d+)/metrics")[1]
        demo.wait_log(r"^trace ([0-9a-f]{32})  .* tokens  .* USD")
        metrics = get(f"{url}/metrics")
        page = get(f"{url}/")
        healthy = get(f"{url}/-/healthy")
        assert end(demo, signal.SIGINT) == 0
    assert metrics.status_code == 200
    assert "conduit_exporter_build_info{" in metrics.text
    assert 'conduit_up{workspace_id="' in metrics.text
    assert (page.status_code, healthy.status_code) == (200, 200)
    assert page.headers["content-type"].startswith("text/html")
    log = demo.log_text()
    assert "A hotel group at work: 2 workspaces, 5 agents, a simulated Conduit at" in log
    assert "WARN" not in log
    assert "Traceback" not in log
    assert DEMO_TOKEN not in log
    assert list(scratch.iterdir()) == []
    assert list((tmp_path / "work").iterdir()) == []


def test_the_daemon_runs_until_it_is_told_to_end(tmp_path: Path) -> None:
    """SIGTERM ends it with 0; a second one on its ledger says what to do, and ends with 1."""
    with Conduit(small_scenario) as conduit:
        conduit.add_run(sim_run("ar771"))
        environ = {
            "CONDUIT_API_TOKEN": BOTH,
            "CONDUIT_BASE_URL": conduit.base_url,
            "CONDUIT_REQUESTS_PER_MINUTE": "60000",
            "EXPORTER_LISTEN": "127.0.0.1:0",
            "EXPORTER_LOOKBACK": "3650d",
            "OTEL_TRACES_EXPORTER": "console",
        }
        with started("exporter", "run", folder=tmp_path, **environ) as daemon:
            url = daemon.wait_log(r"INFO .* serving .* on (http://\S+)")[1]
            daemon.wait_log(r'^\{("resourceSpans")')
            with started("exporter", "run", folder=tmp_path, **environ) as second:
                assert second.wait(timeout_s=DEADLINE_S) == 1
            assert get(f"{url}/-/healthy").status_code == 200
            assert get(f"{url}/metrics").status_code == 200
            assert end(daemon) == 0
    log = daemon.log_text()
    assert re.search(r"INFO .* stopping: what is fetched is delivered", log)
    assert "Traceback" not in log
    assert BOTH not in log
    assert second.tail(1) == (
        "error: Another process holds the ledger (one exporter a file: stop the other one, "
        "or set EXPORTER_LEDGER to another file)"
    )


def full_pipe() -> tuple[int, int]:
    """The two ends of a pipe that takes not one byte more."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    for size in (65_536, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(write_end, b"x" * size)
    os.set_blocking(write_end, True)
    return read_end, write_end


def test_what_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Neither a full pipe as standard error nor a Conduit that is silent; two signals, and 0."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            listen = f"127.0.0.1:{free.getsockname()[1]}"
        read_end, write_end = full_pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "exporter", "run"],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "CONDUIT_API_TOKEN": DEMO_TOKEN,
                "CONDUIT_BASE_URL": silent_url,
                "OTEL_EXPORTER_OTLP_ENDPOINT": silent_url,
                "EXPORTER_LISTEN": listen,
                "EXPORTER_LOG_LEVEL": "debug",
            },
            stderr=write_end,
        )
        try:
            # Connects again and again until it is served.
            transport = httpx.HTTPTransport(retries=8, trust_env=False)
            with httpx.Client(transport=transport, timeout=DEADLINE_S) as client:
                assert client.get(f"http://{listen}/-/healthy").status_code == 200
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGHUP)
            assert process.wait(timeout=DEADLINE_S) == 0
        finally:
            process.kill()
            process.wait()
            os.close(read_end)
            os.close(write_end)
