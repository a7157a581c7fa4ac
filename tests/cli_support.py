"""What tests of commands share: a process without the developer's settings, and calls."""

import logging
import os
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from exporter.cli.commands import cli

OURS = ("CONDUIT_", "EXPORTER_", "OTEL_")


@pytest.fixture(autouse=True)
def plain_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """None of the developer's settings, and the process's log given back as it was."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def invoke(*arguments: str, **environ: str) -> Result:
    """Call the command line; whatever happens, no traceback is shown."""
    result = CliRunner().invoke(cli, arguments, env=environ)
    assert "Traceback" not in result.output, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result
