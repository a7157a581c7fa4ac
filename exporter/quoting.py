"""Foreign text inside our own messages: short, printable, on one line, without secrets."""

from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "[hidden]"

_LONGEST: Final = 200
# A shorter one is a word that would tear holes into every message.
_SHORTEST_SECRET: Final = 4


def quote(text: str, secrets: Iterable[str] = ()) -> str:
    """The text for a message; line ends, terminal codes and marks that turn text are escaped."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    line = " ".join(text[: 4 * _LONGEST].split())
    shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
    return f"{shown[:_LONGEST]}..." if len(shown) > _LONGEST else shown
