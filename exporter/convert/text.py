"""Keeps texts storable, short and on one line; it never masks (see `redaction`)."""

import re
from typing import Final

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
