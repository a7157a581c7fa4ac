"""How a command ends: its number as the exit code, an error of ours as words and never a traceback.

0 done, 1 failed, 2 wrong usage or settings.
"""

import functools
import sys
from collections.abc import Callable
from typing import Final, NoReturn, ParamSpec

import click

from exporter.errors import ConfigError, ExporterError

P = ParamSpec("P")

_FAILED: Final = 1
_WRONG_USAGE: Final = 2
_INTERRUPTED: Final = 130


def ends_well(command: Callable[P, int]) -> Callable[P, NoReturn]:
    """Give a command's exit code to the system, and say its errors."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> NoReturn:
        try:
            code = command(*args, **kwargs)
        except ConfigError as exc:
            _say(*exc.problems)
            code = _WRONG_USAGE
        except ExporterError as exc:
            _say(str(exc))
            code = _FAILED
        except KeyboardInterrupt:
            code = _INTERRUPTED
        sys.exit(code)

    return wrapped


def _say(*problems: str) -> None:
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
