"""What the commands take: the settings, with the log as they want it, and the types of options."""

import contextlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import click

from exporter import logs
from exporter.clock import SystemClock
from exporter.settings.values import parse_duration_s, parse_listen

if TYPE_CHECKING:
    from exporter.settings.model import Settings

T = TypeVar("T")

MOMENT_FORMS: Final = "how long ago (24h, 7d), or a time (2026-11-20, 2026-11-20T08:00Z)"
_SECOND_NS: Final = 1_000_000_000


def load_settings(env_file: Path | None) -> "Settings":
    """Read and check the settings, and set up the log. Raises ConfigError."""
    from exporter.settings.loading import load

    settings = load(os.environ, env_file)
    logs.configure(level=settings.log_level, style=settings.log_format, secrets=settings.secrets())
    return settings


class _Parsed(click.ParamType[T], Generic[T]):
    """What a parser that raises ValueError makes of an option's text."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> T:
        try:
            return self._parse(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def parse_moment_ns(text: str, *, now_ns: int) -> int:
    """Nanoseconds since the epoch; without a zone it is UTC. Raises ValueError with a sentence."""
    with contextlib.suppress(ValueError):
        return now_ns - round(parse_duration_s(text) * _SECOND_NS)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no moment; allowed: {MOMENT_FORMS}") from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    moment_ns = round(moment.timestamp() * 1_000_000) * 1_000
    if moment_ns > now_ns:
        raise ValueError(f"{text!r} lies in the future; allowed: {MOMENT_FORMS}")
    return moment_ns


LISTEN: Final = _Parsed("address", parse_listen)
DURATION_S: Final = _Parsed("duration", parse_duration_s)
# Nanoseconds since the epoch.
MOMENT: Final = _Parsed("moment", lambda text: parse_moment_ns(text, now_ns=SystemClock().now_ns()))
