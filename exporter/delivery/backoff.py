"""How long to wait before the next attempt: exponential, with full jitter, capped."""

import random
from dataclasses import dataclass
from typing import Final

# What a destination may ask for at most; anything longer is a mistake or an attack.
LONGEST_WAIT_S: Final = 3600.0

_MOST_DOUBLINGS: Final = 32
# Clients that were told the same moment by the same backend come back a little apart.
_SPREAD: Final = 0.1
_MOST_SPREAD_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between `least_s` and a bound that doubles from `first_s` up to `most_s`."""

    first_s: float
    most_s: float
    least_s: float = 0.0

    def wait_s(self, failures: int, rng: random.Random) -> float:
        """The wait after so many failures in a row, one or more."""
        bound_s = min(self.most_s, self.first_s * 2 ** min(failures - 1, _MOST_DOUBLINGS))
        return rng.uniform(self.least_s, max(self.least_s, bound_s))


# An overloaded or absent backend.
RETRY: Final = Backoff(first_s=1.0, most_s=60.0, least_s=0.1)
# A backend that refuses until a person changes something.
PROBE: Final = Backoff(first_s=10.0, most_s=300.0, least_s=5.0)


def at_least(asked_s: float, rng: random.Random) -> float:
    """The wait a backend asked for, and a little more; never less."""
    return asked_s + rng.uniform(0.0, min(asked_s * _SPREAD, _MOST_SPREAD_S))
