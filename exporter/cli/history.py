"""The commands that look back: `backfill`, `replay` and `reconcile`.

Each holds the ledger while it runs, so a daemon on the same ledger has to be stopped meanwhile.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from exporter.cli.options import MOMENT, MOMENT_FORMS, load_settings
from exporter.cli.signals import SIGNALS
from exporter.errors import ConfigError
from exporter.logs import escape

if TYPE_CHECKING:
    from exporter.app.single import PassProgress
    from exporter.settings.model import Settings
    from exporter.sync.reconcile import Difference

_MAX_IDS: Final = 5


@click.command()
@click.option(
    "--since", required=True, type=MOMENT, metavar="TIME", help=f"From when: {MOMENT_FORMS}."
)
@click.option(
    "--until",
    type=MOMENT,
    metavar="TIME",
    help="To when. [default: where the counting of the daemon begins]",
)
@click.pass_obj
def backfill(env_file: Path | None, *, since: int, until: int | None) -> int:
    """Trace runs from before the look-back.

    They are not added to the counters.

    The daemon on the same ledger has to be stopped meanwhile. Broken off, the same call goes on
    where it was, and so does the daemon, after everything else. With a ledger of its own
    (EXPORTER_LEDGER) it runs beside a daemon; then give each a part of the request budget.
    """
    if until is not None and until <= since:
        raise click.BadParameter("lies before --since", param_hint="--until")
    settings = load_settings(env_file)
    if settings.traces_exporter == "none":
        raise ConfigError(["OTEL_TRACES_EXPORTER: is none, so there is nowhere to backfill to"])
    from exporter.app.single import run_backfill

    with progress_bar("Traces") as show:
        return SIGNALS.run(
            lambda stop: run_backfill(
                settings, since_ns=since, until_ns=until, show=show, stop=stop
            ),
        )


@click.command()
@click.option(
    "--since",
    required=True,
    type=MOMENT,
    metavar="TIME",
    help=f"Since when the traces were delivered that are wanted again: {MOMENT_FORMS}.",
)
@click.pass_obj
def replay(env_file: Path | None, *, since: int) -> int:
    """Send traces again from the ledger.

    For a trace backend that lost them: the bytes are those of the first time, and Conduit is not
    asked. The ledger keeps traces for EXPORTER_RETENTION. The daemon has to be stopped meanwhile.
    """
    settings = load_settings(env_file)
    from exporter.app.replay import run_replay

    _require_ledger(settings)
    with progress_bar("Traces") as show:
        report = SIGNALS.run(
            lambda stop: run_replay(settings, since_ns=since, show=show, stop=stop),
        )
    click.echo(f"{report.delivered:,} of {report.found:,} traces were sent again")
    return 0 if report.delivered == report.found else 1


@click.command()
@click.option(
    "--since", required=True, type=MOMENT, metavar="TIME", help=f"From when: {MOMENT_FORMS}."
)
@click.option("--dry-run", is_flag=True, help="Only compare; record and fetch nothing.")
@click.pass_obj
def reconcile(env_file: Path | None, *, since: int, dry_run: bool) -> int:
    """Compare Conduit with the ledger, and repair it.

    Reads every page since then, a hundred runs a request; runs that are missing are counted and
    traced. The daemon does the same by itself, slowly. It has to be stopped meanwhile.
    """
    settings = load_settings(env_file)
    from exporter.app.single import run_reconcile

    if dry_run:
        _require_ledger(settings)
    with progress_bar("Traces") as show:
        code, differences = SIGNALS.run(
            lambda stop: run_reconcile(
                settings, since_ns=since, repair=not dry_run, show=show, stop=stop
            ),
        )
    click.echo(differences_table(differences, repaired=not dry_run))
    return code


def _require_ledger(settings: "Settings") -> None:
    """Raise ConfigError rather than answer from a new ledger, which knows nothing."""
    from exporter.app.adapters import has_ledger

    if not has_ledger(settings):
        raise ConfigError(
            [f"EXPORTER_LEDGER: there is no ledger at {settings.ledger_path}; name the daemon's"]
        )


def differences_table(differences: Sequence["Difference"], *, repaired: bool) -> str:
    """What was found, an agent a paragraph; agents that agree in a line."""
    lines: list[str] = []
    for one in differences:
        name = f"{one.agent_name} ({one.agent_id})"
        if one.trouble is not None:
            lines.append(f"{name}: could not be compared to the end: {one.trouble}")
        known = one.shown - len(one.missing) - len(one.late)
        lines.append(
            f"{name}: {one.shown:,} runs ended, {known:,} known; {one.in_flight:,} in flight"
        )
        done = "counted now" if repaired else "not counted"
        for ids, what in ((one.missing, "were missing"), (one.late, "had not been seen to end")):
            if ids:
                shown = ", ".join(ids[:_MAX_IDS]) + (", ..." if len(ids) > _MAX_IDS else "")
                lines.append(f"  {len(ids):,} {what}, {done}: {shown}")
        if one.unshown > 0:
            lines.append(f"  {one.unshown:,} are listed no more; they stay counted")
        if one.unreadable:
            lines.append(f"  {one.unreadable:,} rows could not be understood")
        if one.forgotten:
            lines.append(f"  {one.forgotten:,} are older than EXPORTER_RETENTION: not compared")
        if one.older:
            lines.append(f"  {one.older:,} began before counting does; `backfill` traces them")
    return "\n".join(map(escape, lines)) or "no agent is watched"


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Callable[["PassProgress"], None]]:
    """A bar on standard error, where that is a terminal; what it shows is handed in."""
    with click.progressbar(
        length=1,
        label=label,
        file=sys.stderr,
        hidden=not sys.stderr.isatty(),
        show_pos=True,
        update_min_steps=0,
        item_show_func=lambda item: item,
    ) as bar:

        def show(progress: "PassProgress") -> None:
            # More is found on the way, after the bar was full perhaps.
            bar.length = max(1, progress.done + progress.left)
            bar.finished = False
            what = "still reading lists" if progress.reading_lists else ""
            bar.update(progress.done - bar.pos, what)

        yield show
