"""Label values: safe, short, and few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.metrics.labels import OTHER, LabelLimiter, label_value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", ""),
        ('Concierge \u201cAnna\u201d, T\u014dky\u014d a"b\\c \U0001f3e8',) * 2,
        ("a\nb \x1b[31m\x00", "a\ufffdb \ufffd[31m\ufffd\u20264a8beb02"),
        ("evil\u202egnp.exe \ud800", "evil\ufffdgnp.exe \ufffd\u2026fe12fb61"),
        ("<script>", "\u2039script\u203a\u2026"),
        ("x" * 500, "x" * 119 + "\u2026"),
    ],
    ids=["empty", "ordinary", "control", "direction", "markup", "long"],
)
def test_only_what_could_harm_is_changed(value: str, shown: str) -> None:
    """A changed value ends in a digest of its text: two series never become one."""
    assert label_value(value).startswith(shown)
    assert (label_value(value) == value) is (value == shown)
    assert value == shown or label_value(value) != label_value(f"{value} ")


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
