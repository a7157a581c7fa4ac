"""Makes texts fit to leave: storable, short, on one line, and with personal data masked.

Masking is a net below the allowlist of attributes, not a replacement for it: it knows no names and
no street addresses. Text is searched as it reads once its escapes are decoded. No text makes it
slow: every built-in pattern is bounded, the operator's run on RE2, and of an endless text only the
head is looked at and given back. Whoever cuts does so afterwards, or half a secret would slip
through.
"""

import html
import json
import re
import unicodedata
from typing import Final
from urllib.parse import unquote

# Tempo cuts strings at 2,048 bytes, in the middle of a character.
MAX_BYTES: Final = 1_999
MAX_NAME_CHARS: Final = 128
CUT_MARK: Final = "…[cut]"

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
# Controls, and what turns, hides or joins the characters around it on a screen.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
_SPACES: Final = re.compile(r"\s+")
_TAG: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,63}", re.ASCII)

EMAIL_MASK: Final = "[email]"
PHONE_MASK: Final = "[phone]"
CARD_MASK: Final = "[card]"
OPERATOR_MASK: Final = "[masked]"

# More than a span shows of any text.
MAX_TEXT: Final = 2_560
# Dropped from the end of a head: half a secret may stand there that no pattern knows any more.
_UNSURE_CHARS: Final = 512

# Escapes of JSON and of most languages, percent-encoding, character references, invisible marks.
_ESCAPE: Final = re.compile(r"""(?:\\u[0-9a-fA-F]{4})+|\\[nrt"'/\\]|\\x[0-9a-fA-F]{2}""")
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
# An address in JSON in a query string in JSON: nobody escapes more often than that.
_MAX_DECODINGS: Final = 4

_EMAIL: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_DIGIT_GROUPS: Final = re.compile(r"\d+")
_DIGIT_CHAIN: Final = re.compile(r"\d(?:[\s._\-/\u2010-\u2015]{0,3}\d){12,}")
_CARD_DIGITS: Final = range(13, 20)
# Neither in the middle of a word or a number, nor at the start of a date.
_PHONE: Final = re.compile(
    r"(?:(?=\+)|(?<!\w)(?<!\d[./-]))"
    r"(?!(?:\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.](?:\d\d){1,2})(?!\d|[-/.]\d))"
    r"(?:\+\s?)?\(?\d(?:[\s().\-/\u2010-\u2015]{0,3}\d){6,14}(?!\w)"
)
_NO_PHONE: Final = re.compile(r"\d+[./]\d+|\d{1,3}(?:\.\d{1,3}){3}")
# What stands before digits and makes a phone number of them, however many and unbroken.
_NAMED_PHONE: Final = re.compile(
    r"((?:wa\.me/|\b(?:tel|phone|mobile|whatsapp|wa|sms|fax|msisdn))[\W_]{0,4})\d{7,15}(?!\w)",
    re.IGNORECASE,
)
# Solid digits are a phone number where most of the world's are this long; longer ones are ids.
_SOLID_PHONE_DIGITS: Final = range(10, 12)
# In an id digits in groups may be a date and a number: there a phone number is the whole of it, or
# starts with a plus.
_PHONE_AS_ID: Final = re.compile(r"\d{10,15}")
_INTERNATIONAL: Final = re.compile(r"\+\d(?:[\s().\-/]{0,3}\d){6,14}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


# RE2's compiled expressions have what is used here of those of `re`.
Pattern = re.Pattern[str]
Patterns = tuple[Pattern, ...]


def storable(text: str) -> str:
    """The text without NUL and lone surrogates, which encoders, backends and databases refuse."""
    return _UNSTORABLE.sub("\ufffd", text)


def cut(text: str, *, max_bytes: int = MAX_BYTES) -> str:
    """The text, or as much as fits into `max_bytes` of UTF-8 with the mark that says so."""
    raw = text.encode()
    if len(raw) <= max_bytes:
        return text
    room = max(max_bytes - len(CUT_MARK.encode()), 0)
    return raw[:room].decode("utf-8", "ignore") + CUT_MARK


def one_line(text: str, *, max_chars: int = MAX_NAME_CHARS) -> str:
    """The text on one line without control characters, cut with an ellipsis; may be empty."""
    text = _SPACES.sub(" ", _UNPRINTABLE.sub(" ", text)).strip()
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def is_tag(text: str) -> bool:
    """Whether the text is a short tag such as `answered_from_knowledge`, and so not prose."""
    return _TAG.fullmatch(text) is not None


def mask(text: str, patterns: Patterns = ()) -> str:
    """The text with everything masked that the operator's or the built-in patterns find.

    Where they find something only once escapes are decoded, the text comes back decoded. What is
    longer than `MAX_TEXT` comes back as its head, marked; that is more than a span shows.
    """
    head = text[:MAX_TEXT]
    decoded = _decode(head)
    masked = _mask_all(decoded, patterns)
    if masked == decoded:
        # A pattern may be written for the text as it stands.
        masked = _mask_all(head, patterns)
    return masked if head == text else masked[:-_UNSURE_CHARS] + CUT_MARK


def mask_number(digits: str, patterns: Patterns = ()) -> str:
    """A JSON number's text, masked: as a phone number it could not be told from a timestamp."""
    for pattern in patterns:
        digits = pattern.sub(_mask_operators, digits)
    return _DIGIT_CHAIN.sub(_mask_cards, digits) if "." not in digits else digits


def mask_id(text: str) -> str:
    """An id with the e-mail address or the phone number masked that it is made of, if any."""
    decoded = _decode(text[:MAX_TEXT])
    if _UUID.fullmatch(decoded):
        return text
    if _PHONE_AS_ID.fullmatch(decoded) or _mask_phones(decoded) == PHONE_MASK:
        return PHONE_MASK
    masked = _NAMED_PHONE.sub(rf"\1{PHONE_MASK}", _EMAIL.sub(EMAIL_MASK, decoded))
    masked = _INTERNATIONAL.sub(PHONE_MASK, masked)
    return text if masked == decoded else masked


def _decode(text: str) -> str:
    """The text as a person reads it in the end, whatever wrapped it."""
    for _ in range(_MAX_DECODINGS):
        decoded = _ESCAPE.sub(_unescape, unquote(html.unescape(text)))
        decoded = unicodedata.normalize("NFKC", _INVISIBLE.sub("", decoded))
        if decoded == text:
            break
        text = decoded
    return text


def _unescape(found: re.Match[str]) -> str:
    escape = found.group()
    if escape == r"\'":
        return "'"
    # JSON's own reading joins the two halves of a character beyond the first plane.
    escape = escape.replace(r"\x", r"\u00")
    decoded: str = json.loads(f'"{escape}"')
    return decoded


def _mask_all(text: str, patterns: Patterns) -> str:
    for pattern in patterns:
        # Masks may be longer than what they hide.
        text = pattern.sub(_mask_operators, text[: 2 * MAX_TEXT])
    text = _EMAIL.sub(EMAIL_MASK, text)
    text = _DIGIT_CHAIN.sub(_mask_cards, text)
    return _mask_phones(text)


def _mask_phones(text: str) -> str:
    return _PHONE.sub(_mask_phone, _NAMED_PHONE.sub(rf"\1{PHONE_MASK}", text))


def _mask_operators(found: re.Match[str]) -> str:
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
