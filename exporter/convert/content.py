"""Content as attribute values: masked, then cut below 2,000 bytes, and still valid JSON.

Used only where the operator asked for content. What is cut says so where it was cut. It never
raises: a value of any type and depth becomes some JSON text.
"""

import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from exporter.convert.bounds import CUT_MARK, MAX_BYTES, cut, storable
from exporter.convert.redaction import Pattern, mask, mask_number

_MARK: Final = json.dumps(CUT_MARK, ensure_ascii=False)
_MARK_BYTES: Final = len(_MARK.encode())
_MARK_ENTRY: Final = f"{_MARK}:true"
_MARK_ENTRY_BYTES: Final = len(_MARK_ENTRY.encode())
_LONGEST_KEY_BYTES: Final = 128
_MOST_NESTING: Final = 24
# The interpreter refuses to print integers of more than 4,300 digits.
_MOST_BITS: Final = 4_096
# Text that may be JSON itself (an OpenAI tool call carries its arguments so) is read up to here.
_LONGEST_JSON_TEXT: Final = 65_536

Patterns = tuple[Pattern, ...]


def content_text(text: str, *, patterns: Patterns) -> str:
    """A text of content as an attribute's value."""
    return cut(mask(storable(text), patterns))


def content_json(value: Any, *, patterns: Patterns) -> str:
    """A JSON value of content as an attribute's value; JSON in a string is unpacked first."""
    return _JsonWriter(patterns).write(_unpacked(value), MAX_BYTES, 0)


def output_messages(text: str, *, finish_reason: str, patterns: Patterns) -> str:
    """The agent's answer in the form of `gen_ai.output.messages`."""
    head = '[{"role":"assistant","parts":[{"type":"text","content":'
    tail = '}],"finish_reason":' + json.dumps(finish_reason) + "}]"
    room = MAX_BYTES - len(head) - len(tail)
    return head + _JsonWriter(patterns).write(text, room, 0) + tail


def _unpacked(value: Any) -> Any:
    if isinstance(value, str) and len(value) <= _LONGEST_JSON_TEXT and value[:1] in ("{", "["):
        try:
            return json.loads(value, parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError):
            return value
    return value


class _JsonWriter:
    """Writes JSON into a given room of bytes; every `room` holds at least the mark of a cut."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns

    def write(self, value: Any, room: int, depth: int) -> str:
        if isinstance(value, str):
            return self._string(value, room)
        if isinstance(value, Mapping):
            return self._object(value, room, depth)
        if isinstance(value, list | tuple):
            return self._array(value, room, depth)
        text = self._scalar(value)
        return text if len(text.encode()) <= room else _MARK

    def _scalar(self, value: Any) -> str:
        if value is None or isinstance(value, bool):
            return json.dumps(value)
        if isinstance(value, int):
            return self._number(str(value)) if value.bit_length() <= _MOST_BITS else _MARK
        if isinstance(value, Decimal) and value.is_finite():
            return self._number(str(value))
        if isinstance(value, float) and math.isfinite(value):
            return self._number(repr(value))
        return json.dumps(f"[{type(value).__name__}]")

    def _number(self, text: str) -> str:
        masked = mask_number(text, self._patterns)
        return text if masked == text else json.dumps(masked, ensure_ascii=False)

    def _string(self, text: str, room: int) -> str:
        masked = mask(storable(text), self._patterns)
        # Twice the room is more than can stay, and keeps an endless text from being escaped whole.
        quoted = json.dumps(masked[: 2 * room], ensure_ascii=False)
        if len(masked) <= 2 * room and len(quoted.encode()) <= room:
            return quoted
        room -= _MARK_BYTES
        kept: list[str] = []
        for char in masked[:room]:
            room -= len(json.dumps(char, ensure_ascii=False).encode()) - 2
            if room < 0:
                break
            kept.append(char)
        return json.dumps("".join(kept) + CUT_MARK, ensure_ascii=False)

    def _array(self, items: Iterable[Any], room: int, depth: int) -> str:
        written = list[str]()
        left = room - 2
        waiting = list(items)
        if waiting and (left < _MARK_BYTES or depth >= _MOST_NESTING):
            return _MARK
        for place, item in enumerate(waiting, 1):
            # Before each item there is room for it or for the mark that stands for all the rest.
            left -= 1 if written else 0
            room_here = left if place == len(waiting) else left - 1 - _MARK_BYTES
            if room_here < _MARK_BYTES:
                written.append(_MARK)
                break
            written.append(self.write(item, room_here, depth + 1))
            left -= len(written[-1].encode())
        return f"[{','.join(written)}]"

    def _object(self, entries: Mapping[Any, Any], room: int, depth: int) -> str:
        written = list[str]()
        left = room - 2
        if entries and (left < _MARK_ENTRY_BYTES or depth >= _MOST_NESTING):
            return _MARK
        for place, (key, item) in enumerate(entries.items(), 1):
            left -= 1 if written else 0
            name = self._string(str(key), _LONGEST_KEY_BYTES) + ":"
            room_here = left - len(name.encode())
            if place < len(entries):
                room_here -= 1 + _MARK_ENTRY_BYTES
            if room_here < _MARK_BYTES:
                written.append(_MARK_ENTRY)
                break
            written.append(name + self.write(item, room_here, depth + 1))
            left -= len(written[-1].encode())
        return f"{{{','.join(written)}}}"
