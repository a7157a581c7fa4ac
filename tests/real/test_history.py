"""The commands that look back, as processes on the daemon's own ledger: real HTTP on both sides."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from exporter.simulator.runs import SECOND_NS, RunContent, SimRun
from tests.real.conduit import Conduit, EndedRun, hotel
from tests.real.expectation import assert_traces, expected_series, expected_traces
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger
from tests.real.odd_runs import example_run

pytestmark = pytest.mark.real

HISTORY_S = 3.0 * 3600


@pytest.fixture
def conduit() -> Iterator[Conduit]:
    """Three hours of a hotel group's runs, and time stands still."""
    with Conduit(hotel(rate=0.03, history_s=HISTORY_S)) as simulated:
        simulated.freeze()
        yield simulated


def quiet_moment_ns(created_ns: Iterable[int]) -> int:
    """The middle of the longest time without a new run: a start may take its time around it."""
    times = sorted(created_ns)
    length_ns, start_ns = max((later - one, one) for one, later in itertools.pairwise(times))
    assert length_ns > 40 * SECOND_NS
    return start_ns + length_ns // 2


def late_run(conduit: Conduit) -> tuple[SimRun, RunContent]:
    """A run of half an hour ago, of the example's agent, with a tool call."""
    created_ns = conduit.call(lambda simulated: simulated.data.present_ns()) - 1800 * SECOND_NS
    run, content = example_run()
    run = run._replace(
        id="ar77late",
        trace_id=f"{0x1A7E:032x}",
        created_ns=created_ns,
        completed_ns=created_ns + 4 * SECOND_NS,
    )
    return run, content


def read(exporter: Exporter, conduit: Conduit, runs: list[EndedRun], *, from_ns: int = 0) -> None:
    """Let it count what was created from then on, and deliver these runs."""
    exporter.start()
    counted = expected_series(conduit, created_from_ns=from_ns)
    exporter.wait_settled(counted, traces=len(runs))
    assert exporter.stop() == 0


def test_replay_brings_back_what_jaeger_lost(
    jaeger: Jaeger, conduit: Conduit, new_exporter: Callable[..., Exporter]
) -> None:
    """Every trace that was delivered since then is there again, unchanged; Conduit is not asked."""
    exporter = new_exporter(conduit, otlp_http=jaeger.otlp_http)
    runs = conduit.ended_runs()
    read(exporter, conduit, runs)
    jaeger.stop()
    jaeger.start()
    assert jaeger.traces("conduit") == {}
    asked = conduit.requests()

    replayed = exporter.command("replay", "--since", "1h")

    assert replayed.returncode == 0, replayed.stderr
    assert f"{len(runs)} of {len(runs)} traces were sent again" in replayed.stdout
    assert_traces(jaeger, expected_traces(runs, exporter.options), service="conduit")
    assert conduit.requests() == asked


def test_backfill_traces_older_runs_and_counts_none(
    jaeger: Jaeger, conduit: Conduit, new_exporter: Callable[..., Exporter]
) -> None:
    """Runs from before the look-back become traces, and the daemon's counters do not know them."""
    runs = conduit.ended_runs()
    first_ns = quiet_moment_ns(run.detail.run.created_ns for run in runs)
    lookback_s = (time.time_ns() - first_ns) // SECOND_NS
    exporter = new_exporter(conduit, otlp_http=jaeger.otlp_http, EXPORTER_LOOKBACK=f"{lookback_s}s")
    recent = [run for run in runs if run.detail.run.created_ns >= first_ns]
    assert 0 < len(recent) < len(runs)
    read(exporter, conduit, recent, from_ns=first_ns)
    assert_traces(jaeger, expected_traces(recent, exporter.options), service="conduit")

    backfilled = exporter.command("backfill", "--since", "4h")

    assert backfilled.returncode == 0, backfilled.stderr
    assert_traces(jaeger, expected_traces(runs, exporter.options), service="conduit")
    assert conduit.fetched_twice() == {}
    read(exporter, conduit, runs, from_ns=first_ns)


def test_reconcile_finds_and_repairs_what_came_late(
    jaeger: Jaeger, conduit: Conduit, new_exporter: Callable[..., Exporter]
) -> None:
    """A run that appears among old ones is named, counted once and traced."""
    exporter = new_exporter(conduit, otlp_http=jaeger.otlp_http)
    read(exporter, conduit, conduit.ended_runs())
    run, content = late_run(conduit)
    conduit.add_run(run, content)

    repaired = exporter.command("reconcile", "--since", "2h")
    assert repaired.returncode == 0, repaired.stderr
    assert "1 were missing, counted now: ar77late" in repaired.stdout
    runs = conduit.ended_runs()
    assert_traces(jaeger, expected_traces(runs, exporter.options), service="conduit")

    read(exporter, conduit, runs)
    assert conduit.fetched_twice() == {}
