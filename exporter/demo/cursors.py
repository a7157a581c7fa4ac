"""Cursors of both kinds that a list API can have, as opaque text bound to the list they came from.

An offset counts rows, so rows that arrive or go shift what it points at; a keyset names the last
row that was shown, so nothing shifts.
"""

import base64
import binascii
from typing import Literal

from exporter.demo.runs import FAR_FUTURE_NS

CursorKind = Literal["offset", "keyset"]
# How many rows to skip, or the (creation time, id) of the last row shown.
Place = int | tuple[int, str]

# Later than every row that there can be.
TOP_KEY = (FAR_FUTURE_NS, "")


def encode_cursor(scope: str, place: Place) -> str:
    """Opaque text for a place in the list `scope`."""
    text = f"{place}" if isinstance(place, int) else f"{place[0]}/{place[1]}"
    return base64.urlsafe_b64encode(f"{text}|{scope}".encode()).decode()


def decode_cursor(scope: str, cursor: str) -> Place | None:
    """The place, or None where the cursor is not one of this list."""
    try:
        text, mark, bound = base64.urlsafe_b64decode(cursor.encode()).decode().partition("|")
        if not mark or bound != scope:
            return None
        number, slash, run_id = text.partition("/")
        return (int(number), run_id) if slash else max(0, int(number))
    except (binascii.Error, ValueError):
        return None
