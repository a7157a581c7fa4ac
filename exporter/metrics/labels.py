"""Label values that are safe to show and few enough to store.

An ordinary value is never changed. Two different values never become one.
"""

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final

from exporter.logs import UNPRINTABLE

# What the first N values leave over is counted under this word.
OTHER: Final = "other"

_MAX_CHARACTERS: Final = 128
_DIGEST_CHARACTERS: Final = 8
# Label values were executed as HTML by Prometheus' own pages once (CVE-2026-40179).
_MARKUP: Final = str.maketrans({"<": "\u2039", ">": "\u203a"})


def label_value(text: str) -> str:
    """`text` as a label value: no control characters, no markup, 128 characters at most.

    A value that had to be changed ends in a digest of its text, so that it stays a series of its
    own.
    """
    safe = UNPRINTABLE.sub("\ufffd", text).translate(_MARKUP)
    if safe == text and len(text) <= _MAX_CHARACTERS:
        return text
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{safe[: _MAX_CHARACTERS - _DIGEST_CHARACTERS - 1]}\u2026{digest}"


class LabelLimiter:
    """Keeps the distinct values of a label few in each scope: the first ones, then `other`.

    A scope is an agent's number in the ledger. `known` are the values that exist already, as
    (scope, value); they stay even where they are more than `max_values`, since their series exist.
    `on_overflow` is called each time that a value counts as `other`.
    """

    def __init__(
        self,
        max_values: int,
        *,
        known: Iterable[tuple[int, str]] = (),
        on_overflow: Callable[[], None],
    ) -> None:
        self._max_values = max_values
        self._on_overflow = on_overflow
        self._values: dict[int, set[str]] = {}
        for scope, value in known:
            if value != OTHER:
                self._values.setdefault(scope, set()).add(label_value(value))

    def __call__(self, scope: int, value: str) -> str:
        """The value to count under."""
        safe = label_value(value)
        values = self._values.setdefault(scope, set())
        if safe in values or safe == OTHER:
            return safe
        if len(values) < self._max_values:
            values.add(safe)
            return safe
        self._on_overflow()
        return OTHER
