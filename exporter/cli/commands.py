"""The commands and their options, in the order in which a newcomer meets them.

Each returns its exit code, and imports what it needs when it is used: `healthcheck` starts in the
time of its own.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from exporter import __version__, logs
from exporter.cli.history import backfill, progress_bar, reconcile, replay
from exporter.cli.options import DURATION_S, LISTEN, load_settings
from exporter.cli.signals import SIGNALS
from exporter.errors import ConfigError, ExporterError
from exporter.settings.values import ListenAddress

_ABOUT: Final = """\
Conduit agent runs as OpenTelemetry traces and Prometheus metrics.

Reads your agents' runs from the Conduit API, sends each as a trace to your trace backend (OTLP),
and serves counts, tokens and cost on /metrics.

\b
Try it, with nothing else needed:
  conduit-exporter demo

\b
Use it:
  export CONDUIT_API_TOKEN=...   OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318
  conduit-exporter check
  conduit-exporter run

Settings come from the environment, or from a file of NAME=VALUE lines given with --env-file; the
environment goes before the file. config.example.env explains every one of them.

\b
Exit codes: 0 done, 1 failed, 2 wrong usage or settings.
"""
_OTLP: Final = "OTEL_EXPORTER_OTLP_"


class _Failure(click.ClickException):
    """An error of ours, in words and never as a traceback: a line for each problem."""

    def show(self, file: Any = None) -> None:
        for problem in self.message.splitlines():
            click.echo(f"error: {problem}", file=file, err=True)


class _WrongSettings(_Failure):
    """Settings that cannot be used."""

    exit_code = 2


class _Commands(click.Group):
    """Lists the commands as they were added, and ends each with its code or its error."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
        except ConfigError as error:
            raise _WrongSettings(str(error)) from error
        except ExporterError as error:
            raise _Failure(str(error)) from error
        finally:
            logs.flush()
        ctx.exit(code)


@click.group(cls=_Commands, help=_ABOUT, context_settings={"max_content_width": 100})
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Read settings from this file too.",
)
@click.version_option(__version__, prog_name="conduit-exporter")
@click.pass_context
def cli(context: click.Context, env_file: Path | None) -> None:
    """Keep what all commands share."""
    context.obj = env_file


@cli.command()
@click.pass_obj
def run(env_file: Path | None) -> int:
    """Run the daemon, until SIGTERM or Ctrl-C.

    It delivers what it has fetched before it ends, within ten seconds; whatever is left lies in
    the ledger, and the next start goes on with it.
    """
    settings = load_settings(env_file)
    from exporter.app.daemon import serve

    return SIGNALS.run(
        lambda stop: serve(settings, stop=stop, on_fault=lambda: SIGNALS.end_in_time(1))
    )


@cli.command()
@click.pass_obj
def once(env_file: Path | None) -> int:
    """Fetch and deliver all that is visible now, then end.

    For a scheduled job. It keeps the request budget, so a large history takes its time; the same
    ledger makes the next pass short. Ends with 1 if anything could not be read or delivered.
    """
    settings = load_settings(env_file)
    from exporter.app.single import run_pass

    with progress_bar("Traces") as show:
        return SIGNALS.run(lambda stop: run_pass(settings, show=show, stop=stop))


cli.add_command(backfill)
cli.add_command(replay)
cli.add_command(reconcile)


@cli.command()
@click.pass_obj
def check(env_file: Path | None) -> int:
    """Check settings, token, ledger and trace backend, a line each.

    Changes nothing, and sends no trace. Costs a request for each workspace and one more.
    """
    settings = load_settings(env_file)
    import asyncio

    from exporter.app.checks import check_all

    lines = asyncio.run(check_all(settings))
    for line in lines:
        click.echo(f"{'ok    ' if line.ok else 'FAILED'}  {line.subject}: {line.message}")
    return 0 if all(line.ok for line in lines) else 1


@cli.command()
@click.option(
    "--listen",
    type=LISTEN,
    default="127.0.0.1:10464",
    show_default=True,
    help="Address and port.",
)
@click.option(
    "--otlp-endpoint",
    metavar="URL",
    help="A trace backend to send to, such as http://localhost:4318 "
    "[default: OTEL_EXPORTER_OTLP_ENDPOINT, else traces are printed]",
)
@click.option(
    "--otlp-protocol",
    type=click.Choice(["http/protobuf", "grpc"]),
    help="How to speak to it. [default: http/protobuf]",
)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same runs.")
@click.option(
    "--rate",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0.001, max=1000),
    help="1 is a new run every four seconds.",
)
@click.option(
    "--duration",
    "duration_s",
    type=DURATION_S,
    metavar="TIME",
    help="End after this long, such as 30s or 5m.",
)
def demo(
    *,
    listen: ListenAddress,
    otlp_endpoint: str | None,
    otlp_protocol: str | None,
    seed: int,
    rate: float,
    duration_s: float | None,
) -> int:
    """Show all of it against a simulated Conduit.

    A hotel group's agents are at work: runs arrive, stay in flight and end. Nothing else is needed,
    no token either, and no file is left behind.
    """
    from exporter.app.demo import DemoOptions, run_demo

    options = DemoOptions(
        listen=listen,
        otlp=_demo_backend(os.environ, otlp_endpoint, otlp_protocol),
        trace_link=os.environ.get("EXPORTER_TRACE_LINK"),
        seed=seed,
        rate=rate,
        duration_s=duration_s,
    )
    logs.configure()
    return SIGNALS.run(lambda stop: run_demo(options, write=click.echo, stop=stop))


