"""Times that tool items carry, and where spans lie: measured, or drawn inside the run."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.convert.timeline import (
    Interval,
    duration_ns,
    instant_ns,
    run_interval,
    tool_intervals,
)
from tests.factories import SECOND_NS, make_run

T_NS = 1_775_185_455 * SECOND_NS  # 2026-04-03T03:04:15Z
HOUR_NS = 3_600 * SECOND_NS


@pytest.mark.parametrize(
    ("value", "expected_ns"),
    [
        ("2026-04-03T03:04:15Z", T_NS),
        ("2026-04-03 03:04:15", T_NS),
        ("1775185455.5", T_NS + SECOND_NS // 2),
        (1_775_185_455_000, T_NS),
        (Decimal("1775185455.123456789"), T_NS + 123_456_789),
    ],
)
def test_an_instant_is_understood(value: Any, expected_ns: int) -> None:
    """ISO 8601 with or without a zone, and numbers whose size tells their unit."""
    assert instant_ns(value) == expected_ns


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, [], {}, "", "now", "2026-04-03", "03:04:15", "0" * 65, "٢" * 10),
        *("2026-02-30T00:00:00Z", "99999999", "12345678", 0, 99_999_999, 10**19, 9 * 10**18),
    ],
)
def test_what_may_be_something_else_is_no_instant(value: Any) -> None:
    """Dates without a time, counters, impossible and far times are none."""
    assert instant_ns(value) is None


@pytest.mark.parametrize(
    ("value", "unit_ns", "expected_ns"),
    [
        (1500, 1_000_000, 1_500_000_000),
        (Decimal("0.25"), SECOND_NS, 250_000_000),
        (Decimal("0.0000000015"), SECOND_NS, 2),
        (366 * 86_400, SECOND_NS, 366 * 86_400 * SECOND_NS),
        (366 * 86_400 + 1, SECOND_NS, None),
        (-1, 1, None),
        (True, 1, None),
        ("5", 1, None),
        (None, 1, None),
    ],
)
def test_durations(value: Any, unit_ns: int, expected_ns: int | None) -> None:
    """Numbers up to a year; nothing else is a length of time."""
    assert duration_ns(value, unit_ns=unit_ns) == expected_ns


@pytest.mark.parametrize(
    ("created", "completed", "duration", "expected"),
    [
        (T_NS, T_NS + 5, 99, Interval(T_NS, T_NS + 5, "measured")),
        (T_NS, None, 99, Interval(T_NS, T_NS + 99, "from_duration")),
        (T_NS, None, None, Interval(T_NS, T_NS, "unknown")),
        (T_NS, T_NS - 1, 99, Interval(T_NS, T_NS, "clamped")),
        (T_NS, None, -1, Interval(T_NS, T_NS, "clamped")),
    ],
)
def test_when_a_run_took_place(
    created: int, completed: int | None, duration: int | None, expected: Interval
) -> None:
    """From start to end, else by its duration, else no length; never backwards."""
    run = make_run(created_ns=created, completed_ns=completed, duration_ns=duration)

    assert run_interval(run) == expected


RUN = Interval(T_NS, T_NS + 12_000, "measured")


def drawn(start: int, end: int | None = None) -> Interval:
    """An instant of one nanosecond, or a slice."""
    return Interval(T_NS + start, T_NS + (start + 1 if end is None else end), "synthetic")


def test_items_without_times_lie_between_measured_neighbours() -> None:
    """What is known of the neighbours bounds what is drawn."""
    measured = (T_NS + 4_000, T_NS + 6_000)

    placed = tool_intervals(
        RUN, [(None, None), measured, (None, None), (None, None)], draw="instants"
    )

    assert placed == [
        drawn(2_000),
        Interval(*measured, "measured"),
        drawn(8_000),
        drawn(10_000),
    ]


@pytest.mark.parametrize(
    ("run", "start", "end", "measured"),
    [
        (RUN, -HOUR_NS, 0, True),
        (RUN, -HOUR_NS - 1, 0, False),
        (RUN, 0, 12_000 + HOUR_NS, True),
        (RUN, 0, 12_001 + HOUR_NS, False),
        (RUN, 12_001 + HOUR_NS, 0, False),
        (Interval(T_NS, T_NS, "unknown"), 0, 24 * HOUR_NS, True),
        (Interval(T_NS, T_NS, "unknown"), 0, 24 * HOUR_NS + 1, False),
    ],
)
def test_times_far_from_the_run_belong_to_something_else(
    run: Interval, start: int, end: int, *, measured: bool
) -> None:
    """An hour either side is another clock; more is a guest's check-in."""
    (placed,) = tool_intervals(run, [(T_NS + start, T_NS + end)], draw="instants")

    assert (placed.timing == "measured") is measured


MAYBE_NS = st.none() | st.integers(T_NS - 2 * HOUR_NS, T_NS + 30 * HOUR_NS)


@given(
    length=st.integers(0, HOUR_NS),
    said=st.lists(st.tuples(MAYBE_NS, MAYBE_NS) | st.just((None, None)), max_size=12),
    draw=st.sampled_from(("instants", "slices")),
)
def test_drawn_times_never_leave_the_run(length: int, said: Any, draw: Any) -> None:
    """One interval for each item; the drawn ones inside the run and in order, none backwards."""
    run = Interval(T_NS, T_NS + length, "measured")

    placed = tool_intervals(run, said, draw=draw)

    assert len(placed) == len(said)
    assert all(one.start_ns <= one.end_ns for one in placed)
    synthetic = [one for one in placed if one.timing == "synthetic"]
    assert all(run.start_ns <= one.start_ns <= one.end_ns <= run.end_ns for one in synthetic)
    if len(synthetic) == len(placed):
        assert [one.start_ns for one in placed] == sorted(one.start_ns for one in placed)
