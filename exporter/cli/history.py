"""The commands that look back: `backfill`, `replay` and `reconcile`.

Each holds the ledger while it runs, so a daemon on the same ledger has to be stopped meanwhile.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter.cli.ending import ends_well
from exporter.cli.loading import load_settings
from exporter.cli.moments import FORMS, parse_moment_ns
from exporter.cli.progress import ProgressBar
from exporter.clock import SystemClock

if TYPE_CHECKING:
    from exporter.sync.comparison import Difference

_MOST_IDS = 5


class _Moment(click.ParamType[int]):
    """A moment in the past."""

    name = "moment"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_moment_ns(value, now_ns=SystemClock().now_ns())
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


@click.command()
@click.option("--since", required=True, type=_Moment(), metavar="TIME", help=f"From when: {FORMS}.")
@click.option(
    "--until",
    type=_Moment(),
    metavar="TIME",
    help="To when. [default: where the counting of the daemon begins]",
)
@click.pass_obj
@ends_well
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
    from exporter.app.single import run_backfill

    bar = _bar()
    try:
        return asyncio.run(run_backfill(settings, since_ns=since, until_ns=until, show=bar.show))
    finally:
        bar.finish()


@click.command()
@click.option(
    "--since",
    required=True,
    type=_Moment(),
    metavar="TIME",
    help=f"Since when the traces were delivered that are wanted again: {FORMS}.",
)
@click.pass_obj
@ends_well
def replay(env_file: Path | None, *, since: int) -> int:
    """Send traces again from the ledger.

    For a trace backend that lost them: the bytes are those of the first time, and Conduit is not
    asked. The ledger keeps traces for EXPORTER_RETENTION. The daemon has to be stopped meanwhile.
    """
    settings = load_settings(env_file)
    from exporter.app.replay import run_replay

    bar = _bar()
    try:
        report = asyncio.run(run_replay(settings, since_ns=since, show=bar.show))
    finally:
        bar.finish()
    click.echo(f"{report.delivered:,} of {report.found:,} traces were sent again")
    return 0 if report.delivered == report.found else 1


@click.command()
@click.option("--since", required=True, type=_Moment(), metavar="TIME", help=f"From when: {FORMS}.")
@click.option("--dry-run", is_flag=True, help="Only compare; record and fetch nothing.")
@click.pass_obj
@ends_well
def reconcile(env_file: Path | None, *, since: int, dry_run: bool) -> int:
    """Compare Conduit with the ledger, and repair it.

    Reads every page since then, a hundred runs a request; runs that are missing are counted and
    traced. The daemon does the same by itself, slowly. It has to be stopped meanwhile.
    """
    settings = load_settings(env_file)
    from exporter.app.reconcile import run_reconcile

    bar = _bar()
    try:
        code, differences = asyncio.run(
            run_reconcile(settings, since_ns=since, repair=not dry_run, show=bar.show)
        )
    finally:
        bar.finish()
    click.echo(differences_table(differences, repaired=not dry_run))
    return code


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
                shown = ", ".join(ids[:_MOST_IDS]) + (", ..." if len(ids) > _MOST_IDS else "")
                lines.append(f"  {len(ids):,} {what}, {done}: {shown}")
        if one.unshown > 0:
            lines.append(f"  {one.unshown:,} are listed no more; they stay counted")
        if one.unreadable:
            lines.append(f"  {one.unreadable:,} rows could not be understood")
        if one.older:
            lines.append(f"  {one.older:,} began before counting does; `backfill` traces them")
    return "\n".join(lines) or "no agent is watched"


def _bar() -> ProgressBar:
    return ProgressBar(sys.stderr, monotonic_s=SystemClock().monotonic_s)
