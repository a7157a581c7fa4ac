"""The command line as a newcomer meets it: help, versions, wrong usage."""

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

import exporter
from exporter.cli import main
from exporter.cli.ending import ends_well
from exporter.errors import ConfigError, LedgerLocked, SourceUnauthorized

OURS = ("CONDUIT_", "EXPORTER_", "OTEL_")
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
  check        Check settings, token, ledger and trace backend, a line each.
  demo         Show all of it against a simulated Conduit.
  convert      Show the trace that a run becomes, offline.
  trace-id     Print the id under which a run's trace is found.
  healthcheck  Ask the daemon on this machine how it is.
"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the developer has set says nothing here."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)


def commands() -> Iterator[tuple[str, click.Command]]:
    yield from main.commands.items()


def helped(*arguments: str) -> str:
    """A help text, at the width of a terminal that tells none."""
    result = CliRunner().invoke(main, [*arguments, "--help"], prog_name="conduit-exporter")
    assert result.exit_code == 0
    assert result.stderr == ""
    return result.stdout


def test_the_help_tells_a_newcomer_how_to_begin() -> None:
    """What it is, two ways to start, where settings come from; each command in a line."""
    shown = [line.rstrip() for line in helped().splitlines()]
    expected = ABOUT.splitlines()
    start = expected.index("Commands:")
    assert shown[: start + 1] == expected[: start + 1]
    listed = [line for line in shown if line in expected[start + 1 :]]
    assert listed == expected[start + 1 :]


def test_every_command_explains_itself() -> None:
    """A sentence that says what it does, then what to know of it, in 80 columns."""
    for name, command in commands():
        text = helped(name)
        summary = " ".join((command.help or "").split("\n\n")[0].split())
        assert summary.endswith(".")
        assert summary in " ".join(text.split())
        assert len((command.help or "").split("\n\n")) >= 2, f"{name} says no more than its name"
        assert max(map(len, text.splitlines())) <= 80


def test_every_option_has_a_help_text() -> None:
    """With its default where it has one that counts."""
    for name, command in [("conduit-exporter", main), *commands()]:
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts[0]}"
                assert parameter.help.endswith((".", "]"))
                valued = parameter.default not in (None, False) and parameter.expose_value
                if valued and not parameter.is_flag and isinstance(parameter.default, int | float):
                    assert parameter.show_default


def test_the_version_is_the_package_s() -> None:
    """`--version` needs no settings."""
    result = CliRunner().invoke(main, ["--version"])
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
        (["healthcheck", "--timeout", "0"], "0.0 is not in the range"),
    ],
)
def test_wrong_usage_ends_with_2_and_words(arguments: list[str], said: str) -> None:
    """What is wrong stands on standard error, and nothing on standard output."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", [["run"], ["once"], ["check"], ["trace-id", "ag1", "ar1"]])
def test_wrong_settings_end_with_2_and_every_problem(command: list[str]) -> None:
    """Each on a line, by its name; the commands that need settings share this."""
    environ = {"EXPORTER_LEASE": "1", "CONDUIT_AGENT": "x", "OTEL_EXPORTER_OTLP_TIMEOUT": "1s"}
    result = CliRunner().invoke(main, command, env=environ)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert [line.split(":")[1].strip() for line in result.stderr.splitlines()] == [
        "CONDUIT_AGENT",
        "CONDUIT_API_TOKEN",
        "EXPORTER_LEASE",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
    ]
    assert all(line.startswith("error: ") for line in result.stderr.splitlines())


def test_a_settings_file_that_is_not_there_ends_with_2() -> None:
    """It is named, and so is what it would have held."""
    result = CliRunner().invoke(main, ["--env-file", "absent.env", "check"])
    assert result.exit_code == 2
    assert "error: absent.env: cannot be read: No such file or directory\n" in result.stderr


@pytest.mark.parametrize(
    ("ended", "code", "said"),
    [
        (0, 0, ""),
        (1, 1, ""),
        (ConfigError(["A: is wrong", "B: too"]), 2, "error: A: is wrong\nerror: B: too\n"),
        (LedgerLocked(hint="stop it"), 1, "error: Another process holds the ledger. (stop it)\n"),
        (SourceUnauthorized("no (401)"), 1, "error: no (401)\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_command_ends_with_its_number_and_words(
    capsys: pytest.CaptureFixture[str], ended: int | BaseException, code: int, said: str
) -> None:
    """Errors of ours are said, and never as a traceback."""

    @ends_well
    def command() -> int:
        if isinstance(ended, BaseException):
            raise ended
        return ended

    with pytest.raises(SystemExit) as caught:
        command()
    assert caught.value.code == code
    assert capsys.readouterr().err == said


def test_a_fault_of_ours_is_not_hidden() -> None:
    """What is no error of the tree is a bug, and shows where it is."""

    @ends_well
    def command() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()


def test_the_module_is_the_command() -> None:
    """`python -m exporter` answers as a process, with its exit code."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
    for arguments, code in ((["--version"], 0), (["check"], 2), (["nonsense"], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "exporter", *arguments],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code
        assert "Traceback" not in done.stderr