@cli.command()
@click.argument("source", type=click.File("rb"), metavar="FILE|-")
@click.option(
    "--format",
    "style",
    type=click.Choice(["tree", "otlp-json"]),
    default="tree",
    show_default=True,
    help="A tree to read, or an OTLP export request a line.",
)
@click.option("--agent-name", help="The agent's name, which a run does not tell.")
@click.option(
    "--tool-timing",
    type=click.Choice(["instants", "slices"]),
    default="instants",
    show_default=True,
    help="How to draw tool calls without a time of their own.",
)
@click.option("--capture-content", is_flag=True, help="Show content too, masked.")
def convert(
    source: Any, *, style: str, agent_name: str | None, tool_timing: str, capture_content: bool
) -> int:
    """Show the trace that a run becomes, offline.

    FILE is an answer of the API (a run or a page of runs), a bare run, or one JSON a line; `-` is
    standard input. Needs no settings.
    """
    from exporter.app.offline import traces_of
    from exporter.conduit.models import Unreadable
    from exporter.convert.trace import ConvertOptions

    options = ConvertOptions(
        tool_timing="slices" if tool_timing == "slices" else "instants",
        capture_content=capture_content,
    )
    show = _writer_of(style)
    code = 0
    for trace in traces_of(source.read(), agent_name=agent_name, options=options):
        if isinstance(trace, Unreadable):
            code = 1
            which = "a run" if trace.run_id is None else f"run {trace.run_id}"
            click.echo(f"error: {which}: {trace.detail}", err=True)
        else:
            click.echo(show(trace))
    return code


@cli.command("trace-id")
@click.argument("agent")
@click.argument("run_id", metavar="RUN")
@click.pass_obj
def trace_id(env_file: Path | None, agent: str, run_id: str) -> int:
    """Print the id under which a run's trace is found.

    Looks into the ledger where no exporter holds it; otherwise asks the API, which costs two
    requests.
    """
    settings = load_settings(env_file)
    import asyncio

    from exporter.app.identify import find_trace_id

    answer = asyncio.run(find_trace_id(settings, agent_id=agent, run_id=run_id))
    click.echo(answer.trace_id)
    click.echo(f"found in {answer.source}", err=True)
    if settings.trace_link is not None:
        click.echo(settings.trace_link.replace("{trace_id}", answer.trace_id), err=True)
    return 0


@cli.command()
@click.option("--ready", is_flag=True, help="Ask whether it is ready, not only alive.")
@click.option(
    "--timeout",
    "timeout_s",
    default=3.0,
    show_default=True,
    type=click.FloatRange(min=0.1, max=60),
    help="Seconds to wait for the answer.",
)
@click.pass_obj
def healthcheck(env_file: Path | None, *, ready: bool, timeout_s: float) -> int:
    """Ask the daemon on this machine how it is.

    For container probes: asks at EXPORTER_LISTEN; 0 if it is well, else 1. One that asks for a
    password or a client certificate is alive; whether it is ready cannot be known then, and --ready
    ends with 1.
    """
    from exporter.cli.probe import probe

    well, line = probe(os.environ, env_file, ready=ready, timeout_s=timeout_s)
    click.echo(line)
    return 0 if well else 1


def _demo_backend(
    environ: Mapping[str, str], endpoint: str | None, protocol: str | None
) -> dict[str, str]:
    """The OTLP settings of a demonstration; empty where nobody names a backend."""
    named = {
        name: text for name, text in environ.items() if name.startswith(_OTLP) and text.strip()
    }
    for option, text in (("ENDPOINT", endpoint), ("PROTOCOL", protocol)):
        if text is not None:
            named.pop(f"{_OTLP}TRACES_{option}", None)
            named[f"{_OTLP}{option}"] = text
    has_backend = named.keys() & {f"{_OTLP}ENDPOINT", f"{_OTLP}TRACES_ENDPOINT"}
    return named if has_backend else {}


def _writer_of(style: str) -> Callable[[Any], str]:
    if style == "tree":
        from exporter.convert.tree import render_tree

        return render_tree
    from exporter.convert.otlp import encode_trace, payload_to_otlp_json

    return lambda trace: json.dumps(payload_to_otlp_json(encode_trace(trace)))
