"""Where the spans of a run lie in time: as measured, or drawn and said to be drawn.

It never bends a measured time to make a picture look better, never lets a drawn time leave the run
that it belongs to, and reads no clock.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from exporter.conduit.models import Run
from exporter.times import SECOND_NS, epoch_to_ns, iso_to_ns

ToolTiming = Literal["instants", "slices"]

MEASURED: Final = "measured"
FROM_DURATION: Final = "from_duration"
CLAMPED: Final = "clamped"
UNKNOWN: Final = "unknown"
SYNTHETIC: Final = "synthetic"

_HOUR_NS: Final = 3_600 * SECOND_NS
# A tool's clock may differ from Conduit's; a time further away belongs to something else.
_NEARBY_NS: Final = _HOUR_NS
_NEARBY_UNKNOWN_END_NS: Final = 24 * _HOUR_NS
# Jaeger warns of a span without any length.
INSTANT_NS: Final = 1

_WITH_TIME_OF_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:.*", re.ASCII)
_EPOCH_TEXT: Final = re.compile(r"\d{9,19}(?:\.\d{1,9})?", re.ASCII)
_MAX_DURATION_NS: Final = 366 * 86_400 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Interval:
    """From when to when, and how that is known; `clamped`: it was said to end before it began."""

    start_ns: int
    end_ns: int
    timing: str
    clamped: bool = False


def run_interval(run: Run) -> Interval:
    """When a run took place."""
    start = run.created_ns
    if run.completed_ns is not None:
        end, timing = run.completed_ns, MEASURED
    elif run.duration_ns is not None:
        end, timing = start + run.duration_ns, FROM_DURATION
    else:
        return Interval(start, start, UNKNOWN)
    if end < start:
        return Interval(start, start, CLAMPED)
    return Interval(start, end, timing)


def tool_intervals(
    run: Interval, said: Sequence[tuple[int | None, int | None]], *, draw: ToolTiming
) -> list[Interval]:
    """When each tool call took place, given the times that the calls have of their own.

    A stretch of calls without times is spread evenly between its measured neighbours, or over the
    run where it has none.
    """
    placed: list[Interval] = []
    floor_ns, untimed = run.start_ns, 0
    for start_ns, end_ns in said:
        known = _measured(run, start_ns, end_ns)
        if known is None:
            untimed += 1
            continue
        ceiling_ns = max(floor_ns, min(known.start_ns, run.end_ns))
        placed += _drawn(floor_ns, ceiling_ns, untimed, draw, last_ns=run.end_ns)
        placed.append(known)
        floor_ns, untimed = min(max(floor_ns, known.end_ns), run.end_ns), 0
    placed += _drawn(floor_ns, run.end_ns, untimed, draw, last_ns=run.end_ns)
    return placed


def instant_ns(value: Any) -> int | None:
    """The instant that an ISO 8601 text or a number since the epoch names; None if it names none.

    A text without a zone is UTC, a number's size tells its unit. A date without a time of day is
    none, and neither is a small number: the API types nothing inside an item, so the one may be a
    guest's check-in, the other a counter.
    """
    if isinstance(value, str):
        if _WITH_TIME_OF_DAY.fullmatch(value):
            instant = iso_to_ns(value)
            return None if instant is None else instant[0]
        return epoch_to_ns(Decimal(value)) if _EPOCH_TEXT.fullmatch(value) else None
    number = _number(value)
    return None if number is None else epoch_to_ns(number)


def duration_ns(value: Any, *, unit_ns: int) -> int | None:
    """A length of time in units of `unit_ns`; None if it is none or longer than a year."""
    number = _number(value)
    if number is None or not 0 <= number <= _MAX_DURATION_NS // unit_ns:
        return None
    return round(number * unit_ns)


def _measured(run: Interval, start: int | None, end: int | None) -> Interval | None:
    if start is None or end is None:
        return None
    slack = _NEARBY_UNKNOWN_END_NS if run.timing == UNKNOWN else _NEARBY_NS
    if start < max(run.start_ns - _NEARBY_NS, 0) or max(start, end) > run.end_ns + slack:
        return None
    return Interval(start, max(start, end), MEASURED, clamped=end < start)


def _drawn(
    start: int, end: int, count: int, draw: ToolTiming, *, last_ns: int
) -> Iterator[Interval]:
    length = end - start
    for place in range(count):
        if draw == "slices":
            first, last = start + place * length // count, start + (place + 1) * length // count
        else:
            first = start + (place + 1) * length // (count + 1)
            last = min(first + INSTANT_NS, last_ns)
        yield Interval(first, last, SYNTHETIC)


def _number(value: Any) -> int | Decimal | None:
    """A JSON number as `decode_json` gives it."""
    return value if isinstance(value, int | Decimal) and not isinstance(value, bool) else None
