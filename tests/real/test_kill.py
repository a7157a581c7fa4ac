"""The daemon is killed, hangs on its backend, loses its backend: nothing is lost or told twice."""

import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.real.conduit import Conduit, hotel, quiet
from tests.real.expectation import assert_traces, expected_series, expected_traces
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger
from tests.real.odd_runs import example_run
from tests.real.processes import NotInTime, Process, eventually

pytestmark = pytest.mark.real

SEED: Final = 20_261_124
KILLS: Final = 25
# From the start of the process: some die before they opened the ledger, most at work.
LIFE_S: Final = (0.3, 2.4)
# Requests under way at once in each of the three workspaces: what a kill can lose on the way.
MOST_ON_THE_WAY: Final = 3 * 8
LOOKBACK: Final = {"EXPORTER_LOOKBACK": "3650d"}


@pytest.fixture
def busy() -> Iterator[Conduit]:
    """Ten new runs a second."""
    with Conduit(hotel(rate=40.0, history_s=60.0, seed=7)) as simulated:
        yield simulated


@pytest.fixture
def idle() -> Iterator[Conduit]:
    """One agent that has only the documented example to show."""
    with Conduit(quiet) as simulated:
        simulated.add_run(*example_run())
        yield simulated


@pytest.fixture
def silent_backend() -> Iterator[str]:
    """The URL of a port that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def killed_after(process: Process, seconds: float) -> int:
    """Let a process live for so long, then end it between two of its instructions."""
    deadline = time.monotonic() + seconds
    try:
        return process.wait(timeout_s=seconds)
    except NotInTime:
        assert time.monotonic() >= deadline
        return process.kill()


def test_killed_daemon_counts_and_traces_every_run_once(
    start_jaeger: Callable[[], Jaeger], busy: Conduit, new_exporter: Callable[..., Exporter]
) -> None:
    """After 25 kills at random moments the sums are exact and every trace is there, unchanged."""
    jaeger = start_jaeger()
    exporter = new_exporter(busy, otlp_http=jaeger.otlp_http, **LOOKBACK)
    rng = random.Random(SEED)
    delivered = 0
    for _ in range(KILLS):
        process = exporter.launch()
        assert killed_after(process, rng.uniform(*LIFE_S)) == -signal.SIGKILL, process.tail()
        before, delivered = delivered, len(jaeger.trace_ids("conduit"))
        assert delivered >= before
    assert delivered > 20, "the daemon was killed too early to be at work"

    exporter.start()
    busy.freeze()
    runs = busy.ended_runs()
    exporter.wait_settled(expected_series(busy), traces=len(runs))
    assert exporter.stop() == 0

    assert_traces(jaeger, expected_traces(runs, exporter.options), service="conduit")
    again = sum(times - 1 for times in busy.fetched_twice().values())
    assert again <= KILLS * MOST_ON_THE_WAY


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_sigterm_ends_a_daemon_whose_backend_hangs(
    start_jaeger: Callable[[], Jaeger],
    idle: Conduit,
    new_exporter: Callable[..., Exporter],
    silent_backend: str,
    protocol: str,
) -> None:
    """It ends within ten seconds, as if nothing were wrong; the next start delivers the trace."""
    exporter = new_exporter(
        idle, otlp_http=silent_backend, OTEL_EXPORTER_OTLP_PROTOCOL=protocol, **LOOKBACK
    )
    process = exporter.start()
    exporter.wait_value("conduit_exporter_traces_pending", 1)
    begin = time.monotonic()
    process.signal(signal.SIGTERM)
    assert process.wait(timeout_s=10.0) == 0, process.tail()
    assert time.monotonic() - begin < 10.0
    assert "1 traces are still to be delivered" in process.log_text()

    jaeger = start_jaeger()
    endpoint = jaeger.otlp_http if protocol == "http/protobuf" else f"http://{jaeger.otlp_grpc}"
    asked = idle.call(lambda conduit: conduit.asked.runs_asked.total())
    exporter.start(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    expected = expected_traces(idle.ended_runs(), exporter.options)
    (trace_id,) = expected
    jaeger.trace(trace_id, spans=2)
    assert exporter.stop() == 0
    assert_traces(jaeger, expected, service="conduit")
    assert idle.call(lambda conduit: conduit.asked.runs_asked.total()) == asked == 1


def test_daemon_stays_well_while_the_backend_is_away(
    start_jaeger: Callable[[], Jaeger], idle: Conduit, new_exporter: Callable[..., Exporter]
) -> None:
    """What happens during an outage of Jaeger arrives after it, and only that is sent again."""
    jaeger = start_jaeger()
    exporter = new_exporter(idle, otlp_http=jaeger.otlp_http, **LOOKBACK)
    exporter.start()
    (before,) = expected_traces(idle.ended_runs(), exporter.options)
    jaeger.trace(before, spans=2)
    exporter.wait_value("conduit_exporter_traces_delivered_total", 1)
    jaeger.stop()

    run, content = example_run()
    for number in range(20):
        idle.add_run(run._replace(id=f"ar77outage{number}", trace_id=f"{number + 1:032x}"), content)
    exporter.wait_value("conduit_exporter_traces_pending", 20)
    exporter.wait_value("conduit_runs_total", 21)
    eventually(
        lambda: True if "traces do not reach" in exporter.process.log_text() else None,
        what="a line about the outage",
        timeout_s=20.0,
    )
    assert exporter.get("/-/healthy").status_code == 200
    assert exporter.get("/-/ready").status_code == 200

    jaeger.start()
    exporter.wait_value("conduit_exporter_traces_pending", 0, timeout_s=60.0)
    exporter.wait_value("conduit_exporter_traces_delivered_total", 21)
    expected = expected_traces(idle.ended_runs(), exporter.options)
    assert_traces(
        jaeger,
        {trace_id: spans for trace_id, spans in expected.items() if trace_id != before},
        service="conduit",
    )
    log = exporter.process.log_text()
    assert log.count("traces do not reach") == 1
    assert "again" in log
    assert exporter.stop() == 0
