"""The real daemon between a simulated Conduit and a trace backend, each a process of its own.

Reads what the kernel says of the daemon alone; ends everything that it started.
"""

import contextlib
import http.client
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Final, Self

from bench.conduit_server import TOKEN
from tests.real.processes import Process, eventually, free_port

MIB: Final = 1 << 20
WAIT_S: Final = 600.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_POLL_S: Final = 0.005
# httpx loads pygments and rich where a developer's tools have brought them; an installation of the
# exporter is without them.
_RUN: Final = "import sys; sys.modules['pygments'] = None; from exporter.cli import main; main()"


class _Server:
    """A process that serves HTTP on a port of its own while the block lasts."""

    def __init__(self, folder: Path, name: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{name}-{self.port}.log"
        self.process: Process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


class Conduit(_Server):
    """A simulated Conduit, with options of `bench.conduit_server`."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder, "conduit")
        self.process = Process(
            [sys.executable, "-m", "bench.conduit_server", f"--port={self.port}", *options],
            log=self.log,
        )
        self.process.wait_http(f"{self.url}/v1/workspaces", timeout_s=WAIT_S)


class Sink(_Server):
    """A trace backend that counts what it took."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "sink")
        self.process = Process(
            [sys.executable, "-m", "bench.sink", f"--port={self.port}"], log=self.log
        )
        self.process.wait_http(self.url, timeout_s=WAIT_S)

    def wait_traces(self, count: int) -> None:
        """Until it has taken so many traces."""
        eventually(
            lambda: True if self.traces() >= count else None,
            what=f"{count} traces",
            timeout_s=WAIT_S,
        )

    def traces(self) -> int:
        """How many traces it has taken."""
        _, body, _ = get(self.url, "/")
        return int(json.loads(body)["traces"])


class Daemon(_Server):
    """The exporter on this ledger."""

    def __init__(self, conduit: Conduit, sink: Sink, ledger: Path, **settings: str) -> None:
        super().__init__(ledger.parent, "exporter")
        self._started_s = time.monotonic()
        self.process = Process(
            [sys.executable, "-c", _RUN, "run"],
            log=self.log,
            env={
                "CONDUIT_API_TOKEN": TOKEN,
                "CONDUIT_BASE_URL": conduit.url,
                "EXPORTER_LEDGER": f"sqlite:///{ledger}",
                "EXPORTER_LISTEN": f"127.0.0.1:{self.port}",
                "EXPORTER_LOG_LEVEL": "warning",
                "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                **settings,
            },
        )

    def first_metrics(self) -> float:
        """Wait for the first answer on /metrics; the seconds since the start."""
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if get(self.url, "/metrics")[0] == http.HTTPStatus.OK:
                    return time.monotonic() - self._started_s
            if self.process.returncode is not None or time.monotonic() > self._started_s + WAIT_S:
                raise RuntimeError(f"the exporter did not start:\n{self.process.tail()}")
            time.sleep(_POLL_S)

    def wait_ready(self) -> None:
        """Until the first scan of every agent is complete."""
        self.first_metrics()
        eventually(
            lambda: True if get(self.url, "/-/ready")[0] == http.HTTPStatus.OK else None,
            what="ready",
            timeout_s=WAIT_S,
        )

    def wait_runs(self, count: int) -> None:
        """Until so many runs are counted."""
        self.first_metrics()
        eventually(
            lambda: True if self.metric("conduit_runs_total") >= count else None,
            what=f"{count} counted runs",
            timeout_s=WAIT_S,
        )

    def wait_settled(self) -> None:
        """Until no run waits for its detail and no trace for its delivery."""
        waiting = ("conduit_exporter_runs_awaiting_detail", "conduit_exporter_traces_pending")
        eventually(
            lambda: True if not any(map(self.metric, waiting)) else None,
            what="nothing left to trace",
            timeout_s=WAIT_S,
        )

    def wait_settled_readings(self) -> None:
        """Until the second readings that follow a start are over."""
        seen: list[float] = []

        def is_over() -> bool | None:
            seen.append(self.metric("conduit_exporter_budget_requests_total", "second_reading"))
            time.sleep(15)
            return True if seen[-2:] == 2 * seen[-1:] else None

        eventually(is_over, what="the end of second readings", timeout_s=WAIT_S)

    def metric(self, name: str, label: str = "") -> float:
        """The sum of a metric's series, or of those with a label of this value."""
        lines = get(self.url, "/metrics")[1].decode().splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith((f"{name} ", f"{name}{{")) and label in line
        )

    def milliseconds(self, path: str, *, times: int) -> float:
        """The median time of an answer, each over a new connection."""
        seconds = []
        for _ in range(times):
            status, _, elapsed_s = get(self.url, path)
            if status != http.HTTPStatus.OK:
                raise RuntimeError(f"{path} answered {status}")
            seconds.append(elapsed_s)
        return 1000 * statistics.median(seconds)

    def processor_s(self) -> float:
        """User and system time of the process so far, all threads."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS

    def core_percent(self, *, seconds: float) -> float:
        """The share of one core that the process takes from now on for so long."""
        begin_s, spent_s = time.monotonic(), self.processor_s()
        time.sleep(seconds)
        return 100 * (self.processor_s() - spent_s) / (time.monotonic() - begin_s)

    def rss_mib(self) -> float:
        """Its resident memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024 / MIB

    def stop(self) -> float:
        """Send SIGTERM; the seconds until it has ended. Raises RuntimeError unless with 0."""
        begin_s = time.monotonic()
        code = self.process.stop(timeout_s=WAIT_S)
        if code != 0:
            raise RuntimeError(f"the exporter ended with {code}:\n{self.process.tail()}")
        return time.monotonic() - begin_s


def get(url: str, path: str) -> tuple[int, bytes, float]:
    """Status, body and seconds of an answer, over a new connection."""
    begin_s = time.perf_counter()
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(), time.perf_counter() - begin_s
    finally:
        connection.close()
