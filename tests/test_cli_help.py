"""The command line as a newcomer meets it: help, wrong usage, what a command is called with."""

import asyncio
import logging

import pytest

from exporter.app import checks, daemon
from exporter.app import demo as app_demo
from exporter.app.demo import DemoOptions
from exporter.errors import ConfigError, LedgerLocked, SourceUnauthorized
from exporter.settings.model import Settings
from tests.cli_support import invoke

TOKEN = "cdt_hunter2"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
COMMANDS_WITH_SETTINGS = [
    *(["run"], ["once"], ["check"], ["trace-id", "ag1", "ar1"], ["backfill", "--since", "1d"]),
    *(["replay", "--since", "1d"], ["reconcile", "--since", "1d"]),
]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs"], "No such command 'runs'"),
        (["run", "now"], "Got unexpected extra argument (now)"),
        (["--env", "x", "run"], "No such option '--env'. Did you mean '--env-file'?"),
        (["--env-file", "/", "check"], "is a directory"),
        (["--env-file", "/absent", "healthcheck"], "/absent: cannot be read"),
        (["demo", "--listen", "here"], "'here' is no address to listen on; allowed: host:port"),
        (["demo", "--duration", "30"], "'30' is no duration; allowed: a number and a unit"),
        (["convert", "/absent"], "No such file or directory"),
        (["convert", "--format", "xml", "-"], "'xml' is not one of 'tree', 'otlp-json'"),
        (["backfill"], "Missing option '--since'"),
        (["replay", "--since", "soon"], "'soon' is no moment"),
        (["reconcile", "--since", "2999-01-01"], "'2999-01-01' lies in the future"),
        (["backfill", "--since", "1h", "--until", "2h"], "lies before --since"),
    ],
)
def test_wrong_usage_ends_with_2_and_words(arguments: list[str], said: str) -> None:
    """What is wrong stands on standard error, and nothing on standard output."""
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""


@pytest.mark.parametrize("command", COMMANDS_WITH_SETTINGS, ids=lambda one: one[0])
def test_wrong_settings_end_with_2_and_every_problem(command: list[str]) -> None:
    """Each on a line, by its name; the commands that need settings share this."""
    result = invoke(
        *command, EXPORTER_RETENTION="1", CONDUIT_AGENT="x", OTEL_EXPORTER_OTLP_TIMEOUT="1s"
    )
    assert result.exit_code == 2
    assert result.stdout == ""
    assert [line.split(":")[1].strip() for line in result.stderr.splitlines()] == [
        "CONDUIT_AGENT",
        "CONDUIT_API_TOKEN",
        "EXPORTER_RETENTION",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
    ]
    assert all(line.startswith("error: ") for line in result.stderr.splitlines())


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError(["A: is wrong", "B: too"]), 2, "error: A: is wrong\nerror: B: too\n"),
        (LedgerLocked(hint="stop it"), 1, "error: Another process holds the ledger. (stop it)\n"),
        (SourceUnauthorized("no (401)"), 1, "error: no (401)\n"),
        (KeyboardInterrupt(), 1, "\nAborted!\n"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else "",
)
def test_an_error_of_ours_ends_with_its_number_and_words(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    """A line for each problem, and never a traceback."""

    async def check_all(_: Settings) -> None:
        await asyncio.sleep(0)
        raise error

    monkeypatch.setattr(checks, "check_all", check_all)
    result = invoke("check", CONDUIT_API_TOKEN=TOKEN)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", said)


@pytest.mark.parametrize(
    ("arguments", "environ", "otlp"),
    [
        ([], {ENDPOINT: "http://e"}, {ENDPOINT: "http://e"}),
        ([], {TRACES_ENDPOINT: "http://t"}, {TRACES_ENDPOINT: "http://t"}),
        ([], {ENDPOINT: " "}, {}),
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

    async def run_demo(options: DemoOptions, **_: object) -> int:
        assert options.otlp == otlp
        return 3

    monkeypatch.setattr(app_demo, "run_demo", run_demo)
    assert invoke("demo", *arguments, **environ).exit_code == 3


def test_the_demo_links_to_a_jaeger_on_this_machine() -> None:
    """A backend at a loopback address is taken for a Jaeger with its usual ports."""
    jaeger = "http://localhost:16686/trace/{trace_id}"
    assert app_demo._link_to_jaeger({ENDPOINT: "http://127.0.0.1:9"}) == jaeger
    assert app_demo._link_to_jaeger({TRACES_ENDPOINT: "localhost:4317"}) == jaeger
    assert app_demo._link_to_jaeger({ENDPOINT: "http://elsewhere:4318"}) == ""


def test_run_serves_with_the_settings_and_logs_as_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """JSON, at the level asked for, masked; the daemon's code is the command's."""

    async def serve(_: Settings, *, stop: asyncio.Event, on_fault: object) -> int:
        logging.getLogger("exporter.app").debug("token %s", TOKEN)
        return 3

    monkeypatch.setattr(daemon, "serve", serve)
    settings = {"EXPORTER_LOG_LEVEL": "debug", "EXPORTER_LOG_FORMAT": "json"}
    result = invoke("run", CONDUIT_API_TOKEN=TOKEN, **settings)
    assert result.exit_code == 3
    assert '"message": "token [secret]"' in result.stderr
