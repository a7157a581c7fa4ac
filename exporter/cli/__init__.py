"""The command line: parses words and options, prints what comes back, returns exit codes.

Every command's work lies elsewhere (`exporter.app` for what needs the API or the ledger), and is
imported when the command is used: the quick commands start in the time of their own imports.
"""

import contextlib
import os
import sys

from exporter.cli.signals import SIGNALS

_DAEMONS = {"run", "demo"}


def main() -> None:
    """Run the command of this process; never returns."""
    SIGNALS.install(code_if_cut_off=0 if _DAEMONS & set(sys.argv) else 1)
    # A terminal of few characters shows the others written out.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a real stream
    # Not at the top: the handlers stand before the first heavy import.
    from exporter.cli.commands import cli  # noqa: PLC0415 - the reason stands above

    try:
        cli(prog_name="conduit-exporter")
    except SystemExit as exc:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        # Python's own way out waits for threads of libraries, which may hang for ever.
        os._exit(int(exc.code or 0))
