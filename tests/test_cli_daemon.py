"""`run` and `demo` as processes: they start, answer, and end in an orderly way when told to."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread, Timer

import httpx
import pytest

from exporter.simulator.hotel import DEMO_TOKEN

ROOT = Path(__file__).parent.parent
DEADLINE_S = 60.0


class Process:
    """A command that runs, with what it has said so far; killed where it outlives the deadline."""

    def __init__(self, *arguments: str, cwd: Path, **environ: str) -> None:
        self.lines: list[str] = []
        self._coming: SimpleQueue[str | None] = SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # What is not read would fill the pipe, and traces on stdout then wait.
        self._reader = Thread(target=self._read)
        self._reader.start()
        self._killer = Timer(DEADLINE_S, self._process.kill)
        self._killer.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line, from here on, that the pattern is found in."""
        while (line := self._coming.get()) is not None:
            if found := re.search(pattern, line):
                return found
        pytest.fail(f"it ended without {pattern!r}:\n" + "\n".join(self.lines))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to end, and read it to its last line; the exit code."""
        self._process.send_signal(number)
        return self.finish()

    def finish(self) -> int:
        self._reader.join()
        self._killer.cancel()
        return self._process.wait(timeout=DEADLINE_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                self.lines.append(line.rstrip("\n"))
                self._coming.put(line)
        self._coming.put(None)

    def abandon(self) -> None:
        self._killer.cancel()
        self._process.kill()
        self._process.wait(timeout=DEADLINE_S)
        self._reader.join()


@contextlib.contextmanager
def started(*arguments: str, cwd: Path, **environ: str) -> Iterator[Process]:
    process = Process(*arguments, cwd=cwd, **environ)
    try:
        yield process
    finally:
        process.abandon()


def get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=DEADLINE_S, trust_env=False)


def test_the_demo_shows_all_of_it(tmp_path: Path) -> None:
    """Metrics, pages and traces in seconds; Ctrl-C ends it with 0, and nothing is left behind."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    command = ("-m", "exporter", "demo", "--listen", "127.0.0.1:0")
    with started(*command, cwd=tmp_path, TMPDIR=str(scratch)) as demo:
        url = demo.wait_for(r"Metrics +(http://127\.0\.0\.1:\d+)/metrics")[1]
        trace = demo.wait_for(r"^trace ([0-9a-f]{32})  .* tokens  .* USD")[1]
        assert re.fullmatch("[0-9a-f]{32}", trace)
        metrics = get(f"{url}/metrics")
        page = get(f"{url}/")
        healthy = get(f"{url}/-/healthy")
        assert demo.end(signal.SIGINT) == 0
    assert metrics.status_code == 200
    assert "conduit_exporter_build_info{" in metrics.text
    assert 'conduit_up{workspace_id="' in metrics.text
    assert (page.status_code, healthy.status_code) == (200, 200)
    assert page.headers["content-type"].startswith("text/html")
    said = "\n".join(demo.lines)
    assert "A hotel group at work: 2 workspaces, 5 agents, a simulated Conduit at" in said
    assert "WARN" not in said
    assert "Traceback" not in said
    assert DEMO_TOKEN not in said
    assert list(scratch.iterdir()) == []
    assert list(tmp_path.iterdir()) == [scratch]


def test_the_demo_links_to_a_jaeger_on_this_machine(tmp_path: Path) -> None:
    """A backend at a loopback address is taken for a Jaeger with its usual ports."""
    command = ("-m", "exporter", "demo", "--listen", "127.0.0.1:0")
    with started(*command, "--otlp-endpoint", "http://127.0.0.1:9", cwd=tmp_path) as demo:
        link = demo.wait_for(r"Traces +http://127\.0\.0\.1:9/v1/traces, .* to (\S+)")[1]
        assert demo.end(signal.SIGINT) == 0
    assert link == "http://localhost:16686"


def test_the_daemon_runs_until_it_is_told_to_end(tmp_path: Path) -> None:
    """SIGTERM and SIGHUP end it with 0, and its ledger is free for the next start."""
    conduit_command = ("-m", "exporter.simulator", "--listen", "127.0.0.1:0", "--history", "60")
    with started(*conduit_command, cwd=tmp_path) as conduit:
        conduit_url = conduit.wait_for(r"Simulated Conduit at (\S+), token")[1]
        environ = {
            "CONDUIT_API_TOKEN": DEMO_TOKEN,
            "CONDUIT_BASE_URL": conduit_url,
            "CONDUIT_REQUESTS_PER_MINUTE": "60000",
            "EXPORTER_LISTEN": "127.0.0.1:0",
            "EXPORTER_POLL_INTERVAL": "500ms",
            "OTEL_TRACES_EXPORTER": "console",
        }
        for number in (signal.SIGTERM, signal.SIGHUP):
            with started("-m", "exporter", "run", cwd=tmp_path, **environ) as daemon:
                url = daemon.wait_for(r"INFO .* serving .* on (http://\S+)")[1]
                daemon.wait_for(r'^\{"resourceSpans"')
                assert get(f"{url}/-/healthy").status_code == 200
                assert get(f"{url}/metrics").status_code == 200
                assert daemon.end(number) == 0
            said = "\n".join(daemon.lines)
            assert re.search(r"INFO .* stopping: what is fetched is delivered", said)
            assert "Traceback" not in said
            assert DEMO_TOKEN not in said
    assert min(one.name for one in tmp_path.iterdir()) == "conduit-exporter.db"


def test_a_second_daemon_on_one_ledger_is_refused(tmp_path: Path) -> None:
    """It says what to do, ends with 1, and the first goes on."""
    environ = {
        "CONDUIT_API_TOKEN": DEMO_TOKEN,
        "CONDUIT_BASE_URL": "http://127.0.0.1:9",
        "EXPORTER_LISTEN": "127.0.0.1:0",
        "OTEL_TRACES_EXPORTER": "none",
    }
    with started("-m", "exporter", "run", cwd=tmp_path, **environ) as first:
        url = first.wait_for(r"serving .* on (http://\S+)")[1]
        with started("-m", "exporter", "run", cwd=tmp_path, **environ) as second:
            assert second.finish() == 1
        assert get(f"{url}/-/healthy").status_code == 200
        assert get(f"{url}/-/ready").status_code == 503
        assert first.end() == 0
    assert second.lines[-1] == (
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
