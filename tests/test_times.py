"""Texts and numbers as exact instants."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.times import SECOND_NS, http_date_to_ns, parse_time

DOCUMENTED_NS = 1_775_186_055_000_000_000  # 2026-04-03T03:14:15Z


@pytest.mark.parametrize(
    ("value", "after_ns", "adjusted"),
    [
        ("2026-04-03T03:14:15.000Z", 0, False),
        ("2026-04-03T03:14:15.213Z", 213_000_000, False),
        ("2026-04-03t03:14:15z", 0, False),
        ("2026-04-03T03:14:15,5Z", 500_000_000, False),
        ("2026-04-03T03:14:15.123456789Z", 123_456_789, False),
        ("2026-04-03T03:14:15.1234567899999Z", 123_456_789, False),
        ("2026-04-03T05:14:15.5+02:00", 500_000_000, False),
        ("2026-04-02T21:44:15-0530", 0, False),
        ("2026-04-03T04:14:15+01", 0, False),
        ("2026-04-03 03:14:15 Z", 0, False),
        ("20260403T031415Z", 0, False),
        (" 2026-04-03T03:14:15Z\n", 0, False),
        ("2026-04-03T03:14Z", -15 * SECOND_NS, False),
        ("2026-04-03T03:14:15.000", 0, True),
        ("2026-04-03", -11_655 * SECOND_NS, True),
        ("2026-04-03T03:14:60Z", 45 * SECOND_NS - 1, True),
        ("2026-04-03T03:14:60.250Z", 45 * SECOND_NS - 1, True),
        (1_775_186_055, 0, True),
        (Decimal("1775186055.213000001"), 213_000_001, True),
        (1_775_186_055_000, 0, True),
        (Decimal("1775186055000.5"), 500_000, True),
        (1_775_186_055_000_000, 0, True),
        (1_775_186_055_000_000_007, 7, True),
    ],
)
def test_a_value_names_an_instant(value: Any, after_ns: int, *, adjusted: bool) -> None:
    """Every usual way to write a time is read, and marked where it was not plainly given."""
    assert parse_time(value) == (DOCUMENTED_NS + after_ns, adjusted)


@pytest.mark.parametrize(
    "value",
    [
        *("", "yesterday", "2026-W14-5T03:14:15.000Z", "2026-04-03T03:14:+5.000Z"),
        *("10000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2201-01-01T00:00:00Z"),
        *("1969-12-31T23:59:59.999Z", "1970-01-01T00:30:00+01:00", "0001-01-01T00:00:00+23:00"),
        *("2026-02-30T00:00:00.000Z", "2026-13-01T00:00:00.000Z", "2026-04-03T24:00:00.000Z"),
        *("2026-04-03T03:60:15.000Z", "2026-04-03T03:14:61.000Z", "2026-04-03T03:14:15. 00Z"),
        *("2026-04-03T03:14:15+24:00", "2026-04-03T03:14:15+01:60"),
        *("2026-04-03T03:14:\u0661\u0665.000Z", "2026-04-03T03:14:15." + "1" * 100 + "Z"),
        *(0, 5, -1_775_186_055, 10**30, Decimal("-1e9"), Decimal("1e300")),
        *(True, None, [], {}),
    ],
)
def test_what_names_no_instant_is_none(value: Any) -> None:
    """Garbage, and whatever lies outside 1970 to 2200, never becomes a time."""
    assert parse_time(value) is None


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - the zone is drawn beside it
        max_value=datetime(2200, 12, 30),  # noqa: DTZ001 - as above
        timezones=st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m))),
    )
)
def test_it_agrees_with_datetime(moment: datetime) -> None:
    """Over all that datetime can hold, the standard library is the oracle."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_time(moment.isoformat()) == (since // timedelta(microseconds=1) * 1_000, False)


@given(st.text(alphabet="0123456789-:TZtz+.,  \u0663x", max_size=40))
def test_no_text_raises(text: str) -> None:
    """Whatever stands where a time should, an instant or None comes back."""
    found = parse_time(text)
    assert found is None or 0 <= found[0] < 2**63


@pytest.mark.parametrize(
    ("text", "instant_ns"),
    [
        ("Fri, 03 Apr 2026 03:14:15 GMT", DOCUMENTED_NS),
        ("Fri, 03 Apr 2026 03:14:15", DOCUMENTED_NS),
        ("Friday, 03-Apr-26 03:14:15 GMT", DOCUMENTED_NS),
        ("Fri, 99 Apr 2026 03:14:14 GMT", None),
        ("Fri, 03 Apr 20266666 03:14:14 GMT", None),
        ("soon", None),
        ("", None),
    ],
)
def test_an_http_date_is_gmt(text: str, instant_ns: int | None) -> None:
    """In the forms that HTTP allows; anything else is none."""
    assert http_date_to_ns(text) == instant_ns
