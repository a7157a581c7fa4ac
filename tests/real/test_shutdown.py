"""SIGTERM: the daemon ends within ten seconds with 0, whoever hangs, as process 1 too."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.real import parts
from tests.real.conduit import Conduit
from tests.real.expectation import assert_traces, expected_traces
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger
from tests.real.processes import children_of, eventually

pytestmark = pytest.mark.real

# What a container engine waits before SIGKILL.
ENGINE_S: Final = 10.0
SCRAPE: Final = b"GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"


@pytest.fixture
def silent_backend() -> Iterator[str]:
    """The URL of a port that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def hanging_clients(address: str) -> Iterator[None]:
    """Clients that ask for more than the system buffers and read nothing, or ask for nothing."""
    host, port = address.split(":")
    with contextlib.ExitStack() as clients:
        for request in (SCRAPE * 500, SCRAPE * 500, SCRAPE[:20], b""):
            client = clients.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((host, int(port)))
            client.settimeout(0.0)
            with contextlib.suppress(BlockingIOError):
                client.send(request)
        yield


def test_a_daemon_ends_though_its_backend_and_its_clients_hang(
    tmp_path: Path,
    at_end: contextlib.ExitStack,
    conduit: Conduit,
    new_exporter: Callable[..., Exporter],
    silent_backend: str,
) -> None:
    """By either protocol it ends in time, as if nothing were wrong; the next start delivers."""
    exporters = {
        protocol: new_exporter(
            conduit, otlp_http=silent_backend, OTEL_EXPORTER_OTLP_PROTOCOL=protocol
        )
        for protocol in ("http/protobuf", "grpc")
    }
    with contextlib.ExitStack() as clients:
        for exporter in exporters.values():
            exporter.start()
            exporter.wait_value("conduit_exporter_traces_pending", 1)
            clients.enter_context(hanging_clients(exporter.address))
        begin = time.monotonic()
        for exporter in exporters.values():
            exporter.process.signal(signal.SIGTERM)
        for exporter in exporters.values():
            assert exporter.process.wait(timeout_s=ENGINE_S) == 0, exporter.process.tail()
        assert time.monotonic() - begin < ENGINE_S

    for protocol, exporter in exporters.items():
        log = exporter.process.log_text()
        assert "traces still to be delivered: 1" in log
        assert "ERROR" not in log
        # Its own end, not the last resort, which leaves the ledger as it is.
        assert not (exporter.folder / "ledger.db-wal").exists()
        grpc = protocol == "grpc"
        jaeger = at_end.enter_context(Jaeger(tmp_path / f"jaeger-{grpc}"))
        endpoint = f"http://{jaeger.otlp_grpc}" if grpc else jaeger.otlp_http
        exporter.start(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        exporter.wait_value("conduit_exporter_traces_delivered_total", 1)
        expected = expected_traces(conduit.ended_runs(), exporter.options)
        assert_traces(jaeger, expected, service="conduit")
    asked = conduit.call(lambda simulated: simulated.asked.runs_asked.total())
    assert asked == len(exporters), "a run was fetched again"


@pytest.mark.parametrize("serving", [False, True], ids=["while it starts", "while it serves"])
def test_process_1_ends_when_it_is_told_to(
    conduit: Conduit, new_exporter: Callable[..., Exporter], *, serving: bool
) -> None:
    """The first process of a container has no handler but its own."""
    unshare = parts.require("unshare", hint="it is a part of util-linux")
    if os.geteuid() != 0:
        parts.unavailable("a process namespace needs root")
    exporter = new_exporter(conduit, OTEL_TRACES_EXPORTER="none")
    process = exporter.launch(under=[unshare, "--pid", "--fork", "--kill-child"])
    (first,) = eventually(
        lambda: children_of(process.pid) or None, what="process 1 is there", timeout_s=10.0
    )
    if serving:
        process.wait_http(f"http://{exporter.address}/-/ready", ready=lambda got: got.is_success)
    else:
        eventually(lambda: handles_sigterm(first) or None, what="its handler", timeout_s=10.0)
    os.kill(first, signal.SIGTERM)
    assert process.wait(timeout_s=ENGINE_S) == 0, process.tail()
    assert "Traceback" not in process.log_text()


def handles_sigterm(pid: int) -> bool:
    """Whether the process has a handler of its own for SIGTERM."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)
