"""The website of the settings: where it listens, what it says when it cannot, its own metric."""

import asyncio
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
from tests.web_support import HASHED, PASSWORD

Start = Callable[..., Coroutine[Any, Any, WebServer]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the website of an exporter; at a free port on loopback unless settings say another."""
    exporters: list[Exporter] = []

    async def start(**settings: str) -> WebServer:
        given = {
            "CONDUIT_API_TOKEN": "tok_s3cr3t_9f81",
            "EXPORTER_LISTEN": "127.0.0.1:0",
            "EXPORTER_LEDGER": f"sqlite:///{tmp_path}/ledger.db",
            **settings,
        }
        rng = random.Random(1)
        exporter = Exporter(load(given), clock=FakeClock(), rng=rng, sender=None, executor=inline)
        exporters.append(exporter)
        return await start_website(exporter)

    yield start
    for exporter in exporters:
        asyncio.run(exporter.close())


def problems_of(start: Start, **settings: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        asyncio.run(start(**settings))
    return caught.value.problems


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("127.0.0.1", "Address already in use"),
        ("192.0.2.1", "Cannot assign requested address"),
        ("no-such-host.invalid", ""),
    ],
)
def test_an_address_that_cannot_be_had_is_an_error(start: Start, host: str, words: str) -> None:
    """It names the setting and the address, and what the system says."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"{host}:{taken.getsockname()[1]}"
        (problem,) = problems_of(start, EXPORTER_LISTEN=listen)
    assert problem.startswith(f"EXPORTER_LISTEN: {listen} cannot be used: {words}")


def test_a_wrong_web_config_file_is_an_error_that_names_the_setting(
    start: Start, tmp_path: Path
) -> None:
    """Before anything listens, and without what the file holds."""
    path = tmp_path / "web.yml"
    path.write_text("basic_auth_users: {alice: hunter2}\nother: 1\n")
    no_hash, unknown = problems_of(start, EXPORTER_WEB_CONFIG_FILE=str(path))
    label = f"EXPORTER_WEB_CONFIG_FILE: {path}"
    assert no_hash.startswith(f"{label}: basic_auth_users.alice: is not a bcrypt hash; ")
    assert unknown.startswith(f"{label}: other: is not supported; ")


def test_the_web_config_file_is_honoured_and_its_state_is_a_metric(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its users are asked for; 1 while it is the one in use, 0 while an older one is kept."""
    path = tmp_path / "web.yml"
    path.write_text(f"basic_auth_users: {{alice: {HASHED}}}")
    changed = tmp_path / "new.yml"
    changed.write_text("wrong: 1")

    async def scenario() -> str:
        website = await start(EXPORTER_WEB_CONFIG_FILE=str(path))
        async with httpx.AsyncClient(base_url=website.url, trust_env=False) as client:
            assert (await client.get("/metrics")).status_code == 401
            client.auth = ("alice", PASSWORD)
            shown = (await client.get("/metrics")).text
            assert f"\n{WEB_CONFIG_RELOADED.name} 1.0\n" in shown
            changed.replace(path)
            for _ in range(1000):
                if f"\n{WEB_CONFIG_RELOADED.name} 1.0\n" in shown:
                    shown = (await client.get("/metrics")).text
        await website.stop()
        return shown

    with caplog.at_level(logging.CRITICAL):
        assert f"\n{WEB_CONFIG_RELOADED.name} 0.0\n" in asyncio.run(scenario())
