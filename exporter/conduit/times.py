"""What Conduit writes as a time, whatever its form; nothing is guessed silently."""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from exporter.times import SECOND_NS, calendar_to_ns, epoch_to_ns, zone_to_minutes

__all__ = ["SECOND_NS", "parse_time"]

# Nanoseconds since the epoch, and whether the text had to be bent to be understood.
Instant = tuple[int, bool]

_LONGEST_TEXT: Final = 64

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
        instant_ns = epoch_to_ns(value)
        return None if instant_ns is None else (instant_ns, True)
    return None


@lru_cache(maxsize=512)  # neighbouring runs share their minutes
def _minute_start_ns(prefix: str) -> int | None:
    found = _MINUTE_SHAPE.fullmatch(prefix)
    instant = None if found is None else calendar_to_ns(map(int, found.groups()))
    return None if instant is None else instant[0]


def _parse_text(text: str) -> Instant | None:
    found = _SHAPE.fullmatch(text.strip()) if len(text) <= _LONGEST_TEXT else None
    if found is None:
        return None
    *calendar, fraction, zulu, sign, zone_hours, zone_minutes = found.groups()
    east_minutes = zone_to_minutes(sign, zone_hours, zone_minutes) if sign is not None else 0
    if east_minutes is None:
        return None
    instant = calendar_to_ns(
        (int(part or 0) for part in calendar), fraction=fraction or "", east_minutes=east_minutes
    )
    if instant is None:
        return None
    instant_ns, bent = instant
    return instant_ns, bent or (zulu is None and sign is None)
