"""Keeps texts storable, short and on one line; it never masks (see `redaction`)."""

import re
from functools import lru_cache
from typing import Final

# Tempo cuts strings at 2,048 bytes, in the middle of a character.
MAX_BYTES: Final = 1_999
CUT_MARK: Final = "…[cut]"

_REPLACEMENT: Final = "\ufffd"
_SURE_LENGTH: Final = 256
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
# Controls, and what turns, hides or joins the characters around it on a screen.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
_SPACES: Final = re.compile(r"\s+")
_TAG: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,63}", re.ASCII)


def storable(text: str) -> str:
    """The text without NUL and lone surrogates, which backends and databases refuse."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def cut(text: str, *, max_bytes: int = MAX_BYTES) -> str:
    """The text, or as much as fits into `max_bytes` of UTF-8 with the mark that says so."""
    raw = text.encode()
    if len(raw) <= max_bytes:
        return text
    room = max_bytes - len(CUT_MARK.encode())
    return raw[:room].decode("utf-8", "ignore") + CUT_MARK


def bounded(text: str) -> str:
    """An identifier or another short text as an attribute's value."""
    if len(text) < _SURE_LENGTH and text.isascii() and "\x00" not in text:
        return text
    return cut(storable(text))


def one_line(text: str, *, max_chars: int) -> str:
    """The text on one line without control characters, cut with an ellipsis."""
    text = _SPACES.sub(" ", _UNPRINTABLE.sub(" ", text)).strip()
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


@lru_cache(maxsize=256)  # tools and agents have few names; hostile ones push each other out
def printable_name(text: str, max_chars: int = 128) -> str:
    """A name as span names and labels may show it; empty where nothing is left of it."""
    return one_line(text, max_chars=max_chars)


def is_tag(text: str) -> bool:
    """Whether the text is a short tag such as `answered_from_knowledge`, and so not prose."""
    return _TAG.fullmatch(text) is not None
