"""The daemon is killed at any moment, or loses its ledger: nothing is lost or told twice."""

import random
import signal
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.real.conduit import Conduit, hotel
from tests.real.expectation import assert_traces, expected_series, expected_traces
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger
from tests.real.processes import NotInTime, Process

pytestmark = pytest.mark.real

SEED: Final = 20_261_124
# Each fifth dies in its first second, the others at work: the longest lives, few, deliver twice.
STARTING_S: Final = 1.0
WORKING_S: Final = 2.0
# Requests under way at once in each of the three workspaces: what a kill can lose on the way.
MOST_ON_THE_WAY: Final = 3 * 8


@pytest.fixture
def busy() -> Iterator[Conduit]:
    """Five new runs a second."""
    with Conduit(hotel(rate=20.0, history_s=60.0, seed=7)) as simulated:
        yield simulated


def killed_after(process: Process, seconds: float) -> int:
    """Let a process live for so long, then end it between two of its instructions."""
    try:
        return process.wait(timeout_s=seconds)
    except NotInTime:
        return process.kill()


@pytest.mark.parametrize("kills", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_daemon_counts_and_traces_every_run_once(
    jaeger: Jaeger, busy: Conduit, new_exporter: Callable[..., Exporter], kills: int
) -> None:
    """Killed again and again at random moments: sums are exact, every trace there, unchanged."""
    exporter = new_exporter(busy, otlp_http=jaeger.otlp_http)
    rng = random.Random(SEED)
    for number in range(kills):
        process = exporter.launch()
        life_s = rng.uniform(0.0, STARTING_S)
        if number % 5:
            # However long a busy machine takes to start it.
            process.wait_http(f"http://{exporter.address}/-/healthy")
            life_s = rng.triangular(0.0, WORKING_S, 0.0)
        assert killed_after(process, life_s) == -signal.SIGKILL, process.tail()
    assert len(jaeger.traces("conduit")) > 20, "it was killed too early to be at work"

    exporter.start()
    busy.freeze()
    runs = busy.ended_runs()
    exporter.wait_settled(expected_series(busy), traces=len(runs), timeout_s=120.0)
    assert exporter.stop() == 0

    assert_traces(jaeger, expected_traces(runs, exporter.options), service="conduit")
    again = sum(times - 1 for times in busy.fetched_twice().values())
    assert again <= kills * MOST_ON_THE_WAY


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_a_ledger_that_goes_under_the_daemon_is_told(
    conduit: Conduit, new_exporter: Callable[..., Exporter], *, replaced: bool
) -> None:
    """Within a minute it is unready and has logged an error, and it ends as if all were well."""
    exporter = new_exporter(conduit, OTEL_TRACES_EXPORTER="none")
    process = exporter.start()
    ledger = exporter.folder / "ledger.db"
    content = ledger.read_bytes()
    ledger.unlink()
    if replaced:
        ledger.write_bytes(content)

    unready = process.wait_http(
        f"http://{exporter.address}/-/ready",
        ready=lambda answer: answer.status_code == 503,
        timeout_s=60.0,
    )
    told = f"The ledger {ledger} was deleted or replaced while it was in use"
    assert told in unready.text
    assert f"ERROR ledger    {told}" in process.log_text()
    assert exporter.get("/-/healthy").status_code == 200
    assert exporter.stop() == 0, process.tail()
    assert ledger.exists() == replaced
