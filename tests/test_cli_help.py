"""The command line as a newcomer meets it: help, wrong usage, what a command is called with."""

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner

import exporter
from exporter.app import checks, daemon
from exporter.app import demo as app_demo
from exporter.app.demo import DemoOptions
from exporter.cli.commands import cli
from exporter.errors import ConfigError, LedgerLocked, SourceUnauthorized
from exporter.settings.addresses import ListenAddress
from exporter.settings.model import Settings
from tests.cli_support import OURS, invoke, plain_process  # noqa: F401 - the fixture of every test

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
ABOUT = """\
Usage: conduit-exporter [OPTIONS] COMMAND [ARGS]...

  Conduit agent runs as OpenTelemetry traces and Prometheus metrics.

  Reads your agents' runs from the Conduit API, sends each as a trace to your
  trace backend (OTLP), and serves counts, tokens and cost on /metrics.

  Try it, with nothing else needed:
    conduit-exporter demo

  Use it:
    export CONDUIT_API_TOKEN=...   OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318
    conduit-exporter check
    conduit-exporter run

  Settings come from the environment, or from a file of NAME=VALUE lines given
  with --env-file; the environment goes before the file. config.example.env
  explains every one of them.

  Exit codes: 0 done, 1 failed, 2 wrong usage or settings.

Options:
  --env-file FILE  Read settings from this file too.
  --version        Show the version and exit.
  --help           Show this message and exit.

Commands:
  run          Run the daemon, until SIGTERM or Ctrl-C.
  once         Fetch and deliver all that is visible now, then end.
  backfill     Trace runs from before the look-back.
  replay       Send traces again from the ledger.
  reconcile    Compare Conduit with the ledger, and repair it.
  check        Check settings, token, ledger and trace backend, a line each.
  demo         Show all of it against a simulated Conduit.
  convert      Show the trace that a run becomes, offline.
  trace-id     Print the id under which a run's trace is found.
  healthcheck  Ask the daemon on this machine how it is.
"""


def helped(*arguments: str) -> str:
    """A help text, at the width of a terminal that tells none."""
    result = CliRunner().invoke(cli, [*arguments, "--help"], prog_name="conduit-exporter")
    assert result.exit_code == 0
    assert result.stderr == ""
    return "\n".join(line.rstrip() for line in result.stdout.splitlines())


def test_the_help_tells_a_newcomer_how_to_begin() -> None:
    """What it is, two ways to start, where settings come from; each command in a line."""
    assert helped() == ABOUT.rstrip()


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_explains_itself(name: str) -> None:
    """A sentence that says what it does, what to know of it, and each option, in 80 columns."""
    command = cli.commands[name]
    summary, *more = (command.help or "").split("\n\n")
    assert " ".join(summary.split()) in " ".join(helped(name).split())
    assert summary.endswith(".")
    assert more
    assert max(map(len, helped(name).splitlines())) <= 80
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert all((one.help or "").endswith((".", "]")) for one in options)


def test_the_version_is_the_package_s() -> None:
    """`--version` needs no settings."""
    result = invoke("--version")
    assert (result.exit_code, result.stdout) == (
        0,
        f"conduit-exporter, version {exporter.__version__}\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs"], "No such command 'runs'"),
        (["run", "now"], "Got unexpected extra argument (now)"),
        (["--env", "x", "run"], "No such option '--env'. Did you mean '--env-file'?"),
        (["--env-file", "/", "check"], "is a directory"),
        (["demo", "--rate", "0"], "0.0 is not in the range"),
        (["demo", "--listen", "here"], "'here' is no address to listen on; allowed: host:port"),
        (["demo", "--duration", "30"], "'30' is no duration; allowed: a number and a unit"),
        (["demo", "--otlp-protocol", "http"], "'http' is not one of 'http/protobuf', 'grpc'"),
        (["convert"], "Missing argument 'FILE|-'"),
        (["convert", "/absent"], "No such file or directory"),
        (["convert", "--format", "xml", "-"], "'xml' is not one of 'tree', 'otlp-json'"),
        (["trace-id", "ag1"], "Missing argument 'RUN'"),
        (["backfill"], "Missing option '--since'"),
        (["replay", "--since", "soon"], "'soon' is no moment"),
        (["reconcile", "--since", "2999-01-01"], "'2999-01-01' lies in the future"),
        (["backfill", "--since", "1h", "--until", "2h"], "lies before --since"),
        (["healthcheck", "--timeout", "0"], "0.0 is not in the range"),
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


def test_a_settings_file_that_is_not_there_ends_with_2() -> None:
    """It is named, and so is what it would have held."""
    result = invoke("--env-file", "absent.env", "check")
    assert result.exit_code == 2
    assert "error: absent.env: cannot be read: No such file or directory\n" in result.stderr


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


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no error of the tree is a bug, and shows where it is."""
    monkeypatch.setattr(checks, "check_all", lambda _: 1 // 0)
    result = CliRunner().invoke(cli, ["check"], env={"CONDUIT_API_TOKEN": TOKEN})
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--version"], 0), (["check"], 2), (["nonsense"], 2)]
)
def test_the_module_is_the_command(arguments: list[str], code: int) -> None:
    """`python -m exporter` answers as a process, with its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "exporter", *arguments],
        env={name: text for name, text in os.environ.items() if not name.startswith(OURS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def options_of(monkeypatch: pytest.MonkeyPatch, *arguments: str, **environ: str) -> DemoOptions:
    """What the demonstration would be run with."""
    taken: list[DemoOptions] = []

    async def run_demo(
        options: DemoOptions, *, write: Callable[[str], object], stop: asyncio.Event
    ) -> int:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), timeout=0)
        taken.append(options)
        write("shown")
        return 0

    monkeypatch.setattr(app_demo, "run_demo", run_demo)
    result = invoke("demo", *arguments, **environ)
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

    async def serve(settings: Settings, *, stop: asyncio.Event) -> int:
        assert not stop.is_set()
        logging.getLogger("exporter.app").debug("token %s", TOKEN)
        return 3 if settings.log_level == "debug" else 0

    monkeypatch.setattr(daemon, "serve", serve)
    result = invoke(
        "run", CONDUIT_API_TOKEN=TOKEN, EXPORTER_LOG_LEVEL="debug", EXPORTER_LOG_FORMAT="json"
    )
    assert result.exit_code == 3
    assert '"message": "token [secret]"' in result.stderr
    assert "hunter2" not in result.output
