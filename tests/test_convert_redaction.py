"""Masking of personal data: what is found, what is left alone, and in which order."""

import re

import pytest
from hypothesis import given

from exporter.convert.bounds import CUT_MARK
from exporter.convert.content import content_text
from exporter.convert.redaction import LONGEST_TEXT, mask, mask_number
from exporter.settings.values import parse_patterns
from tests.convert_support import ANY_TEXT


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Write to jane.doe+x@mail.example.com.", "Write to [email]."),
        ("jürgen@hôtel.example", "[email]"),
        ("a@b.co,c@d.org", "[email],[email]"),
        ("+49 171 2345678", "[phone]"),
        ("call (555) 123-4567 now", "call [phone] now"),
        ("555-123-4567", "[phone]"),
        ("01712345678", "[phone]"),
        ("00491712345", "[phone]"),
        ("4111 1111 1111 1111", "[card]"),
        ("4111-1111-1111-1111 12/27 123", "[card] [phone]"),
        ("4111111111111111", "[card]"),
        ("378282246310005", "[card]"),
        ("12 4111 1111 1111 1111", "12 [card]"),
    ],
)
def test_personal_data_is_masked(text: str, masked: str) -> None:
    """Addresses, phone and card numbers in their usual forms."""
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        *("plain", "x@y", "2026-04-05", "03/04/2026", "2026-04-03T03:14:15.000Z", "14:30"),
        *("res_123456789012", "ar77c0dy0mgdpzmqz6tesry8w184002s", "order 12345678", "12.50 USD"),
        *("192.168.100.200", "1234567.89", "1,234,567.89", "4111111111111112", "room 204"),
        "0" * 16,
    ],
)
def test_other_texts_are_left_alone(text: str) -> None:
    """Dates, prices, ids and numbers that fail the check digit stay readable."""
    assert mask(text) == text


def test_numbers_are_masked_as_cards_only() -> None:
    """A JSON number that may be a time stays; one that is a card number does not."""
    assert mask_number("4111111111111111") == "[card]"
    assert mask_number("01712345678") == "01712345678"
    assert mask_number("4111111111111111.5") == "4111111111111111.5"
    assert mask_number("123456", [re.compile("34")]) == "12[masked]56"


def test_operator_patterns_come_first_and_see_the_text_as_written() -> None:
    """What a pattern finds is masked whole, even across an address; an empty match is nothing."""
    patterns = [re.compile(r"Jane \S+"), re.compile(r"(?=BK)|BK-\d{6}")]

    assert mask("Jane j@example.com BK-123456", patterns) == "[masked] [masked]"


def test_masking_goes_before_cutting() -> None:
    """A number across the limit is masked whole: no half of it is shown."""
    text = content_text("x" * 1_985 + " 4111 1111 1111 1111", patterns=())

    assert "4111" not in text


def test_of_an_endless_text_the_head_is_masked_and_marked() -> None:
    """What lies across the end of what is looked at is not shown at all."""
    secret = "BEGIN " + "k" * 100 + " END"
    text = "." * (LONGEST_TEXT - 50) + secret

    masked = mask(text, [re.compile("BEGIN k* END")])

    assert masked.endswith("." + CUT_MARK)
    assert "k" not in masked


def test_patterns_whose_masks_are_longer_do_not_make_texts_endless() -> None:
    """Each pattern sees a bounded text, however much the one before it added."""
    patterns = [re.compile("a"), re.compile("[a-z]"), re.compile("[a-z]")]

    assert len(mask("a" * LONGEST_TEXT, patterns)) < LONGEST_TEXT
    assert mask("a", patterns).endswith(CUT_MARK) is False


@given(text=ANY_TEXT)
def test_masking_never_raises(text: str) -> None:
    """Texts of any kind, digits of any script included."""
    assert isinstance(mask(text + "٤" * 16 + "@" + text), str)


def test_no_text_makes_an_operators_pattern_slow() -> None:
    """A pattern that would keep a backtracking matcher busy for years ends at once."""
    (pattern,) = parse_patterns("(a+)+b")

    assert mask("a" * LONGEST_TEXT, [pattern]) == "a" * LONGEST_TEXT
    assert mask("aaab", [pattern]) == "[masked]"
