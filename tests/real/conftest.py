"""Real parts as fixtures: whatever a test started is ended, and its log shown on failure."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.real import processes
from tests.real.conduit import Conduit, quiet
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger
from tests.real.odd_runs import example_run


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


@pytest.fixture
def jaeger(tmp_path: Path) -> Iterator[Jaeger]:
    """A Jaeger of the test's own: the same simulation gives the same trace ids."""
    with Jaeger(tmp_path / "jaeger") as backend:
        yield backend


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


@pytest.fixture
def new_exporter(tmp_path: Path, at_end: ExitStack) -> Callable[..., Exporter]:
    """Makes an exporter with a ledger of its own; takes what Exporter takes beyond its folder."""
    numbers = count()

    def make(*args: Any, **options: Any) -> Exporter:
        exporter = Exporter(tmp_path / f"exporter-{next(numbers)}", *args, **options)
        at_end.callback(exporter.kill)
        return exporter

    return make
