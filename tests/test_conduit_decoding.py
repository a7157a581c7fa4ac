"""Bytes as JSON values that can be stored and compared."""

import json
import traceback
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.conduit.decoding import UnreadableNumber, decode_json, nested_deeper_than
from exporter.errors import SourceMalformed


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b" [0.1, 1e-9, 12] ", [Decimal("0.1"), Decimal("1e-9"), 12]),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (rb'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        (rb'["\ud800", "x\u0000y", "\\ud800"]', ["\ufffd", "x\ufffdy", r"\ud800"]),
        (rb'{"\udfff": {"k\u0000": ["\uDC00"]}}', {"\ufffd": {"k\ufffd": ["\ufffd"]}}),
        (b'["\x00", "line\nend"]', ["\ufffd", "line\nend"]),
        (b'["caf\xe9"]', ["caf\ufffd"]),
        (b'["\xed\xa0\x80"]', ["\ufffd\ufffd\ufffd"]),
    ],
)
def test_a_body_becomes_a_storable_value(body: bytes, value: Any) -> None:
    """Floats are exact, and no text holds a surrogate or a NUL."""
    assert decode_json(body) == value


def test_a_pair_of_surrogates_is_one_character() -> None:
    """Repairing lone surrogates leaves whole pairs and escaped backslashes alone."""
    body = rb'{"smile": "\ud83d\ude00", "path": "C:\\udata", "lone": "\ude00"}'
    assert decode_json(body) == {"smile": "😀", "path": r"C:\udata", "lone": "\ufffd"}


@pytest.mark.parametrize(
    "written",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e400",
        "1e99999999999999999999",
        "1e-999999999",
        "0." + "1" * 500,
        "9" * 5_000,
    ],
)
def test_a_number_that_is_none_is_kept_as_it_was_written(written: str) -> None:
    """It does not spoil its neighbours, and can be told from text."""
    value = decode_json(f'{{"good": [7, 0.5], "bad": {written}}}'.encode())
    assert value["good"] == [7, Decimal("0.5")]
    assert value["bad"] == written
    assert isinstance(value["bad"], UnreadableNumber)
    assert json.dumps(value["bad"]) == f'"{written}"'


@pytest.mark.parametrize(
    "body", [b"", b"{", b"<html>", b'{"a": 1} x', b"\xff\xfe{\x00}\x00", b"nope", b'["\\x"]']
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    """An answer that is not JSON is an error, never an empty value."""
    with pytest.raises(SourceMalformed, match="not JSON"):
        decode_json(body)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
def test_endless_nesting_is_refused(body: bytes) -> None:
    """The interpreter's recursion limit does not reach the caller."""
    with pytest.raises(SourceMalformed, match="too deep"):
        decode_json(body)


def test_the_error_carries_nothing_of_the_body() -> None:
    """Guest text stays out of the exception, its causes and its traceback."""
    with pytest.raises(SourceMalformed) as caught:
        decode_json(b'{"response": "my card is 4111 1111", oops}')
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "4111" not in "".join(traceback.format_exception(caught.value, limit=0))


@pytest.mark.parametrize(
    ("value", "most", "deeper"),
    [
        (1, 0, False),
        ([], 0, True),
        ([], 1, False),
        ([1, {"a": [2]}], 3, False),
        ([1, {"a": [2]}], 2, True),
        ({"a": 1, "b": {"c": {}}}, 2, True),
    ],
)
def test_nesting_is_counted_in_lists_and_objects(value: Any, most: int, deeper: bool) -> None:  # noqa: FBT001 - a table
    """A value without either has depth zero."""
    assert nested_deeper_than(value, most) is deeper


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    """Whatever arrives, a value or SourceMalformed comes out."""
    try:
        decode_json(body)
    except SourceMalformed as exc:
        assert exc.message  # noqa: PT017 - both outcomes are right


_text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _text,
    lambda inner: st.lists(inner) | st.dictionaries(_text, inner),
)


@given(_json, st.booleans())
def test_ordinary_json_is_unchanged(value: Any, ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    """Only what cannot be stored is replaced, whichever way the text was escaped."""
    assert decode_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value
