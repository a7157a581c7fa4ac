"""Cursors of both kinds that a list API can have, as opaque text bound to the list they came from.

An offset counts rows, so rows that arrive or go shift what it points at; a keyset names the last
row that was shown, so nothing shifts.
"""

import base64
import binascii
from typing import Literal, NamedTuple

from exporter.demo.runs import FAR_FUTURE_NS

CursorKind = Literal["offset", "keyset"]
# How many rows to skip, or the (creation time, id) of the last row shown.
Place = int | tuple[int, str]

# Later than every row that there can be.
TOP_KEY = (FAR_FUTURE_NS, "")


class Cursor(NamedTuple):
    """A place in a list, and when the cursor to it was given out."""

    place: Place
    given_ns: int


def encode_cursor(scope: str, cursor: Cursor) -> str:
    """Opaque text for a place in the list `scope`."""
    place = cursor.place
    text = f"{place}" if isinstance(place, int) else f"{place[0]}/{place[1]}"
    return base64.urlsafe_b64encode(f"{text}@{cursor.given_ns}|{scope}".encode()).decode()


def decode_cursor(scope: str, text: str) -> Cursor | None:
    """The cursor behind the text, or None where it is not one of this list."""
    try:
        inner, mark, bound = base64.urlsafe_b64decode(text.encode()).decode().partition("|")
        if not mark or bound != scope:
            return None
        placed, _, given = inner.rpartition("@")
        number, slash, run_id = placed.partition("/")
        place = (int(number), run_id) if slash else max(0, int(number))
        return Cursor(place, int(given))
    except (binascii.Error, ValueError):
        return None
