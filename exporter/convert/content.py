"""Content as attribute values: masked, then cut below 2,000 bytes, and still valid JSON.

Used only where the operator asked for content. What is cut says so where it was cut. It never
raises: every value that `decode_json` gives becomes some JSON text.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from exporter.conduit.decoding import decode_json
from exporter.convert.redaction import (
    CUT_MARK,
    MAX_BYTES,
    Patterns,
    cut,
    mask,
    mask_number,
    storable,
)
from exporter.errors import SourceMalformed

_MAX_DEPTH: Final = 24
# What a value costs beside its text: quotes, a comma, brackets.
_OVERHEAD: Final = 4
# How much less room is tried at least where a text does not fit.
_STEP: Final = 32
# Text that may be JSON itself (an OpenAI tool call carries its arguments so) is read up to here.
_MAX_JSON_TEXT: Final = 65_536


def content_text(text: str, *, patterns: Patterns) -> str:
    """A text of content as an attribute's value."""
    return cut(mask(storable(text), patterns))


def content_json(value: Any, *, patterns: Patterns) -> str:
    """A JSON value of content as an attribute's value; JSON in a string is unpacked first."""
    value = parsed(value)
    return _fit(lambda room: _Shrinker(room, patterns).shrink(value))


def output_messages(text: str, *, finish_reason: str, patterns: Patterns) -> str:
    """The agent's answer in the form of `gen_ai.output.messages`."""
    masked = mask(storable(text), patterns)

    def message(room: int) -> Any:
        part = {"type": "text", "content": cut(masked, max_bytes=room)}
        return [{"role": "assistant", "parts": [part], "finish_reason": finish_reason}]

    return _fit(message)


def parsed(value: Any) -> Any:
    """What JSON in a string says; any other value as it is."""
    if isinstance(value, str) and len(value) <= _MAX_JSON_TEXT and value[:1] in ("{", "["):
        try:
            return decode_json(value.encode("utf-8", "replace"))
        except SourceMalformed:
            return value
    return value


def _fit(build: Callable[[int], Any]) -> str:
    """JSON of what `build` makes of the largest room tried that keeps it below the limit."""
    room = MAX_BYTES
    while True:
        text = json.dumps(build(room), ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())
        if size <= MAX_BYTES:
            return text
        room = min(room * MAX_BYTES // size, room - _STEP)


class _Shrinker:
    """Copies a value, masked, until about `room` bytes are spent; a mark stands for the rest."""

    def __init__(self, room: int, patterns: Patterns) -> None:
        self._room = room
        self._patterns = patterns

    def shrink(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict | list) and value and (depth >= _MAX_DEPTH or self._room <= 0):
            return CUT_MARK
        self._room -= _OVERHEAD
        if isinstance(value, dict):
            return self._object(value, depth)
        if isinstance(value, list):
            return self._array(value, depth)
        return value if value is None or isinstance(value, bool) else self._number(value)

    def _object(self, value: dict[str, Any], depth: int) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, item in value.items():
            if self._room <= 0:
                copy[CUT_MARK] = True
                break
            name = self._text(key)
            # Two keys may read alike once they are masked.
            name = f"{name} {len(copy)}" if name in copy else name
            copy[name] = self.shrink(item, depth + 1)
        return copy

    def _array(self, value: list[Any], depth: int) -> list[Any]:
        copy: list[Any] = []
        for item in value:
            if self._room <= 0:
                copy.append(CUT_MARK)
                break
            copy.append(self.shrink(item, depth + 1))
        return copy

    def _text(self, text: str) -> str:
        kept = cut(mask(storable(text), self._patterns), max_bytes=self._room)
        self._room -= len(kept.encode()) + _OVERHEAD
        return kept

    def _number(self, value: float | Decimal) -> float | str:
        """The number as JSON has it, or its text where it is masked or no float is it exactly."""
        text = str(value)
        self._room -= len(text)
        masked = mask_number(text, self._patterns)
        if masked != text:
            return masked
        if not isinstance(value, Decimal):
            return value
        nearest = float(value)
        return nearest if Decimal(repr(nearest)) == value else text
