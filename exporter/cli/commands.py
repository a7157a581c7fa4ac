"""The commands and their options, in the order in which a newcomer meets them.

Each command imports what it needs when it is used: `healthcheck` starts in the time of its own.
"""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from exporter import __version__
from exporter.cli.ending import ends_well
from exporter.cli.history import backfill, reconcile, replay
from exporter.cli.loading import load_settings

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
_FILE: Final = click.Path(path_type=Path, dir_okay=False)


class _InOrder(click.Group):
    """Lists its commands as they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(cls=_InOrder, help=_ABOUT, context_settings={"max_content_width": 100})
@click.option("--env-file", type=_FILE, metavar="FILE", help="Read settings from this file too.")
@click.version_option(__version__, prog_name="conduit-exporter")
@click.pass_context
def main(context: click.Context, env_file: Path | None) -> None:
    """Keep what all commands share."""
    context.obj = env_file


@main.command()
@click.pass_obj
@ends_well
def run(env_file: Path | None) -> int:
    """Run the daemon, until SIGTERM or Ctrl-C.

    It delivers what it has fetched before it ends, within ten seconds; whatever is left lies in
    the ledger, and the next start goes on with it.
    """
    settings = load_settings(env_file)
    from exporter.app.daemon import serve

    return asyncio.run(serve(settings))


@main.command()
@click.pass_obj
@ends_well
def once(env_file: Path | None) -> int:
    """Fetch and deliver all that is visible now, then end.

    For a scheduled job. It keeps the request budget, so a large history takes its time; the same
    ledger makes the next pass short. Ends with 1 if anything could not be read or delivered.
    """
    settings = load_settings(env_file)
    from exporter.app.single import run_pass

    return asyncio.run(run_pass(settings))


main.add_command(backfill)
main.add_command(replay)
main.add_command(reconcile)


@main.command()
@click.pass_obj
@ends_well
def check(env_file: Path | None) -> int:
    """Check settings, token, ledger and trace backend, a line each.

    Changes nothing, and sends no trace. Costs a request for each workspace and one more.
    """
    settings = load_settings(env_file)
    from exporter.app.checks import check_all

    lines = asyncio.run(check_all(settings))
    for line in lines:
        click.echo(f"{'ok    ' if line.ok else 'FAILED'}  {line.subject}: {line.message}")
    return 0 if all(line.ok for line in lines) else 1


@main.command()
@click.option("--listen", default="127.0.0.1:10464", show_default=True, help="Address and port.")
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
@click.option("--duration", metavar="TIME", help="End after this long, such as 30s or 5m.")
@ends_well
def demo(
    *,
    listen: str,
    otlp_endpoint: str | None,
    otlp_protocol: str | None,
    seed: int,
    rate: float,
    duration: str | None,
) -> int:
    """Show all of it against a simulated Conduit.

    A hotel group's agents are at work: runs arrive, stay in flight and end. Nothing else is needed,
    no token either, and no file is left behind.
    """
    from exporter import logs
    from exporter.app.demo import run_demo
    from exporter.settings.addresses import parse_listen
    from exporter.settings.demo import DemoOptions
    from exporter.settings.values import parse_duration_s

    options = DemoOptions(
        listen=_parsed("--listen", parse_listen, listen),
        otlp=_demo_backend(os.environ, otlp_endpoint, otlp_protocol),
        seed=seed,
        rate=rate,
        duration_s=None if duration is None else _parsed("--duration", parse_duration_s, duration),
    )
    logs.configure()
    return asyncio.run(run_demo(options, write=click.echo))


@main.command()
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
@ends_well
def convert(
    source: Any, *, style: str, agent_name: str | None, tool_timing: str, capture_content: bool
) -> int:
    """Show the trace that a run becomes, offline.

    FILE is an answer of the API (a run or a page of runs), a bare run, or one JSON a line; `-` is
    standard input. Needs no settings.
    """
    from exporter.app.offline import traces_of
    from exporter.convert.trace import ConvertOptions
    from exporter.models import Unreadable

    options = ConvertOptions(
        tool_timing="slices" if tool_timing == "slices" else "instants",
        capture_content=capture_content,
    )
    show = _writer_of(style)
    failed = False
    for trace in traces_of(source.read(), agent_name=agent_name, options=options):
        if isinstance(trace, Unreadable):
            failed = True
            click.echo(f"error: run {trace.run_id}: {trace.detail}", err=True)
        else:
            click.echo(show(trace))
    return 1 if failed else 0


@main.command("trace-id")
@click.argument("agent")
@click.argument("run_id", metavar="RUN")
@click.pass_obj
@ends_well
def trace_id(env_file: Path | None, agent: str, run_id: str) -> int:
    """Print the id under which a run's trace is found.

    Looks into the ledger where no exporter holds it; otherwise asks the API, which costs two
    requests.
    """
    settings = load_settings(env_file)
    from exporter.app.identify import find_trace_id

    answer = asyncio.run(find_trace_id(settings, agent_id=agent, run_id=run_id))
    click.echo(answer.trace_id)
    click.echo(f"found in {answer.source}", err=True)
    if settings.trace_link is not None:
        click.echo(settings.trace_link.replace("{trace_id}", answer.trace_id), err=True)
    return 0


@main.command()
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
@ends_well
def healthcheck(env_file: Path | None, *, ready: bool, timeout_s: float) -> int:
    """Ask the daemon on this machine how it is.

    For container probes: asks at EXPORTER_LISTEN; 0 if it is well, else 1.
    """
    from exporter.cli.probe import probe

    well, line = probe(os.environ, env_file, ready=ready, timeout_s=timeout_s)
    click.echo(line)
    return 0 if well else 1


def _demo_backend(
    environ: Mapping[str, str], endpoint: str | None, protocol: str | None
) -> dict[str, str]:
    """The OTLP settings of a demonstration; empty where nobody names a backend."""
    from exporter.settings.otlp import PREFIX, TRACES_PREFIX

    named = {
        name: text
        for name, text in environ.items()
        if name.startswith(PREFIX) and name in _known_settings() and text.strip()
    }
    if endpoint is not None:
        named.pop(f"{TRACES_PREFIX}ENDPOINT", None)
        named[f"{PREFIX}ENDPOINT"] = endpoint
    if protocol is not None:
        named.pop(f"{TRACES_PREFIX}PROTOCOL", None)
        named[f"{PREFIX}PROTOCOL"] = protocol
    return named if any(name.endswith("ENDPOINT") for name in named) else {}


def _known_settings() -> frozenset[str]:
    from exporter.settings.reference import reference

    return frozenset(row.name for row in reference())


def _parsed(option: str, parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint=option) from None


def _writer_of(style: str) -> Callable[[Any], str]:
    if style == "tree":
        from exporter.convert.tree import render_tree

        return render_tree
    from exporter.convert.otlp import encode_trace, payload_to_otlp_json

    return lambda trace: json.dumps(payload_to_otlp_json(encode_trace(trace)), ensure_ascii=False)
