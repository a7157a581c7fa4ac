"""Moments as people write them on a command line: how long ago, or a date and time. Pure."""

from typing import Final

from exporter.settings.values import parse_duration_s
from exporter.times import parse_time

FORMS: Final = "how long ago (24h, 7d), or a time (2026-11-20, 2026-11-20T08:00Z)"


def parse_moment_ns(text: str, *, now_ns: int) -> int:
    """Nanoseconds since the epoch; without a zone it is UTC. Raises ValueError with a sentence."""
    try:
        return now_ns - round(parse_duration_s(text) * 1e9)
    except ValueError:
        instant = parse_time(text)
    if instant is None:
        raise ValueError(f"{text!r} is no moment; allowed: {FORMS}")
    moment_ns, _ = instant
    if moment_ns > now_ns:
        raise ValueError(f"{text!r} lies in the future; allowed: {FORMS}")
    return moment_ns
