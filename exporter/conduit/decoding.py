"""Bytes of an answer as JSON values that the rest of the exporter can store and compare.

Exact (floats are decimals), and free of what databases refuse (lone surrogates, NUL). It knows no
field of Conduit and never puts a piece of the body into an error.
"""

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from exporter.errors import SourceMalformed

# A double ends at 1.8e308; what lies beyond it, or has more digits than this, is no measurement.
_LARGEST_EXPONENT: Final = 307
_SMALLEST_EXPONENT: Final = -400
_LONGEST_DECIMAL: Final = 400
# Up to here, a number without an exponent cannot be out of bounds.
_PLAIN_LENGTH: Final = 40
# The interpreter itself refuses to convert longer integers.
_LONGEST_INTEGER: Final = 4_300

_BOM: Final = b"\xef\xbb\xbf"
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT: Final = "\ufffd"


class UnreadableNumber(str):
    """A number that is none (NaN, Infinity, 1e999, 5,000 digits), as it was written.

    A string, so that an untyped part of a run that holds one stays valid JSON; its own type, so
    that a field that must be a number can tell it from text.
    """

    __slots__ = ()


def decode_json(body: bytes) -> Any:
    """The JSON value of a body; raises SourceMalformed where it is not JSON, or without end."""
    body = body.removeprefix(_BOM)
    # Replacing invalid bytes leaves a page readable whose one run quotes a broken string.
    text = body.decode("utf-8", "replace")
    problem: SourceMalformed
    try:
        value = _decode_text(text)
    except RecursionError:
        problem = SourceMalformed("The answer is JSON nested too deep to be read")
    except json.JSONDecodeError as exc:
        problem = SourceMalformed(f"The answer is not JSON: {exc.msg} at character {exc.pos}")
    else:
        if _may_be_unstorable(body):
            _replace_unstorable(value)
        return value
    # Raised out here and without a cause: the decoder's own exception carries the whole body.
    raise problem


def plain_text(body: bytes) -> str | None:
    """The text of a body that holds nothing to replace, so that pieces of it can be decoded."""
    if body.startswith(_BOM) or _may_be_unstorable(body):
        return None
    return body.decode("utf-8", "replace")


def value_at(text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at a place of a plain text, and the place behind it.

    Raises ValueError where there is none, RecursionError where it is nested too deep.
    """
    try:
        return _DECODER.raw_decode(text, at)
    except IndexError as exc:  # behind the end of the text
        raise ValueError("The text ends before the value") from exc


def nested_deeper_than(value: Any, most: int) -> bool:
    """Whether lists and objects are nested more than `most` levels deep."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(most):
        if not level:
            return False
        level = [
            item
            for node in level
            for item in (node.values() if isinstance(node, dict) else node)
            if isinstance(item, dict | list)
        ]
    return bool(level)


def _decimal(text: str) -> Decimal | UnreadableNumber:
    if len(text) <= _PLAIN_LENGTH and "e" not in text and "E" not in text:
        return Decimal(text)
    if len(text) > _LONGEST_DECIMAL:
        return UnreadableNumber(text)
    try:
        number = Decimal(text)
    except ArithmeticError:
        return UnreadableNumber(text)
    if _SMALLEST_EXPONENT <= number.adjusted() <= _LARGEST_EXPONENT:
        return number
    return UnreadableNumber(text)


def _integer(text: str) -> int | UnreadableNumber:
    return int(text) if len(text) <= _LONGEST_INTEGER else UnreadableNumber(text)


_DECODER: Final = json.JSONDecoder(
    parse_float=_decimal, parse_constant=UnreadableNumber, strict=False
)
# Slower: calls back for each integer. Only for a body that holds an endless one.
_PATIENT_DECODER: Final = json.JSONDecoder(
    parse_float=_decimal, parse_int=_integer, parse_constant=UnreadableNumber, strict=False
)


def _decode_text(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _PATIENT_DECODER.decode(text)


def _may_be_unstorable(body: bytes) -> bool:
    """Whether the body holds or spells a NUL or a surrogate; most have no escape at all."""
    if b"\\u" in body and (b"\\u0000" in body or b"\\ud" in body or b"\\uD" in body):
        return True
    return b"\x00" in body


def _replace_unstorable(value: Any) -> None:
    """Replace, in place, what no database stores in a text."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        for place, item in _entries(node):
            if type(item) is str:
                node[place] = _storable(item)
            else:
                waiting.append(item)


def _entries(node: Any) -> Iterable[tuple[Any, Any]]:
    """Where a list or an object keeps what; of an object, with storable keys."""
    if isinstance(node, list):
        return enumerate(node)
    if not isinstance(node, dict):
        return ()
    if any(_UNSTORABLE.search(key) for key in node):
        renamed = {_storable(key): item for key, item in node.items()}
        node.clear()
        node.update(renamed)
    return node.items()


def _storable(text: str) -> str:
    return _UNSTORABLE.sub(_REPLACEMENT, text)
