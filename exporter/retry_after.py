"""Retry-After of RFC 9110, in both of its forms; what is too long is the caller's to say."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_retry_after(headers: Mapping[str, str], *, now_ns: int) -> float | None:
    """The seconds, which may be negative or infinite; None where there are none to be understood.

    Header names in lower case. A date counts from the answer's own Date where there is one, so that
    a clock which is wrong here or there does no harm.
    """
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text.replace("_", "?"))
    except ValueError:
        until_s = _to_epoch_s(text)
        if until_s is None:
            return None
        sent_s = _to_epoch_s(headers.get("date", ""))
        seconds = until_s - (now_ns / 1e9 if sent_s is None else sent_s)
    return None if math.isnan(seconds) else seconds


def _to_epoch_s(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        # An HTTP-date is in GMT, whether or not it says so.
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return (moment - _EPOCH).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
