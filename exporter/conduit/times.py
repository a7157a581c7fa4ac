"""Conduit's times as integer nanoseconds since the Unix epoch, exactly.

`datetime` keeps microseconds only and knows no leap second, so the arithmetic is done on integers
here. Nothing is guessed silently: whatever had to be bent says so. It never reads a clock.
"""

import re
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

# Nanoseconds since the epoch, and whether the text had to be bent to be understood.
Instant = tuple[int, bool]

SECOND_NS: Final = 1_000_000_000

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
# A signed 64-bit number of nanoseconds ends in 2262; a run must fit with its duration added.
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2200
_END_NS: Final = (date(_LAST_YEAR + 1, 1, 1).toordinal() - _EPOCH_DAY) * 86_400 * SECOND_NS
_LONGEST_TEXT: Final = 64
_LAST_HOUR: Final = 23
_LAST_MINUTE: Final = 59
_LEAP_SECOND: Final = 60

# The documented form, whose digits after the minute are seconds and milliseconds.
_PLAIN_LENGTH: Final = len("2026-04-03T03:14:15.000Z")
_PLAIN_MINUTE: Final = len("2026-04-03T03:14:")
_MINUTE_MS: Final = 60_000
_MS_NS: Final = 1_000_000
_MINUTE_SHAPE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):", re.ASCII)

_SHAPE: Final = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)"
    r"(?:[Tt ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?\ ?"
    r"(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?)?",
    re.ASCII,
)

# Numbers: seconds until the year 5138, then milliseconds, microseconds, nanoseconds. Smaller ones
# are left-over zeros and counters rather than times (1973).
_EPOCH_LEAST: Final = 10**8
_EPOCH_UNITS: Final = ((10**11, SECOND_NS), (10**14, _MS_NS), (10**17, 1_000), (10**20, 1))


def parse_time(value: Any) -> Instant | None:
    """The instant that a JSON value names; None where it names none between 1970 and 2200.

    Fractions are kept to the nanosecond. A leap second becomes the last nanosecond before it, a
    time without a zone is UTC, a number counts from the epoch: all three are marked as bent.
    """
    if isinstance(value, str):
        if len(value) == _PLAIN_LENGTH and value[23] == "Z" and value[19] == ".":
            digits = value[17:19] + value[20:23]
            if digits.isdigit() and digits.isascii() and (millis := int(digits)) < _MINUTE_MS:
                minute_ns = _minute_start_ns(value[:_PLAIN_MINUTE])
                return None if minute_ns is None else (minute_ns + millis * _MS_NS, False)
        return _parse_text(value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return _parse_epoch(value)
    return None


@lru_cache(maxsize=512)  # neighbouring runs share their minutes
def _minute_start_ns(prefix: str) -> int | None:
    found = _MINUTE_SHAPE.fullmatch(prefix)
    return None if found is None else _to_ns(*map(int, found.groups()), second=0, fraction_ns=0)


def _parse_text(text: str) -> Instant | None:
    found = _SHAPE.fullmatch(text.strip()) if len(text) <= _LONGEST_TEXT else None
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zulu, sign, zone_h, zone_m = found.groups()
    adjusted = zulu is None and sign is None
    second_number = int(second or 0)
    fraction_ns = int((fraction or "0")[:9].ljust(9, "0"))
    if second_number == _LEAP_SECOND:
        second_number, fraction_ns, adjusted = 59, SECOND_NS - 1, True
    zone_minutes = 0
    if sign is not None:
        if int(zone_h) > _LAST_HOUR or int(zone_m or 0) > _LAST_MINUTE:
            return None
        zone_minutes = int(f"{sign}1") * (int(zone_h) * 60 + int(zone_m or 0))
    local_ns = _to_ns(
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        second=second_number,
        fraction_ns=fraction_ns,
    )
    if local_ns is None:
        return None
    utc_ns = local_ns - zone_minutes * 60 * SECOND_NS
    return (utc_ns, adjusted) if 0 <= utc_ns < _END_NS else None


def _to_ns(
    year: int, month: int, day: int, hour: int, minute: int, *, second: int, fraction_ns: int
) -> int | None:
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        return None
    if hour > _LAST_HOUR or minute > _LAST_MINUTE or second > _LAST_MINUTE:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * SECOND_NS + fraction_ns


def _parse_epoch(number: int | Decimal) -> Instant | None:
    if number < _EPOCH_LEAST:
        return None
    for limit, unit_ns in _EPOCH_UNITS:
        if number < limit:
            whole = int(number)
            # The fraction alone is scaled, so that the decimal context rounds nothing away.
            instant_ns = whole * unit_ns + int((number - whole) * unit_ns)
            return (instant_ns, True) if instant_ns < _END_NS else None
    return None
