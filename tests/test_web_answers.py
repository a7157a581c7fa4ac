"""Answers that are shared: rendered once for a crowd, new for whoever comes later."""

import asyncio
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

import exporter.web
from exporter.metrics.reading import Reading
from exporter.web.encoding import compressed
from exporter.web.server import WebServer
from tests.fakes import FakeClock
from tests.metrics_support import one_reading_each
from tests.web_support import ask, connected, make_registry, running


class Scrapes:
    """A source that counts how often it is read, each time taking so long."""

    def __init__(self, clock: FakeClock, *, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.count = 0

    def __call__(self) -> Iterator[Reading]:
        self.count += 1
        self.clock.advance(self.seconds)
        return one_reading_each()


def scrapes(*accepted: str, seconds: float, crowd: int) -> int:
    """How often the source was read for a crowd that scrapes at the same time."""

    async def scenario() -> int:
        clock = FakeClock()
        source = Scrapes(clock, seconds=seconds)
        registry = make_registry(source)
        async with running(clock=clock, registry=registry) as server:
            await asyncio.gather(
                *(ask(server, "/metrics", accept=one) for one in accepted for _ in range(crowd))
            )
        return source.count

    return asyncio.run(scenario())


def test_a_crowd_is_served_one_rendering() -> None:
    """Rendering is the dear part, and it stops everything else."""
    assert scrapes("text/plain", seconds=2, crowd=30) == 1


def test_each_format_is_rendered_for_itself() -> None:
    """Whoever asks for OpenMetrics is not given the text."""
    assert scrapes("text/plain", "application/openmetrics-text", seconds=2, crowd=10) == 2


def test_a_quick_rendering_is_not_kept() -> None:
    """Each scrape sees what is now, where that costs nothing."""

    async def scenario() -> int:
        clock = FakeClock()
        source = Scrapes(clock, seconds=0)
        registry = make_registry(source)
        async with running(clock=clock, registry=registry) as server, connected(server) as client:
            for _ in range(5):
                await client.ask("/metrics")
        return source.count

    assert asyncio.run(scenario()) == 5


def test_gzip_of_a_shared_answer_is_made_once() -> None:
    """All of the crowd get the same bytes."""

    async def scenario(server: WebServer) -> set[bytes]:
        answers = await asyncio.gather(
            *(ask(server, "/metrics", accept_encoding="gzip") for _ in range(20))
        )
        return {one.body for one in answers}

    async def run() -> tuple[set[bytes], int]:
        clock = FakeClock()
        async with running(
            clock=clock, registry=make_registry(Scrapes(clock, seconds=2))
        ) as server:
            bodies = await scenario(server)
        return bodies, len(clock.slept)

    bodies, pieces = asyncio.run(run())
    assert len(bodies) == 1
    assert pieces == 1


def test_compressing_lets_others_run() -> None:
    """Between pieces, and the result is the same as in one go."""

    async def scenario() -> tuple[bytes, int]:
        clock = FakeClock()
        packed = await compressed(bytes(1024 * 1024), clock=clock)
        return packed, len(clock.slept)

    packed, pauses = asyncio.run(scenario())
    assert gzip.decompress(packed) == bytes(1024 * 1024)
    assert pauses == 16


@pytest.mark.parametrize("name", ["status.html", "status.css"])
def test_the_files_of_the_page_are_in_the_package(name: str) -> None:
    """Beside the code that reads them."""
    assert (Path(exporter.web.__file__).parent / name).is_file()
