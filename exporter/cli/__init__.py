"""The command line: parses words and options, prints what comes back, returns exit codes.

Every command's work lies elsewhere (`exporter.app` for what needs the API or the ledger), and is
imported when the command is used: the quick commands start in the time of their own imports.
"""

import sys

from exporter.cli.signals import SIGNALS


def main() -> None:
    """Run the command of this process; never returns."""
    SIGNALS.install()
    # A terminal of few characters shows the others written out.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a real stream
    # Not at the top: the handlers stand before the first heavy import.
    from exporter.cli.commands import cli  # noqa: PLC0415 - the reason stands above

    cli(prog_name="conduit-exporter")
