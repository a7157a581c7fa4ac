"""Real parts as fixtures: whatever a test started is ended, and its log shown on failure."""

from collections.abc import Callable, Generator, Iterator
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
    backend = Jaeger(tmp_path_factory.mktemp("jaeger"))
    backend.start()
    yield backend
    backend.stop()


@pytest.fixture
def start_jaeger(tmp_path: Path) -> Iterator[Callable[[], Jaeger]]:
    """Starts a Jaeger of the test's own, to be stopped, started and filled at will."""
    started: list[Jaeger] = []

    def start() -> Jaeger:
        backend = Jaeger(tmp_path / f"jaeger-{len(started)}")
        started.append(backend)
        backend.start()
        return backend

    yield start
    for backend in started:
        backend.stop()


@pytest.fixture
def start_collector(tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    """Starts a Collector; takes what Collector takes beyond its folder."""
    started: list[Collector] = []

    def start(**options: Any) -> Collector:
        collector = Collector(tmp_path / f"otelcol-{len(started)}", **options)
        started.append(collector)
        collector.start()
        return collector

    yield start
    for collector in started:
        collector.stop()


@pytest.fixture
def start_prometheus(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Starts a Prometheus; takes what Prometheus takes beyond its folder."""
    started: list[Prometheus] = []

    def start(**options: Any) -> Prometheus:
        prometheus = Prometheus(tmp_path / f"prometheus-{len(started)}", **options)
        started.append(prometheus)
        prometheus.start()
        return prometheus

    yield start
    for prometheus in started:
        prometheus.stop()


@pytest.fixture
def new_exporter(tmp_path: Path) -> Iterator[Callable[..., Exporter]]:
    """Makes an exporter with a ledger of its own; takes what Exporter takes beyond its folder."""
    made: list[Exporter] = []

    def make(*args: Any, **options: Any) -> Exporter:
        exporter = Exporter(tmp_path / f"exporter-{len(made)}", *args, **options)
        made.append(exporter)
        return exporter

    yield make
    for exporter in made:
        exporter.kill()


@pytest.fixture(scope="session")
def images() -> Images:
    """The image builder, with its storage in the cache folder."""
    return Images()
