"""The website as the daemon opens it: settings become a server, and faults name their setting."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from exporter.app.views import ledger_location
from exporter.app.website import Website, open_website
from exporter.clock import Clock, SystemClock
from exporter.errors import ConfigError
from exporter.metrics.catalogue import WEB_CONFIG_RELOADED
from exporter.metrics.exposition import new_registry
from exporter.settings.loading import load
from exporter.web.view import Readiness
from tests.fakes import FakeClock
from tests.metrics_support import one_reading_each
from tests.web_support import HASHED, LIMIT_S, Answer, Client, make_status

TOKEN = "tok_s3cr3t_9f81"


def make_website(*, clock: Clock | None = None, **settings: str) -> Website:
    """A website of these settings; of a free port on loopback unless they name another."""
    registry, collector = new_registry(process=False)
    given = {"CONDUIT_API_TOKEN": TOKEN, "EXPORTER_LISTEN": "127.0.0.1:0", **settings}
    return open_website(
        load(given),
        clock=clock or SystemClock(),
        registry=registry,
        collector=collector,
        readiness=Readiness,
        status=make_status,
    )


@asynccontextmanager
async def started(website: Website) -> AsyncIterator[Website]:
    async with asyncio.timeout(LIMIT_S):
        await website.start()
        try:
            yield website
        finally:
            await website.stop()


async def scrape(website: Website) -> Answer:
    host, _, port = website.url.removeprefix("http://").rpartition(":")
    client = Client(*await asyncio.open_connection(host, int(port)))
    try:
        return await client.ask("/metrics")
    finally:
        await client.close()


def test_the_settings_decide_where_it_listens() -> None:
    """A port of 0 becomes a real one."""

    async def scenario() -> tuple[str, int]:
        async with started(make_website()) as website:
            return website.url, (await scrape(website)).status

    url, status = asyncio.run(scenario())
    assert url.startswith("http://127.0.0.1:")
    assert not url.endswith(":0")
    assert status == 200


def test_a_port_in_use_is_an_error_that_names_the_setting() -> None:
    """And the address, and what the system says."""

    async def scenario() -> str:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(ConfigError) as caught:
                await make_website(EXPORTER_LISTEN=listen).start()
        (problem,) = caught.value.problems
        return problem.replace(listen, "HERE")

    expected = "EXPORTER_LISTEN: HERE cannot be used: Address already in use"
    assert asyncio.run(scenario()) == expected


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("192.0.2.1:0", "Cannot assign requested address"),
        ("no-such-host.invalid:0", ""),
    ],
)
def test_an_address_of_somebody_else_is_an_error(listen: str, words: str) -> None:
    """Whether it is a number or a name that nobody knows."""
    with pytest.raises(ConfigError, match=f"EXPORTER_LISTEN: {listen} cannot be used: {words}"):
        asyncio.run(make_website(EXPORTER_LISTEN=listen).start())


def test_a_port_that_is_lost_while_starting_is_free_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two programs may bind it, and one of them learns of it when it listens."""
    bound: list[socket.socket] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        async def refuse(*_: object, sock: socket.socket, **__: object) -> None:
            bound.append(sock)
            raise OSError(98, "Address already in use")

        monkeypatch.setattr(loop, "create_server", refuse)
        await make_website().start()

    with pytest.raises(ConfigError, match="Address already in use"):
        asyncio.run(scenario())
    assert [one.fileno() for one in bound] == [-1]


def test_a_wrong_web_config_file_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    """Before anything listens, and without what the file holds."""
    path = tmp_path / "web.yml"
    path.write_text("basic_auth_users: {alice: hunter2}\nother: 1\n")
    with pytest.raises(ConfigError) as caught:
        make_website(EXPORTER_WEB_CONFIG_FILE=str(path))
    label = f"EXPORTER_WEB_CONFIG_FILE: {path}"
    assert caught.value.problems == [
        f"{label}: basic_auth_users.alice: is not a bcrypt hash; `htpasswd -nBC 10 NAME` makes one",
        f"{label}: other: unknown key",
    ]


def test_the_state_of_the_web_config_file_is_a_metric(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """1 while the file is the one in use, 0 while an older one is kept."""
    path = tmp_path / "web.yml"
    path.write_text("{}")
    name = WEB_CONFIG_RELOADED.name

    async def scenario() -> tuple[str, str]:
        clock = FakeClock()
        website = make_website(clock=clock, EXPORTER_WEB_CONFIG_FILE=str(path))
        async with started(website):
            before = (await scrape(website)).text
            path.write_text("wrong: 1")
            clock.advance(1)
            return before, (await scrape(website)).text

    with caplog.at_level(logging.CRITICAL):
        before, after = asyncio.run(scenario())
    assert f"\n{name} 1.0\n" in before
    assert f"\n{name} 0.0\n" in after


def test_without_a_web_config_file_there_is_no_metric_of_it() -> None:
    """Nothing was to be loaded."""

    async def scenario() -> str:
        async with started(make_website()) as website:
            return (await scrape(website)).text

    assert WEB_CONFIG_RELOADED.name not in asyncio.run(scenario())
    assert any(reading.metric is WEB_CONFIG_RELOADED for reading in one_reading_each())


def test_users_of_the_file_are_asked_for_their_password(tmp_path: Path) -> None:
    """The file that the setting names is the one that is honoured."""
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{alice: {HASHED}}}")

    async def scenario() -> int:
        async with started(make_website(EXPORTER_WEB_CONFIG_FILE=str(path))) as website:
            return (await scrape(website)).status

    assert asyncio.run(scenario()) == 401


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("sqlite:////var/lib/ledger.db", "sqlite:////var/lib/ledger.db"),
        ("postgresql://me:hunter2@db/runs", "postgresql://me:***@db/runs"),
        ("postgresql://db/runs?user=me&password=hunter2", "postgresql://db/runs"),
    ],
)
def test_the_ledgers_address_is_shown_without_a_password(url: str, location: str) -> None:
    """Wherever in the address it stands."""
    assert ledger_location(url) == location
