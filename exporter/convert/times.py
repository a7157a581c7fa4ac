"""Instants and durations that a tool item may carry, as nanoseconds.

The API types nothing inside an item, so only what can be nothing else is taken for a time: a date
without a time of day may be a guest's check-in, a small number a counter. It never reads a clock.
"""

import math
import re
from decimal import Decimal
from typing import Any, Final

from exporter.times import SECOND_NS, epoch_to_ns, iso_to_ns

_LONGEST_TEXT: Final = 64
_WITH_TIME_OF_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:.*", re.ASCII)
_EPOCH_TEXT: Final = re.compile(r"\d{9,19}(?:\.\d{1,9})?", re.ASCII)
_LONGEST_DURATION_NS: Final = 366 * 86_400 * SECOND_NS


def instant_ns(value: Any) -> int | None:
    """The instant that an ISO 8601 text or a number since the epoch names; None if it names none.

    A text without a zone is UTC. A number's size tells its unit.
    """
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            return None
        if _WITH_TIME_OF_DAY.fullmatch(value):
            instant = iso_to_ns(value)
            return None if instant is None else instant[0]
        return epoch_to_ns(Decimal(value)) if _EPOCH_TEXT.fullmatch(value) else None
    number = _number(value)
    return None if number is None else epoch_to_ns(number)


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
