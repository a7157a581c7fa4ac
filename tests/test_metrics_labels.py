"""Label values: safe, short, and few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.labels import OTHER, LabelLimiter, label_value


@pytest.mark.parametrize(
    "ordinary",
    ["", "search_rooms", "Concierge \u201cAnna\u201d, T\u014dky\u014d", 'a"b\\c', "\U0001f3e8"],
)
def test_an_ordinary_value_is_unchanged(ordinary: str) -> None:
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
def test_a_hostile_value_is_made_harmless(hostile: str, safe: str) -> None:
    """What cannot be written, or would run or mislead when shown, is replaced."""
    assert label_value(hostile).rpartition("\u2026")[0] == safe


@pytest.mark.parametrize(
    ("one", "two"),
    [("x" * 500 + "1", "x" * 500 + "2"), ("a\x01", "a\x02"), ("<b>", "\u2039b\u203a")],
)
def test_different_values_stay_different(one: str, two: str) -> None:
    """Two series never become one, which would be shown twice or summed wrongly."""
    assert label_value(one) != label_value(two)


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_becomes_a_value_that_can_be_written(text: str) -> None:
    """Whatever comes, the value is encodable, printable in one line, and short."""
    value = label_value(text)
    value.encode()
    assert len(value) <= 128
    assert len(value.splitlines()) <= 1
    assert not set(value) & set("<>")
    assert value == label_value(value)


def test_the_first_values_stay_and_the_rest_is_other() -> None:
    """The limit holds for each scope alone, and every overflow is told."""
    told: list[str] = []
    limiter = LabelLimiter(2, on_overflow=lambda: told.append("x"))
    assert [limiter(1, value) for value in ("a", "b", "c", "a", "c", OTHER)] == [
        "a", "b", OTHER, "a", OTHER, OTHER,
    ]  # fmt: skip
    assert limiter(2, "c") == "c"
    assert len(told) == 2


def test_known_values_stay_even_above_a_lowered_limit() -> None:
    """Series that exist go on after a restart with a smaller limit; new ones are other."""
    limiter = LabelLimiter(1, known=[(1, "a"), (1, "b"), (1, OTHER)], on_overflow=lambda: None)
    assert [limiter(1, value) for value in ("a", "b", "c")] == ["a", "b", OTHER]
