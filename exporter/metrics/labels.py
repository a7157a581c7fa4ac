"""Label values that are safe to show and few enough to store.

Never changes an ordinary value: what is bent is too long, or could not be written or shown.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Final

# What the first N values leave over is counted under this word.
OTHER: Final = "other"

_MOST_CHARACTERS: Final = 128
# Control characters, line separators, marks that reverse the direction of text, lone surrogates
# (they cannot be encoded).
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
# Label values were executed as HTML by Prometheus' own pages once (CVE-2026-40179).
_MARKUP: Final = str.maketrans({"<": "\u2039", ">": "\u203a"})


@lru_cache(maxsize=4096)
def label_value(text: str) -> str:
    """`text` as a label value: control characters and markup replaced, 128 characters at most.

    A longer value ends in a digest of its whole text, so that two of them stay two series.
    """
    safe = _UNSAFE.sub("\ufffd", text).translate(_MARKUP)
    if len(safe) <= _MOST_CHARACTERS:
        return safe
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe[: _MOST_CHARACTERS - 9]}\u2026{digest}"


class LabelLimiter:
    """Keeps the distinct values of a label few in each scope: the first ones, then `other`.

    `known` are the values that stand already, as (scope, value); they stay even where they are
    more than `max_values`, since their series exist. `on_overflow` is called once for each value
    that had to be counted as `other`.
    """

    def __init__(
        self,
        max_values: int,
        *,
        known: Iterable[tuple[int, str]] = (),
        on_overflow: Callable[[], None] | None = None,
    ) -> None:
        self._max_values = max_values
        self._on_overflow = on_overflow
        self._values: dict[int, set[str]] = {}
        self.overflows = 0
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
        self.overflows += 1
        if self._on_overflow is not None:
            self._on_overflow()
        return OTHER

    def forget(self, scope: int) -> None:
        """Drop what is known of a scope that is read here no more."""
        self._values.pop(scope, None)
