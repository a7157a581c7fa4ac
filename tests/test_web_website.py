"""The website of the settings: where it listens, what it says when it cannot, its own metric."""

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from exporter.app.assembly import Exporter
from exporter.app.website import start_website
from exporter.errors import ConfigError
from exporter.metrics.catalogue import WEB_CONFIG_RELOADED
from exporter.settings.loading import load
from exporter.web.server import WebServer
from tests.fakes import FakeClock, inline
from tests.web_support import HASHED

Start = Callable[..., Coroutine[Any, Any, WebServer]]
TOKEN = "tok_s3cr3t_9f81"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the website of an exporter; at a free port on loopback unless settings say another."""
    exporters: list[Exporter] = []

    async def start(**settings: str) -> WebServer:
        given = {
            "CONDUIT_API_TOKEN": TOKEN,
            "EXPORTER_LISTEN": "127.0.0.1:0",
            "EXPORTER_LEDGER": f"sqlite:///{tmp_path}/{len(exporters)}.db",
            **settings,
        }
        exporters.append(
            Exporter(
                load(given),
                clock=FakeClock(),
                rng=random.Random(1),
                sender=None,
                executor=inline,
            )
        )
        return await start_website(exporters[-1])

    yield start
    for exporter in exporters:
        asyncio.run(exporter.close())


async def scrape(website: WebServer) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"{website.url}/metrics")


@contextlib.contextmanager
def config_error() -> Iterator[list[str]]:
    """The problems of the error that this raises."""
    problems: list[str] = []
    with pytest.raises(ConfigError) as caught:
        yield problems
    problems += caught.value.problems


def test_it_serves_until_it_is_stopped(start: Start) -> None:
    """A port of 0 becomes a real one; whoever waits for its end learns of it."""

    async def scenario() -> tuple[str, int]:
        website = await start()
        waiting = asyncio.create_task(website.wait())
        answer = await scrape(website)
        assert not waiting.done()
        await website.stop()
        await waiting
        return website.url, answer.status_code

    url, status = asyncio.run(scenario())
    assert url.startswith("http://127.0.0.1:")
    assert not url.endswith(":0")
    assert status == 200


def test_stopping_twice_is_stopping_once(start: Start) -> None:
    """Whoever comes second waits for nothing."""

    async def scenario() -> None:
        website = await start()
        for _ in range(2):
            await website.stop()

    asyncio.run(scenario())


def test_a_port_in_use_is_an_error_that_names_the_setting(start: Start) -> None:
    """And the address, and what the system says."""
    with socket.create_server(("127.0.0.1", 0)) as taken, config_error() as problems:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        asyncio.run(start(EXPORTER_LISTEN=listen))
    expected = f"EXPORTER_LISTEN: {listen} cannot be used: Address already in use"
    assert problems[0].startswith(expected)


@pytest.mark.parametrize(
    ("listen", "words"),
    [("192.0.2.1:0", "Cannot assign requested address"), ("no-such-host.invalid:0", "")],
)
def test_an_address_of_somebody_else_is_an_error(start: Start, listen: str, words: str) -> None:
    """Whether it is a number or a name that nobody knows."""
    with config_error() as problems:
        asyncio.run(start(EXPORTER_LISTEN=listen))
    assert problems[0].startswith(f"EXPORTER_LISTEN: {listen} cannot be used: {words}")


def test_a_wrong_web_config_file_is_an_error_that_names_the_setting(
    start: Start, tmp_path: Path
) -> None:
    """Before anything listens, and without what the file holds."""
    path = tmp_path / "web.yml"
    path.write_text("basic_auth_users: {alice: hunter2}\nother: 1\n")
    with config_error() as problems:
        asyncio.run(start(EXPORTER_WEB_CONFIG_FILE=str(path)))
    label = f"EXPORTER_WEB_CONFIG_FILE: {path}"
    no_hash, unknown = problems
    assert no_hash.startswith(f"{label}: basic_auth_users.alice: is not a bcrypt hash; ")
    assert unknown.startswith(f"{label}: other: is not supported; ")


def test_the_state_of_the_web_config_file_is_a_metric(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """1 while the file is the one in use, 0 while an older one is kept."""
    path = tmp_path / "web.yml"
    path.write_text("{}")

    async def scenario() -> str:
        website = await start(EXPORTER_WEB_CONFIG_FILE=str(path))
        shown = [(await scrape(website)).text]
        path.write_text("wrong: 1")
        while len(shown) < 1000 and f"\n{WEB_CONFIG_RELOADED.name} 1.0\n" in shown[-1]:
            shown.append((await scrape(website)).text)
        await website.stop()
        assert len(shown) > 1
        return shown[-1]

    with caplog.at_level(logging.CRITICAL):
        assert f"\n{WEB_CONFIG_RELOADED.name} 0.0\n" in asyncio.run(scenario())


def test_users_of_the_file_are_asked_for_their_password(start: Start, tmp_path: Path) -> None:
    """The file that the setting names is the one that is honoured; without one, nobody is asked."""
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{alice: {HASHED}}}")

    async def scenario(**settings: str) -> httpx.Response:
        website = await start(**settings)
        answer = await scrape(website)
        await website.stop()
        return answer

    assert asyncio.run(scenario(EXPORTER_WEB_CONFIG_FILE=str(path))).status_code == 401
    answer = asyncio.run(scenario())
    assert answer.status_code == 200
    assert WEB_CONFIG_RELOADED.name not in answer.text
