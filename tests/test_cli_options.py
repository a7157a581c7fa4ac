"""What `run` and `demo` make of their options and of the environment, before anything starts."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from exporter import logs
from exporter.app import daemon
from exporter.app import demo as app_demo
from exporter.cli import main
from exporter.settings.addresses import ListenAddress
from exporter.settings.demo import DemoOptions
from exporter.settings.model import Settings

OURS = ("CONDUIT_", "EXPORTER_", "OTEL_")
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


@pytest.fixture(autouse=True)
def plain_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """None of the developer's settings, and the process's loggers given back as they were."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in logs._CHATTY}
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, one in levels.items():
        logging.getLogger(name).setLevel(one)


def options_of(monkeypatch: pytest.MonkeyPatch, *arguments: str, **environ: str) -> DemoOptions:
    """What the demonstration would be run with."""
    taken: list[DemoOptions] = []

    async def run_demo(options: DemoOptions, *, write: Callable[[str], object]) -> int:
        await asyncio.sleep(0)
        taken.append(options)
        write("shown")
        return 0

    monkeypatch.setattr(app_demo, "run_demo", run_demo)
    result = CliRunner().invoke(main, ["demo", *arguments], env=environ)
    assert (result.exit_code, result.output) == (0, "shown\n")
    return taken[0]


def test_the_demo_needs_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """It listens on this machine alone, sends nothing, and runs until it is told to end."""
    assert options_of(monkeypatch) == DemoOptions(
        listen=ListenAddress("127.0.0.1", 10464), otlp={}, seed=1, rate=1.0, duration_s=None
    )


def test_the_demo_takes_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, seed, rate, duration."""
    arguments = ["--listen", "[::1]:0", "--seed", "7", "--rate", "20", "--duration", "1m"]
    assert options_of(monkeypatch, *arguments) == DemoOptions(
        listen=ListenAddress("::1", 0), otlp={}, seed=7, rate=20.0, duration_s=60.0
    )


@pytest.mark.parametrize(
    ("arguments", "environ", "otlp"),
    [
        ([], {ENDPOINT: "http://e"}, {ENDPOINT: "http://e"}),
        ([], {TRACES_ENDPOINT: "http://t"}, {TRACES_ENDPOINT: "http://t"}),
        ([], {HEADERS: "a=b", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m"}, {}),
        ([], {ENDPOINT: " "}, {}),
        (["--otlp-protocol", "grpc"], {}, {}),
        (["--otlp-endpoint", "http://o"], {}, {ENDPOINT: "http://o"}),
        (
            ["--otlp-endpoint", "http://o"],
            {ENDPOINT: "http://e", TRACES_ENDPOINT: "http://t", HEADERS: "a=b"},
            {ENDPOINT: "http://o", HEADERS: "a=b"},
        ),
        (
            ["--otlp-protocol", "grpc"],
            {ENDPOINT: "http://e", TRACES_PROTOCOL: "http/protobuf"},
            {ENDPOINT: "http://e", PROTOCOL: "grpc"},
        ),
    ],
)
def test_the_demo_sends_to_the_backend_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environ: dict[str, str],
    otlp: dict[str, str],
) -> None:
    """An option goes before the environment, and without an endpoint nothing is sent."""
    assert options_of(monkeypatch, *arguments, **environ).otlp == otlp


def test_the_demo_ignores_settings_of_the_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real token in the environment is no reason to read a real Conduit."""
    environ = {"CONDUIT_API_TOKEN": "cdt_hunter2", "EXPORTER_LISTEN": "0.0.0.0:1", "CONDUIT_X": "1"}
    assert options_of(monkeypatch, **environ) == options_of(monkeypatch)


def test_run_serves_with_the_settings_and_logs_as_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The daemon gets the settings; what it logs is JSON, at the level asked for, masked."""

    async def serve(settings: Settings) -> int:
        await asyncio.sleep(0)
        logging.getLogger("exporter.app").debug("token %s", "cdt_hunter2")
        return 3 if settings.log_level == "debug" else 0

    monkeypatch.setattr(daemon, "serve", serve)
    environ: dict[str, Any] = {
        "CONDUIT_API_TOKEN": "cdt_hunter2",
        "EXPORTER_LOG_LEVEL": "debug",
        "EXPORTER_LOG_FORMAT": "json",
    }
    result = CliRunner().invoke(main, ["run"], env=environ)
    assert result.exit_code == 3
    assert '"message": "token [secret]"' in result.stderr
    assert "hunter2" not in result.output
