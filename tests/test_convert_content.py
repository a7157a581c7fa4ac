"""Content as attribute values: bounded, storable, and JSON to the end."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.convert.content import content_json, output_messages
from exporter.convert.redaction import CUT_MARK, MAX_BYTES, cut
from tests.convert_support import ANY_JSON


def as_json(value: Any) -> str:
    return content_json(value, patterns=())


@pytest.mark.parametrize("char", ["é", "€", "🏨"])
@pytest.mark.parametrize("shift", range(4))
def test_a_cut_falls_between_characters(char: str, shift: int) -> None:
    """Wherever the limit falls, no half character is left."""
    text = cut("x" * shift + char * MAX_BYTES)

    assert text.removesuffix(CUT_MARK).strip("x") == char * text.count(char)
    assert MAX_BYTES - len(char.encode()) < len(text.encode()) <= MAX_BYTES


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (Decimal("0.0121"), "0.0121"),
        (0.5, "0.5"),
        ({}, "{}"),
        ([], "[]"),
        ({"a": [1, {"b": None}]}, '{"a":[1,{"b":null}]}'),
        ('{"q": 1.50, "r": [true]}', '{"q":1.5,"r":[true]}'),
        (Decimal("1e999"), '"1E+999"'),
        (Decimal("12345678901234567890.5"), '"12345678901234567890.5"'),
        ('{"q": 1', '"{\\"q\\": 1"'),
        ("[" * 60_000, None),
        ("plain", '"plain"'),
        ({"jane@example.com": 1, "joe@example.com": 2}, '{"[email]":1,"[email] 1":2}'),
        ([4111111111111111, 17], '["[card]",17]'),
    ],
)
def test_json_values(value: Any, expected: str | None) -> None:
    """Every type has a form; JSON inside a string is unpacked, so that it is masked within."""
    written = as_json(value)

    assert json.loads(written) is not NotImplemented
    assert expected is None or written == expected


@pytest.mark.parametrize(
    "value",
    [
        "x" * 5_000,
        "\x01" * 5_000,
        "🏨" * 1_500,
        ["x" * 900] * 9,
        {"a": "x" * 1_900, "b": "y" * 1_900, "c": 1},
        {"k" * 900: 1, "l" * 1_900: 2},
        {f"key{number}": number for number in range(999)},
        list(range(9_999)),
        [[[["x" * 100] * 9] * 9] * 9] * 9,
        [10**1_200, 10**1_200],
    ],
)
def test_long_json_is_cut_and_still_json(value: Any) -> None:
    """What does not fit is cut inside, marked, and the whole can still be parsed."""
    written = as_json(value)

    json.loads(written)
    assert CUT_MARK in written
    assert len(written.encode()) <= MAX_BYTES


def test_deep_values_end_with_a_mark() -> None:
    """Nesting is written so far, then marked, however deep it goes."""
    lists: Any = 1
    objects: Any = 1
    for _ in range(90):
        lists, objects = [lists], {"k": objects}

    assert as_json(lists) == "[" * 24 + f'"{CUT_MARK}"' + "]" * 24
    assert as_json(objects).count('{"k":') == 24
    assert json.loads(as_json(objects))


def test_output_messages_keep_their_form_when_cut() -> None:
    """An endless answer is cut inside its text, not in the message around it."""
    written = output_messages('say "hi" ' * 900, finish_reason="stop", patterns=())
    ((message),) = json.loads(written)

    assert len(written.encode()) <= MAX_BYTES
    assert message["parts"][0]["content"].endswith(CUT_MARK)
    assert (message["role"], message["finish_reason"]) == ("assistant", "stop")


@given(value=ANY_JSON, padding=st.integers(0, 2_100))
def test_any_value_becomes_bounded_json(value: Any, padding: int) -> None:
    """Never raises, always JSON, always below the limit, the same each time."""
    padded = {"pad": "x" * padding, "value": value}
    written = as_json(padded)

    json.loads(written)
    assert len(written.encode()) <= MAX_BYTES
    assert as_json(padded) == written
