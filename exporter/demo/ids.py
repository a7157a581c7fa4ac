"""Ids that look like Conduit's; a generated run's id can be turned back into its number.

Numbers are scrambled, so ids sort in no useful order, just as real ones do not.
"""

import random
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_VALUES: Final = {pair: value for value, pair in enumerate(_PAIRS)}
_BITS: Final = 40
_MASK: Final = (1 << _BITS) - 1
_SPREAD: Final = 0x9E3779B97F | 1  # odd, so it has an inverse: no two numbers share a code
_GATHER: Final = pow(_SPREAD, -1, 1 << _BITS)
_CODE_CHARS: Final = 8
_BODY_CHARS: Final = 28


def random_id(prefix: str, rng: random.Random) -> str:
    """An id of Conduit's form: a prefix and 28 characters."""
    return prefix + "".join(rng.choices(_ALPHABET, k=_BODY_CHARS))


class NumberedIds:
    """The ids of one agent's runs: a stem of the agent's own and a scrambled number."""

    def __init__(self, *, rng: random.Random, prefix: str = "ar77") -> None:
        self._stem = prefix + "".join(rng.choices(_ALPHABET, k=_BODY_CHARS - _CODE_CHARS))
        self._offset = rng.getrandbits(_BITS)

    def id_of(self, number: int) -> str:
        code = (number * _SPREAD + self._offset) & _MASK
        return (
            self._stem
            + _PAIRS[code >> 30]
            + _PAIRS[code >> 20 & 1023]
            + _PAIRS[code >> 10 & 1023]
            + _PAIRS[code & 1023]
        )

    def number_of(self, text: str) -> int | None:
        """The number behind an id, or None where the id is not of this agent."""
        code_text = text[-_CODE_CHARS:]
        if text[:-_CODE_CHARS] != self._stem or len(code_text) != _CODE_CHARS:
            return None
        code = 0
        for at in range(0, _CODE_CHARS, 2):
            value = _VALUES.get(code_text[at : at + 2])
            if value is None:
                return None
            code = code << 10 | value
        return (code - self._offset) * _GATHER & _MASK
