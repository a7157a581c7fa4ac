"""Head pages row by row: what stands there word for word as it did before is not read again.

Most polls bring nothing new, and of those that do, most rows were there before. A row is known by
its text alone, so that an answer whose cursor differs at each poll costs no more than one that is
the same to the byte. A body of any other form than `{"data":[...` is read whole.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from exporter.conduit import parsing
from exporter.conduit.decoding import plain_text, value_at
from exporter.models import HeadPage, Page, ReadRow, Run, Unreadable

ParseRow = Callable[[Any], Run | Unreadable]

# RFC 8259, section 2: what JSON calls whitespace, which is less than what Python does.
_SPACES: Final = " \t\n\r"
_S: Final = f"[{_SPACES}]*"
_OPENING: Final = re.compile(rf'{_S}\{{{_S}"data"{_S}:{_S}\[{_S}')
_COMMA: Final = re.compile(f"{_S},{_S}")
_CLOSING: Final = re.compile(rf"{_S}\]")
_ROWS_LEFT_OUT: Final = '{"data":null'


def read_head(
    body: bytes, *, decode: Callable[[], Any], parse_row: ParseRow, known: HeadPage | None
) -> HeadPage:
    """The head page that a body holds; `page` is None where it says what the `known` one did.

    `decode` makes JSON of the whole body. Raises SourceMalformed where the body is no page.
    """
    read = _read_rows(body, parse_row, () if known is None else known.rows)
    if read is None:
        page = parsing.parse_page(decode(), parse_row)
        return HeadPage(page, (), page.next_cursor is not None)
    found, rest = read
    rows = tuple([row for row in found if isinstance(row, ReadRow)])
    next_cursor = parsing.parse_next_cursor(rest)
    has_more = next_cursor is not None
    if known is not None and has_more == known.has_more and _is_same(found, known.rows):
        return HeadPage(None, rows, has_more)
    unreadable = tuple([row for row in found if isinstance(row, Unreadable)])
    page = Page(tuple([row.run for row in rows]), unreadable, next_cursor)
    return HeadPage(page, rows, has_more)


def _is_same(found: Sequence[ReadRow | Unreadable], known: Sequence[ReadRow]) -> bool:
    return len(found) == len(known) and all(map(_is, found, known))


def _is(one: object, other: object) -> bool:
    return one is other


def _read_rows(
    body: bytes, parse_row: ParseRow, known: Sequence[ReadRow]
) -> tuple[list[ReadRow | Unreadable], Any] | None:
    """The rows of a page and the object around them; None where it has another form."""
    text = plain_text(body)
    opening = None if text is None else _OPENING.match(text)
    if text is None or opening is None:
        return None
    found: list[ReadRow | Unreadable] = []
    at, expected = opening.end(), 0
    try:
        while True:
            row = known[expected] if expected < len(known) else None
            if row is not None and text.startswith(row.text, at):
                found.append(row)
                expected += 1
                at += len(row.text)
            else:
                value, end = value_at(text, at)
                parsed = parse_row(value)
                if isinstance(parsed, Run):
                    found.append(ReadRow(text[at:end], parsed))
                    expected = _after(parsed.id, known, expected)
                else:
                    found.append(parsed)
                at = end
            comma = _COMMA.match(text, at)
            if comma is None:
                break
            at = comma.end()
        closing = _CLOSING.match(text, at)
        if closing is None:
            return None
        rest, end = value_at(around := _ROWS_LEFT_OUT + text[closing.end() :], 0)
    except (ValueError, RecursionError):
        return None
    # A second `data` behind the first would be the one that counts.
    if rest["data"] is not None or around[end:].strip(_SPACES):
        return None
    return found, rest


def _after(run_id: str, known: Sequence[ReadRow], expected: int) -> int:
    """The place behind a run that has changed; where it is a new one, nothing moves."""
    for place in range(expected, len(known)):
        if known[place].run.id == run_id:
            return place + 1
    return expected
