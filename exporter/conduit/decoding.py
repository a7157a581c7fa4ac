"""Bytes of an answer as JSON values that the rest of the exporter can store and compare.

Bounded before it is parsed, exact (numbers with a fraction are decimals), and free of what
databases refuse. It knows no field of Conduit and puts no piece of the body into an error.
"""

import json
import re
from decimal import Decimal
from typing import Any, Final

from exporter.errors import SourceMalformed

MAX_ELEMENTS: Final = 500_000

# A double ends at 1.8e308; what lies beyond it, or has more digits than this, is no measurement.
_MAX_EXPONENT: Final = 307
_MIN_EXPONENT: Final = -400
_MAX_DIGITS: Final = 400

# Possessive, so that a string of millions of escapes takes no memory; the closing quote may be
# missing, so that no text makes it begin again and again.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def decode_json(body: bytes) -> Any:
    """The JSON value of a body; raises SourceMalformed where it is not JSON, or beyond the bounds.

    NaN, 1e999, numbers of 5,000 digits and their like are kept as the text that stands there.
    """
    outside_strings = _STRING.sub(b"", body)
    if sum(map(outside_strings.count, (b",", b"[", b"{"))) > MAX_ELEMENTS:
        raise SourceMalformed(f"The answer has more than {MAX_ELEMENTS} elements")
    try:
        # Replacing invalid bytes leaves a page readable whose one run quotes a broken string.
        value = _DECODER.decode(body.decode("utf-8-sig", "replace"))
        # Only an escape can stand for a lone surrogate, and NUL stands as it is or as an escape.
        return _storable(value) if b"\\u" in body or b"\0" in body else value
    except RecursionError:
        problem = "nested too deep to be read"
    except json.JSONDecodeError as exc:
        problem = f"not JSON: {exc.msg} at character {exc.pos}"
    # Raised out here and without a cause: the decoder's own exception carries the whole body.
    raise SourceMalformed(f"The answer is {problem}")


def parse_decimal(text: str) -> Decimal | None:
    """The number that a JSON number's text names; None where it is too large or too long."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        return None
    in_bounds = _MIN_EXPONENT <= number.adjusted() <= _MAX_EXPONENT
    return number if in_bounds and len(text) <= _MAX_DIGITS else None


def _decimal_or_text(text: str) -> Decimal | str:
    number = parse_decimal(text)
    return text if number is None else number


def _integer_or_text(text: str) -> int | str:
    return int(text) if len(text) <= _MAX_DIGITS else text


_DECODER: Final = json.JSONDecoder(
    parse_float=_decimal_or_text, parse_int=_integer_or_text, parse_constant=str, strict=False
)


def _storable(value: Any) -> Any:
    """The value with lone surrogates and NUL replaced, which no database stores in a text."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value
