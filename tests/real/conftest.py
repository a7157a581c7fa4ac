"""Real parts as fixtures: whatever a test started is ended, and its log shown on failure."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.real import processes
from tests.real.collector import Collector
from tests.real.container import Images
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger
from tests.real.prometheus import Prometheus


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
    """One Jaeger for the whole session; tests are told apart by their trace ids."""
    with ExitStack() as stack:
        backend = Jaeger(tmp_path_factory.mktemp("jaeger"))
        stack.callback(backend.stop)
        backend.start()
        yield backend


@pytest.fixture
def at_end() -> Iterator[ExitStack]:
    """Its callbacks are called when the test has ended, each whatever another one raises."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_jaeger(tmp_path: Path, at_end: ExitStack) -> Callable[[], Jaeger]:
    """Starts a Jaeger of the test's own, to be stopped, started and filled at will."""
    numbers = count()

    def start() -> Jaeger:
        backend = Jaeger(tmp_path / f"jaeger-{next(numbers)}")
        at_end.callback(backend.stop)
        backend.start()
        return backend

    return start


@pytest.fixture
def start_collector(tmp_path: Path, at_end: ExitStack) -> Callable[..., Collector]:
    """Starts a Collector; takes what Collector takes beyond its folder."""
    numbers = count()

    def start(**options: Any) -> Collector:
        collector = Collector(tmp_path / f"otelcol-{next(numbers)}", **options)
        at_end.callback(collector.stop)
        collector.start()
        return collector

    return start


@pytest.fixture
def start_prometheus(tmp_path: Path, at_end: ExitStack) -> Callable[..., Prometheus]:
    """Starts a Prometheus; takes what Prometheus takes beyond its folder."""
    numbers = count()

    def start(**options: Any) -> Prometheus:
        prometheus = Prometheus(tmp_path / f"prometheus-{next(numbers)}", **options)
        at_end.callback(prometheus.stop)
        prometheus.start()
        return prometheus

    return start


@pytest.fixture
def new_exporter(tmp_path: Path, at_end: ExitStack) -> Callable[..., Exporter]:
    """Makes an exporter with a ledger of its own; takes what Exporter takes beyond its folder."""
    numbers = count()

    def make(*args: Any, **options: Any) -> Exporter:
        exporter = Exporter(tmp_path / f"exporter-{next(numbers)}", *args, **options)
        at_end.callback(exporter.kill)
        return exporter

    return make


@pytest.fixture(scope="session")
def images() -> Images:
    """The image builder, with its storage in the cache folder."""
    return Images()
