"""Label values: safe, short, and few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.labels import OTHER, LabelLimiter, label_value


@pytest.mark.parametrize(
    "ordinary",
    ["", "search_rooms", "Concierge \u201cAnna\u201d, T\u014dky\u014d", 'a"b\\c', "\U0001f3e8"],
)
def test_ordinary_value_is_unchanged(ordinary: str) -> None:
    """Letters of any script, quotes and backslashes pass; the exposition escapes them."""
    assert ordinary == label_value(ordinary)


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("a\nb", "a\ufffdb"),
        ("\x1b[31mred\x00", "\ufffd[31mred\ufffd"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("evil\u202egnp.exe", "evil\ufffdgnp.exe"),
        ("<script>alert(1)</script>", "\u2039script\u203aalert(1)\u2039/script\u203a"),
    ],
)
def test_hostile_value_is_made_harmless(hostile: str, safe: str) -> None:
    """What cannot be written, or would run or mislead when shown, is replaced."""
    assert safe == label_value(hostile)


def test_long_values_stay_apart() -> None:
    """Two values that differ only behind the cut are two series, each 128 characters long."""
    one, two = label_value("x" * 500 + "1"), label_value("x" * 500 + "2")
    assert one != two
    assert len(one) == len(two) == 128


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_becomes_a_value_that_can_be_written(text: str) -> None:
    """Whatever comes, the value is encodable, printable in one line, and short."""
    value = label_value(text)
    value.encode()
    assert len(value) <= 128
    assert len(value.splitlines()) <= 1
    assert not set(value) & set("<>")
    assert value == label_value(value)


def test_first_values_stay_and_the_rest_is_other() -> None:
    """The limit holds for each scope alone, and every overflow is told."""
    told: list[str] = []
    limiter = LabelLimiter(2, on_overflow=lambda: told.append("x"))
    assert [limiter(1, value) for value in ("a", "b", "c", "a", "c")] == [
        "a", "b", OTHER, "a", OTHER,
    ]  # fmt: skip
    assert limiter(2, "c") == "c"
    assert limiter.overflows == len(told) == 2


def test_known_values_stay_even_above_a_lowered_limit() -> None:
    """Series that exist go on after a restart with a smaller limit; new ones are other."""
    limiter = LabelLimiter(1, known=[(1, "a"), (1, "b"), (1, OTHER)])
    assert [limiter(1, value) for value in ("a", "b", "c")] == ["a", "b", OTHER]


def test_value_named_other_is_no_overflow() -> None:
    """A tool that is called `other` takes no place and is not reported."""
    limiter = LabelLimiter(1)
    assert limiter(1, OTHER) == OTHER
    assert limiter(1, "a") == "a"
    assert limiter.overflows == 0


def test_values_that_look_alike_when_safe_are_one() -> None:
    """The limit counts what is shown, not what came."""
    limiter = LabelLimiter(1)
    assert limiter(1, "a\x01") == limiter(1, "a\x02") == "a\ufffd"


def test_a_million_names_take_the_room_of_the_first() -> None:
    """What is remembered does not grow with the number of names."""
    limiter = LabelLimiter(100)
    seen = {limiter(1, f"tool-{number}") for number in range(20_000)}
    assert len(seen) == 101
    assert limiter.overflows == 19_900


def test_forgotten_scope_starts_anew() -> None:
    """A scope that is read elsewhere now takes no memory here."""
    limiter = LabelLimiter(1, known=[(1, "a")])
    limiter.forget(1)
    limiter.forget(7)
    assert limiter(1, "b") == "b"
