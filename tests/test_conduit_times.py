"""Conduit's times, exactly."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.conduit.times import SECOND_NS, parse_time

DOCUMENTED_NS = 1_775_186_055_000_000_000  # 2026-04-03T03:14:15Z


def _ns(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since // timedelta(microseconds=1)) * 1_000


@pytest.mark.parametrize(
    ("text", "after_ns", "adjusted"),
    [
        ("2026-04-03T03:14:15.000Z", 0, False),
        ("2026-04-03T03:14:15.213Z", 213_000_000, False),
        ("2026-04-03T03:14:15Z", 0, False),
        ("2026-04-03t03:14:15z", 0, False),
        ("2026-04-03T03:14:15.1Z", 100_000_000, False),
        ("2026-04-03T03:14:15,5Z", 500_000_000, False),
        ("2026-04-03T03:14:15.123456Z", 123_456_000, False),
        ("2026-04-03T03:14:15.123456789Z", 123_456_789, False),
        ("2026-04-03T03:14:15.1234567899999Z", 123_456_789, False),
        ("2026-04-03T03:14:15+00:00", 0, False),
        ("2026-04-03T05:14:15.5+02:00", 500_000_000, False),
        ("2026-04-02T21:44:15-0530", 0, False),
        ("2026-04-03T04:14:15+01", 0, False),
        ("2026-04-03 03:14:15 Z", 0, False),
        ("20260403T031415Z", 0, False),
        (" 2026-04-03T03:14:15Z\n", 0, False),
        ("2026-04-03T03:14:15", 0, True),
        ("2026-04-03T03:14:15.000", 0, True),
        ("2026-04-03T03:14Z", -15 * SECOND_NS, False),
        ("2026-04-03", -11_655 * SECOND_NS, True),
        ("2026-04-03T03:14:60Z", 45 * SECOND_NS - 1, True),
        ("2026-04-03T03:14:60.250Z", 45 * SECOND_NS - 1, True),
    ],
)
def test_a_text_names_an_instant(text: str, after_ns: int, adjusted: bool) -> None:  # noqa: FBT001 - a table
    """Every usual way to write a time is read, and marked where it had to be bent."""
    assert parse_time(text) == (DOCUMENTED_NS + after_ns, adjusted)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "10000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2201-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:30:00+01:00",
        "2026-02-30T00:00:00.000Z",
        "2026-13-01T00:00:00.000Z",
        "2026-04-03T24:00:00.000Z",
        "2026-04-03T03:60:15.000Z",
        "2026-04-03T03:14:61.000Z",
        "2026-04-03T03:14:+5.000Z",
        "2026-04-03T03:14:15. 00Z",
        "2026-W14-5T03:14:15.000Z",
        "\u0662\u0660\u0662\u0666-04-03T03:14:15.000Z",
        "2026-04-03T03:14:\u0661\u0665.000Z",  # digits, but not of ASCII
        "2026-04-03T03:14:15+24:00",
        "2026-04-03T03:14:15+01:60",
        "2026-04-03T03:14:15." + "1" * 100 + "Z",
        0,
        5,
        -1_775_186_055,
        10**30,
        Decimal("-1e9"),
        Decimal("1e300"),
        True,
        None,
        [],
        {},
    ],
)
def test_what_names_no_instant_is_none(value: Any) -> None:
    """Garbage, and whatever lies outside 1970 to 2200, is never bent into a time."""
    assert parse_time(value) is None


@pytest.mark.parametrize(
    ("number", "after_ns"),
    [
        (1_775_186_055, 0),
        (Decimal("1775186055.213000001"), 213_000_001),
        (1_775_186_055_000, 0),
        (Decimal("1775186055000.5"), 500_000),
        (1_775_186_055_000_000, 0),
        (1_775_186_055_000_000_007, 7),
    ],
)
def test_a_number_counts_from_the_epoch(number: int | Decimal, after_ns: int) -> None:
    """Its unit is told by its size, exactly, and it is marked as bent."""
    assert parse_time(number) == (DOCUMENTED_NS + after_ns, True)


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - the zone is drawn beside it
        max_value=datetime(2200, 12, 30),  # noqa: DTZ001 - as above
        timezones=st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m))),
    )
)
def test_it_agrees_with_datetime(moment: datetime) -> None:
    """Over all that datetime can hold, the standard library is the oracle."""
    assert parse_time(moment.isoformat()) == (_ns(moment), False)
    millis = moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000)
    plain = millis.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert parse_time(plain) == (_ns(millis), False)


@given(st.text(alphabet="0123456789-:TZtz+.,  \u0663x", max_size=40))
def test_no_text_raises(text: str) -> None:
    """Whatever stands where a time should, an instant or None comes back."""
    found = parse_time(text)
    assert found is None or 0 <= found[0] < 2**63
