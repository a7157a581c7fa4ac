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
import pytest

from exporter.simulator.hotel import DEMO_TOKEN
from tests.real.processes import Process

ROOT = Path(__file__).parent.parent
DEADLINE_S = 60.0


def started(folder: Path, *arguments: str, name: str = "exporter", **environ: str) -> Process:
    """A command that works in the folder, and is ended with the context."""
    return Process(
        [sys.executable, "-m", *arguments],
        log=folder.with_name(f"{name}.log"),
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environ},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where commands work; their logs lie beside it."""
    made = tmp_path / "folder"
    made.mkdir()
    return made


def get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=DEADLINE_S, trust_env=False)


def test_the_demo_shows_all_of_it(folder: Path, tmp_path: Path) -> None:
    """Metrics, pages and traces in seconds; Ctrl-C ends it with 0, and nothing is left behind."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    command = ("exporter", "demo", "--listen", "127.0.0.1:0")
    with started(folder, *command, TMPDIR=str(scratch)) as demo:
        url = demo.wait_log(r"Metrics +(http://127\.0\.0\.1:\d+)/metrics")[1]
        demo.wait_log(r"^trace ([0-9a-f]{32})  .* tokens  .* USD")
        metrics = get(f"{url}/metrics")
        page = get(f"{url}/")
        healthy = get(f"{url}/-/healthy")
        demo.signal(signal.SIGINT)
        assert demo.wait() == 0
    assert metrics.status_code == 200
    assert "conduit_exporter_build_info{" in metrics.text
    assert 'conduit_up{workspace_id="' in metrics.text
    assert (page.status_code, healthy.status_code) == (200, 200)
    assert page.headers["content-type"].startswith("text/html")
    said = demo.log_text()
    assert "A hotel group at work: 2 workspaces, 5 agents, a simulated Conduit at" in said
    assert "WARN" not in said
    assert "Traceback" not in said
    assert DEMO_TOKEN not in said
    assert [*scratch.iterdir(), *folder.iterdir()] == []


def test_the_demo_links_to_a_jaeger_on_this_machine(folder: Path) -> None:
    """A backend at a loopback address is taken for a Jaeger with its usual ports."""
    command = ("exporter", "demo", "--listen", "127.0.0.1:0")
    with started(folder, *command, "--otlp-endpoint", "http://127.0.0.1:9") as demo:
        link = demo.wait_log(r"Traces +http://127\.0\.0\.1:9/v1/traces, .* to (\S+)")[1]
        assert demo.stop() == 0
    assert link == "http://localhost:16686"


def test_the_daemon_runs_until_it_is_told_to_end(folder: Path) -> None:
    """SIGTERM and SIGHUP end it with 0, and its ledger is free for the next start."""
    simulator = ("exporter.simulator", "--listen", "127.0.0.1:0", "--history", "60")
    with started(folder, *simulator, name="conduit") as conduit:
        environ = {
            "CONDUIT_API_TOKEN": DEMO_TOKEN,
            "CONDUIT_BASE_URL": conduit.wait_log(r"Simulated Conduit at (\S+), token")[1],
            "CONDUIT_REQUESTS_PER_MINUTE": "60000",
            "EXPORTER_LISTEN": "127.0.0.1:0",
            "EXPORTER_POLL_INTERVAL": "500ms",
            "OTEL_TRACES_EXPORTER": "console",
        }
        for number in (signal.SIGTERM, signal.SIGHUP):
            with started(folder, "exporter", "run", name=number.name, **environ) as daemon:
                url = daemon.wait_log(r"INFO .* serving .* on (http://\S+)")[1]
                daemon.wait_log(r'^\{"resourceSpans"')
                assert get(f"{url}/-/healthy").status_code == 200
                assert get(f"{url}/metrics").status_code == 200
                daemon.signal(number)
                assert daemon.wait() == 0
            said = daemon.log_text()
            assert re.search(r"INFO .* stopping: what is fetched is delivered", said)
            assert "Traceback" not in said
            assert DEMO_TOKEN not in said
    assert min(one.name for one in folder.iterdir()) == "conduit-exporter.db"


def test_a_second_daemon_on_one_ledger_is_refused(folder: Path) -> None:
    """It says what to do, ends with 1, and the first goes on."""
    environ = {
        "CONDUIT_API_TOKEN": DEMO_TOKEN,
        "CONDUIT_BASE_URL": "http://127.0.0.1:9",
        "EXPORTER_LISTEN": "127.0.0.1:0",
        "OTEL_TRACES_EXPORTER": "none",
    }
    with started(folder, "exporter", "run", name="first", **environ) as first:
        url = first.wait_log(r"serving .* on (http://\S+)")[1]
        with started(folder, "exporter", "run", name="second", **environ) as second:
            assert second.wait() == 1
        assert get(f"{url}/-/healthy").status_code == 200
        assert get(f"{url}/-/ready").status_code == 503
        assert first.stop() == 0
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
