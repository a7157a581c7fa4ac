"""The command line: parses words and options, prints what comes back, returns exit codes.

Every command's work lies elsewhere (`exporter.app` for what needs the API or the ledger), and is
imported when the command is used: the quick commands start in the time of their own imports.
"""

from exporter.cli.commands import main

__all__ = ["main"]
