"""Texts and numbers as integer nanoseconds since the Unix epoch, UTC.

The one module that reads times: ISO 8601, epoch numbers and HTTP dates. `datetime` keeps only
microseconds and knows no leap second, so both are handled beside it. It reads no clock.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, Final

SECOND_NS: Final = 1_000_000_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A signed 64-bit number of nanoseconds ends in 2262; a run must fit with its duration added.
_END_NS: Final = (datetime(2201, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1) * SECOND_NS

_MAX_TEXT: Final = 64
_ISO: Final = re.compile(
    r"(\d{4}-?\d\d-?\d\d)"
    r"(?:[Tt ](\d\d:?\d\d)(?::?(\d\d)(?:[.,](\d+))?)? ?([Zz]|[+-]\d\d(?::?[0-5]\d)?)?)?",
    re.ASCII,
)
_LEAP_SECOND: Final = 60

# Numbers: seconds until the year 5138, then milliseconds, microseconds, nanoseconds. Smaller ones
# are left-over zeros and counters rather than times (1973).
_MIN_EPOCH: Final = 10**8
_EPOCH_UNITS: Final = ((10**11, SECOND_NS), (10**14, 1_000_000), (10**17, 1_000), (10**20, 1))


def parse_time(value: Any) -> tuple[int, bool] | None:
    """The instant that a JSON value names, and whether it was adjusted (see `iso_to_ns`).

    A number counts from the epoch, which is an adjustment too. None where it names no instant
    between 1970 and 2200.
    """
    if isinstance(value, str):
        return iso_to_ns(value.strip())
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        instant_ns = epoch_to_ns(value)
        return None if instant_ns is None else (instant_ns, True)
    return None


def iso_to_ns(text: str) -> tuple[int, bool] | None:
    """The instant of an ISO 8601 text, fractions to the nanosecond; None where it is none.

    Adjusted is a leap second, which becomes the last nanosecond before it, and a text without a
    zone, which is taken for UTC.
    """
    found = _ISO.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if found is None:
        return None
    day, minute, second, fraction, zone = found.groups()
    second_ns = int(second or 0) * SECOND_NS + int((fraction or "")[:9].ljust(9, "0"))
    is_leap = int(second or 0) == _LEAP_SECOND
    if is_leap:
        second_ns = _LEAP_SECOND * SECOND_NS - 1
    try:
        moment = datetime.fromisoformat(f"{day}T{minute or '00:00'}{(zone or 'Z').upper()}")
    except ValueError:
        return None
    instant_ns = (moment - _EPOCH) // timedelta(seconds=1) * SECOND_NS + second_ns
    if second_ns >= _LEAP_SECOND * SECOND_NS or not 0 <= instant_ns < _END_NS:
        return None
    return instant_ns, is_leap or zone is None


def epoch_to_ns(number: int | Decimal) -> int | None:
    """The instant of a number since the epoch, whose size tells its unit; None where it is none."""
    if number < _MIN_EPOCH:
        return None
    for limit, unit_ns in _EPOCH_UNITS:
        if number < limit:
            whole = int(number)
            # The fraction alone is scaled, so that the decimal context rounds nothing away.
            instant_ns = whole * unit_ns + int((number - whole) * unit_ns)
            return instant_ns if instant_ns < _END_NS else None
    return None


def http_date_to_ns(text: str) -> int | None:
    """The instant of an HTTP date (RFC 9110, section 5.6.7); None where the text is none."""
    try:
        moment = parsedate_to_datetime(text)
        # It is in GMT, whether or not it says so.
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(seconds=1) * SECOND_NS
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
