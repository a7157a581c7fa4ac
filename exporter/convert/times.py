"""Instants and durations that a tool item may carry, as nanoseconds.

The API types nothing inside an item, so only what can be nothing else is taken for a time: a date
without a time of day may be a guest's check-in, a small number a counter. It never reads a clock.
"""

import math
import re
from datetime import date
from decimal import Decimal
from typing import Any, Final

SECOND_NS: Final = 1_000_000_000

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_YEARS: Final = range(1970, 2201)
_LONGEST_TEXT: Final = 64
_LEAP_SECOND: Final = 60
_HOURS: Final = range(24)
_SIXTY: Final = range(60)
_INSTANT: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    r" ?(?:[Zz]|([+-]\d\d):?(\d\d)?)?",
    re.ASCII,
)
_EPOCH_TEXT: Final = re.compile(r"\d{9,19}(?:\.\d{1,9})?", re.ASCII)
# Seconds until the year 5138, then milliseconds, microseconds, nanoseconds; nothing before 1973.
_EPOCH_LEAST: Final = 10**8
_EPOCH_UNITS: Final = ((10**11, SECOND_NS), (10**14, 1_000_000), (10**17, 1_000), (10**19, 1))
_LAST_NS: Final = (date(_YEARS[-1] + 1, 1, 1).toordinal() - _EPOCH_DAY) * 86_400 * SECOND_NS
_LONGEST_DURATION_NS: Final = 366 * 86_400 * SECOND_NS


def instant_ns(value: Any) -> int | None:
    """The instant that an ISO 8601 text or a number since the epoch names; None if it names none.

    A text without a zone is UTC. A number's size tells its unit.
    """
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            return None
        if found := _INSTANT.fullmatch(value):
            return _calendar_ns(found)
        return _epoch_ns(Decimal(value)) if _EPOCH_TEXT.fullmatch(value) else None
    number = _number(value)
    return None if number is None else _epoch_ns(number)


def duration_ns(value: Any, *, unit_ns: int) -> int | None:
    """A length of time in units of `unit_ns`; None if it is none or longer than a year."""
    number = _number(value)
    if number is None or not 0 <= number <= _LONGEST_DURATION_NS // unit_ns:
        return None
    return round(number * unit_ns)


def _number(value: Any) -> int | Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        value = Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    return value if isinstance(value, int) else None


def _epoch_ns(number: int | Decimal) -> int | None:
    if number < _EPOCH_LEAST:
        return None
    for limit, unit_ns in _EPOCH_UNITS:
        if number < limit:
            whole = int(number)
            # The fraction alone is scaled, so that the decimal context rounds nothing away.
            instant = whole * unit_ns + int((number - whole) * unit_ns)
            return instant if instant < _LAST_NS else None
    return None


def _calendar_ns(found: re.Match[str]) -> int | None:
    year, month, day, hour, minute, second, fraction, zone_hours, zone_minutes = found.groups()
    seconds, fraction_ns = int(second or 0), int((fraction or "0")[:9].ljust(9, "0"))
    if seconds == _LEAP_SECOND:
        seconds, fraction_ns = 59, SECOND_NS - 1
    try:
        days = date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    if int(year) not in _YEARS or int(hour) not in _HOURS or int(minute) not in _SIXTY:
        return None
    if seconds not in _SIXTY:
        return None
    if abs(int(zone_hours or 0)) not in _HOURS or int(zone_minutes or 0) not in _SIXTY:
        return None
    offset_minutes = int(zone_hours or 0) * 60
    # "-00:30" is half an hour west: the sign belongs to the minutes as well.
    east = not (zone_hours or "+").startswith("-")
    offset_minutes += int(zone_minutes or 0) * (1 if east else -1)
    minutes = (days * 24 + int(hour)) * 60 + int(minute) - offset_minutes
    instant = (minutes * 60 + seconds) * SECOND_NS + fraction_ns
    return instant if 0 <= instant < _LAST_NS else None
