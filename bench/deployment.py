"""The exporter as a real process between a simulated Conduit and a sink, each a process too.

Reads what the kernel says of the exporter alone; ends everything that it started.
"""

import contextlib
import http.client
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.worlds import TOKEN
from tests.real.processes import Process, eventually, free_port

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_S: Final = 60.0
_POLL_S: Final = 0.005
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer of the exporter's own server and how long it took."""

    status: int
    body: bytes
    seconds: float


class Deployment:
    """Conduit and sink, running; starts one exporter after the other between them."""

    def __init__(
        self, folder: Path, conduit_port: int, sink_port: int, stack: contextlib.ExitStack
    ) -> None:
        self.folder = folder
        self.base_url = f"http://127.0.0.1:{conduit_port}"
        self.sink_port = sink_port
        self.otlp = f"http://127.0.0.1:{sink_port}"
        self.ids = folder / "ids"
        self.asked = folder / "asked.json"
        self._stack = stack
        self._conduit: Process | None = None
        self._started = 0

    def start_conduit(self, *, agents: int = 1, runs: int = 0) -> None:
        """A Conduit of so many agents with so many ended runs in all."""
        self._conduit = self._stack.enter_context(
            Process(
                [
                    *(sys.executable, "-m", "bench.conduit_server"),
                    *("--port", self.base_url.rpartition(":")[2]),
                    *("--agents", str(agents), "--runs", str(runs)),
                    *("--ids", self.ids, "--asked", self.asked),
                ],
                log=self.folder / "conduit.log",
            )
        )
        self._conduit.wait_http(f"{self.base_url}/v1/workspaces", timeout_s=_START_S)

    def stop_conduit(self) -> dict[str, int]:
        """End it; the requests that it was asked, by endpoint."""
        assert self._conduit is not None  # noqa: S101 - only called once it is started
        self._conduit.stop()
        counts: dict[str, int] = json.loads(self.asked.read_text())
        return counts

    def received(self) -> int:
        """How many traces the sink has taken."""
        connection = http.client.HTTPConnection("127.0.0.1", self.sink_port, timeout=10)
        try:
            connection.request("GET", "/")
            traces: int = json.loads(connection.getresponse().read())["traces"]
            return traces
        finally:
            connection.close()

    @contextlib.contextmanager
    def exporter(self, ledger: Path, **settings: str) -> Iterator["ExporterProcess"]:
        """An exporter on this ledger, ended when the block is left."""
        self._started += 1
        port = free_port()
        env = {
            "CONDUIT_API_TOKEN": TOKEN,
            "CONDUIT_BASE_URL": self.base_url,
            "EXPORTER_LEDGER": f"sqlite:///{ledger}",
            "EXPORTER_LISTEN": f"127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            **settings,
        }
        log = self.folder / f"exporter-{self._started}.log"
        with ExporterProcess.start(env, port=port, log=log) as process:
            yield process


@dataclass(frozen=True, slots=True)
class ExporterProcess:
    """A running exporter."""

    process: Process
    port: int
    started_s: float

    @classmethod
    @contextlib.contextmanager
    def start(cls, env: Mapping[str, str], *, port: int, log: Path) -> Iterator["ExporterProcess"]:
        """Start the daemon, and end it when the block is left."""
        started_s = time.monotonic()
        with Process([sys.executable, "-m", "exporter", "run"], log=log, env=env) as process:
            yield cls(process, port, started_s)

    def first_metrics(self) -> float:
        """Seconds from the start of the process to its first answer on /metrics."""
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/metrics").status == http.HTTPStatus.OK:
                    return time.monotonic() - self.started_s
            if self.process.returncode is not None or time.monotonic() > self.started_s + _START_S:
                raise RuntimeError(f"the exporter did not start:\n{self.process.tail()}")
            time.sleep(_POLL_S)

    def wait_ready(self) -> None:
        """Until its first scan is complete."""
        self.first_metrics()
        eventually(
            lambda: True if self.get("/-/ready").status == http.HTTPStatus.OK else None,
            what="ready",
            timeout_s=_START_S,
        )

    def get(self, path: str) -> Answered:
        """Ask its own server, over a new connection."""
        begin_s = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            return Answered(response.status, body, time.perf_counter() - begin_s)
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """The sum of a metric's series."""
        lines = self.get("/metrics").body.decode().splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith((f"{name} ", f"{name}{{"))
        )

    def processor_s(self) -> float:
        """User and system time of the process so far, all threads."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / _TICKS

    def memory_bytes(self, name: str = "VmRSS") -> int:
        """What the kernel says of its memory: VmRSS now, VmHWM at most."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise LookupError(name)


@contextlib.contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """A sink that runs, and the addresses of all."""
    with contextlib.ExitStack() as stack:
        conduit_port, sink_port = free_port(), free_port()
        sink = stack.enter_context(
            Process(
                [sys.executable, "-m", "bench.sink", "--port", str(sink_port)],
                log=folder / "sink.log",
            )
        )
        sink.wait_http(f"http://127.0.0.1:{sink_port}/", timeout_s=_START_S)
        yield Deployment(folder, conduit_port, sink_port, stack)
