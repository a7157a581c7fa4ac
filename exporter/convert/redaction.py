"""Masks personal data in text: e-mail addresses, phone and card numbers, operator patterns.

A net below the allowlist of attributes, not a replacement for it: it cannot know a name or an
address of a street. No text makes it slow: every built-in pattern is bounded, the operator's run on
RE2, whose time is linear in the text, and of an endless text only the head is looked at and given
back. Whoever cuts does so afterwards, or half a secret would slip through.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from exporter.convert.bounds import CUT_MARK

EMAIL_MASK: Final = "[email]"
PHONE_MASK: Final = "[phone]"
CARD_MASK: Final = "[card]"
OPERATOR_MASK: Final = "[masked]"

# More than a span shows of any text.
LONGEST_TEXT: Final = 2_560
# Dropped from the end of a head: half a secret may stand there that no pattern knows any more.
_UNSURE_CHARS: Final = 512

_SUSPECT: Final = re.compile(r"[@\d]")
_EMAIL: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_DIGIT_GROUPS: Final = re.compile(r"\d+")
_DIGIT_CHAIN: Final = re.compile(r"\d(?:[\s.\-\u2013]{0,3}\d){12,}")
_CARD_DIGITS: Final = range(13, 20)
# Neither in the middle of a word, a date or a decimal, nor at the start of a date.
_PHONE: Final = re.compile(
    r"(?<![\w./-])"
    r"(?!(?:\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](?:\d\d){1,2})(?!\d|[-/.]\d))"
    r"(?:\+\s?)?\(?\d(?:[\s().\-/\u2013]{0,3}\d){6,14}(?!\w)"
)
_NO_PHONE: Final = re.compile(r"\d+[./]\d+|\d{1,3}(?:\.\d{1,3}){3}")
# Solid digits are a phone number where most of the world's are this long; longer ones are ids.
_SOLID_PHONE_DIGITS: Final = range(10, 12)


class Pattern(Protocol):
    """A compiled regular expression, of whichever library."""

    def match(self, text: str, /) -> object | None:
        """What it finds at the beginning of a text."""

    def sub(self, repl: Callable[[Any], str], text: str, /) -> str:
        """The text with everything replaced that it finds."""


def mask(text: str, patterns: Iterable[Pattern] = ()) -> str:
    """The text with everything masked that the operator's or the built-in patterns find.

    The operator's patterns see the text as it was written. What is longer than `LONGEST_TEXT`
    comes back as its head, marked; that is more than a span shows.
    """
    longer = False
    for pattern in patterns:
        # Masks may be longer than what they hide.
        longer = longer or len(text) > LONGEST_TEXT
        text = pattern.sub(_mask_operators, text[:LONGEST_TEXT])
    longer = longer or len(text) > LONGEST_TEXT
    text = _mask_known(text[:LONGEST_TEXT])
    return text[:-_UNSURE_CHARS] + CUT_MARK if longer else text


def mask_number(digits: str, patterns: Iterable[Pattern] = ()) -> str:
    """A JSON number's text, masked: as a phone number it could not be told from a timestamp."""
    for pattern in patterns:
        digits = pattern.sub(_mask_operators, digits)
    return _DIGIT_CHAIN.sub(_mask_cards, digits) if "." not in digits else digits


def _mask_known(text: str) -> str:
    if not _SUSPECT.search(text):
        return text
    if "@" in text:
        text = _EMAIL.sub(EMAIL_MASK, text)
    text = _DIGIT_CHAIN.sub(_mask_cards, text)
    return _PHONE.sub(_mask_phone, text)


def _mask_operators(found: Any) -> str:
    return OPERATOR_MASK if found.group() else ""


def _mask_cards(found: re.Match[str]) -> str:
    """A chain of digits with each run of whole groups masked that is a card number.

    A card number is often followed by its date or code, so the whole chain need not be one.
    """
    chain = found.group()
    groups = [group.span() for group in _DIGIT_GROUPS.finditer(chain)]
    pieces: list[str] = []
    done = first = 0
    while first < len(groups):
        last = _card_end(chain, groups, first)
        if last is None:
            first += 1
            continue
        pieces += (chain[done : groups[first][0]], CARD_MASK)
        done = groups[last][1]
        first = last + 1
    return "".join((*pieces, chain[done:]))


def _card_end(chain: str, groups: list[tuple[int, int]], first: int) -> int | None:
    """The last group of the longest card number that starts with group `first`."""
    digits = ""
    end = None
    for place in range(first, len(groups)):
        start, stop = groups[place]
        if len(digits) + stop - start >= _CARD_DIGITS.stop:
            break
        digits += chain[start:stop]
        if len(digits) in _CARD_DIGITS and _luhn(digits):
            end = place
    return end


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value  # noqa: PLR2004 - the sum of two digits
    return total % 10 == 0 and total > 0


def _mask_phone(found: re.Match[str]) -> str:
    text = found.group()
    if text.isdigit():
        international = text.startswith("00")
        return PHONE_MASK if international or len(text) in _SOLID_PHONE_DIGITS else text
    return text if _NO_PHONE.fullmatch(text) else PHONE_MASK
