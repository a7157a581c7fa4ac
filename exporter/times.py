"""Calendar times and epoch numbers as integer nanoseconds since the Unix epoch, UTC, exactly.

`datetime` keeps microseconds only and knows no leap second, so the arithmetic is done on integers
here. It reads no clock and decides nothing about which text is a time.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Final

SECOND_NS: Final = 1_000_000_000

# A signed 64-bit number of nanoseconds ends in 2262; a run must fit with its duration added.
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2200

_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_END_NS: Final = (date(LAST_YEAR + 1, 1, 1).toordinal() - _EPOCH_DAY) * 86_400 * SECOND_NS
_LEAP_SECOND: Final = 60
_HOURS: Final = range(24)
_SIXTY: Final = range(60)

# Numbers: seconds until the year 5138, then milliseconds, microseconds, nanoseconds. Smaller ones
# are left-over zeros and counters rather than times (1973).
_EPOCH_LEAST: Final = 10**8
_EPOCH_UNITS: Final = ((10**11, SECOND_NS), (10**14, 1_000_000), (10**17, 1_000), (10**20, 1))


def calendar_to_ns(
    calendar: Iterable[int], *, fraction: str = "", east_minutes: int = 0
) -> tuple[int, bool] | None:
    """The instant, and whether a leap second was bent to the last nanosecond before it.

    `calendar` is year, month, day, and as far as given hour, minute, second; `fraction` are the
    digits behind the second, `east_minutes` the offset of the zone. None where there is no such
    time between 1970 and 2200.
    """
    year, month, day, hour, minute, second = (*calendar, 0, 0, 0)[:6]
    fraction_ns = int(fraction[:9].ljust(9, "0"))
    bent = second == _LEAP_SECOND
    if bent:
        second, fraction_ns = 59, SECOND_NS - 1
    if hour not in _HOURS or minute not in _SIXTY or second not in _SIXTY:
        return None
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    minutes = (days * 24 + hour) * 60 + minute - east_minutes
    instant_ns = (minutes * 60 + second) * SECOND_NS + fraction_ns
    return (instant_ns, bent) if 0 <= instant_ns < _END_NS else None


def zone_to_minutes(sign: str, hours: str, minutes: str | None) -> int | None:
    """A zone's offset to the east, such as `-`, `00`, `30`; None where there is no such zone."""
    if int(hours) not in _HOURS or int(minutes or 0) not in _SIXTY:
        return None
    # The sign belongs to the minutes as well: "-00:30" is half an hour west.
    return int(f"{sign}1") * (int(hours) * 60 + int(minutes or 0))


def epoch_to_ns(number: int | Decimal) -> int | None:
    """The instant of a number since the epoch, whose size tells its unit; None where it is none."""
    if number < _EPOCH_LEAST:
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
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * SECOND_NS
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
