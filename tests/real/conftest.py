"""Real parts as fixtures: whatever a test started is ended, and its log shown on failure."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.real import processes
from tests.real.collector import Collector
from tests.real.conduit import Conduit, quiet
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger
from tests.real.odd_runs import example_run
from tests.real.processes import Server
from tests.real.prometheus import Prometheus

S = TypeVar("S", bound=Server)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of what is running to a failed test's report."""
    report = yield
    if report.failed:
        for process in processes.running:
            report.sections.append((f"log of {process.name}", process.tail()))
    return report


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """One Jaeger for all who do not mind what else it shows."""
    backend = Jaeger(tmp_path_factory.mktemp("jaeger"))
    try:
        backend.start()
        yield backend
    finally:
        backend.stop()


@pytest.fixture
def conduit() -> Iterator[Conduit]:
    """One agent that has only the documented example to show."""
    with Conduit(quiet) as simulated:
        simulated.add_run(*example_run())
        yield simulated


@pytest.fixture
def at_end() -> Iterator[ExitStack]:
    """Its callbacks are called when the test has ended, each whatever another one raises."""
    with ExitStack() as stack:
        yield stack


def _starts(kind: Callable[..., S], folder: Path, at_end: ExitStack) -> Callable[..., S]:
    """Starts one of a kind in a folder of its own, which is stopped with the test."""
    numbers = count()

    def start(**options: Any) -> S:
        server = kind(folder / str(next(numbers)), **options)
        at_end.callback(server.stop)
        server.start()
        return server

    return start


@pytest.fixture
def start_jaeger(tmp_path: Path, at_end: ExitStack) -> Callable[[], Jaeger]:
    """Starts a Jaeger of the test's own, to be stopped, started and filled at will."""
    return _starts(Jaeger, tmp_path / "jaeger", at_end)


@pytest.fixture
def start_collector(tmp_path: Path, at_end: ExitStack) -> Callable[..., Collector]:
    """Starts a Collector; takes what Collector takes beyond its folder."""
    return _starts(Collector, tmp_path / "collector", at_end)


@pytest.fixture
def start_prometheus(tmp_path: Path, at_end: ExitStack) -> Callable[..., Prometheus]:
    """Starts a Prometheus; takes what Prometheus takes beyond its folder."""
    return _starts(Prometheus, tmp_path / "prometheus", at_end)


@pytest.fixture
def new_exporter(tmp_path: Path, at_end: ExitStack) -> Callable[..., Exporter]:
    """Makes an exporter with a ledger of its own; takes what Exporter takes beyond its folder."""
    numbers = count()

    def make(*args: Any, **options: Any) -> Exporter:
        exporter = Exporter(tmp_path / f"exporter-{next(numbers)}", *args, **options)
        at_end.callback(exporter.kill)
        return exporter

    return make
