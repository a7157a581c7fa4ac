"""Where the spans of a run lie in time: as measured, or drawn and said to be drawn.

It never bends a measured time to make a picture look better, and never lets a drawn time leave the
run that it belongs to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from exporter.conduit.models import Run

ToolTiming = Literal["instants", "slices"]

MEASURED: Final = "measured"
FROM_DURATION: Final = "from_duration"
CLAMPED: Final = "clamped"
UNKNOWN: Final = "unknown"
SYNTHETIC: Final = "synthetic"

_HOUR_NS: Final = 3_600 * 1_000_000_000
# A tool's clock may differ from Conduit's; a time further away belongs to something else.
_NEARBY_NS: Final = _HOUR_NS
_NEARBY_UNKNOWN_END_NS: Final = 24 * _HOUR_NS
_LAST_NS: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Interval:
    """From when to when, and how that is known; `clamped`: it was said to end before it began."""

    start_ns: int
    end_ns: int
    timing: str
    clamped: bool = False


def run_interval(run: Run) -> Interval:
    """When a run took place."""
    start = min(max(run.created_ns, 0), _LAST_NS)
    if run.completed_ns is not None:
        end, timing = run.completed_ns, MEASURED
    elif run.duration_ns is not None:
        end, timing = start + run.duration_ns, FROM_DURATION
    else:
        return Interval(start, start, UNKNOWN)
    if end < start:
        return Interval(start, start, CLAMPED)
    return Interval(start, min(end, _LAST_NS), timing)


def tool_intervals(
    run: Interval, said: Sequence[tuple[int | None, int | None]], *, draw: ToolTiming
) -> list[Interval]:
    """When each item of a tool trace took place, given the times that the items say.

    A stretch of items without times is spread evenly between its measured neighbours, or over the
    run where it has none.
    """
    measured = [_measured(run, start, end) for start, end in said]
    placed: list[Interval] = []
    floor = run.start_ns
    place = 0
    while place < len(measured):
        known = measured[place]
        if known is not None:
            placed.append(known)
            floor = min(max(floor, known.end_ns), run.end_ns)
            place += 1
            continue
        after = place
        while after < len(measured) and measured[after] is None:
            after += 1
        following = measured[after] if after < len(measured) else None
        ceiling = run.end_ns if following is None else min(following.start_ns, run.end_ns)
        placed += _drawn(floor, max(floor, ceiling), after - place, draw)
        place = after
    return placed


def _measured(run: Interval, start: int | None, end: int | None) -> Interval | None:
    if start is None or end is None:
        return None
    slack = _NEARBY_UNKNOWN_END_NS if run.timing == UNKNOWN else _NEARBY_NS
    if start < max(run.start_ns - _NEARBY_NS, 0) or max(start, end) > run.end_ns + slack:
        return None
    return Interval(start, max(start, end), MEASURED, clamped=end < start)


def _drawn(start: int, end: int, count: int, draw: ToolTiming) -> Iterator[Interval]:
    length = end - start
    for place in range(count):
        if draw == "slices":
            first, last = place * length // count, (place + 1) * length // count
        else:
            first = last = (place + 1) * length // (count + 1)
        yield Interval(start + first, start + last, SYNTHETIC)
