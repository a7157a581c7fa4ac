"""One workspace's request budget: requests paced evenly, and a rest when Conduit asks for one."""

import random
from typing import Final

from exporter.clock import Clock

# A strict window of sixty seconds over evenly paced requests holds one more than the pace when
# they jitter; a hundredth less leaves room for that.
_MARGIN: Final = 0.99
# A late wake-up may be made up for, by this much and no more: no bursts.
_SLACK_S: Final = 0.1
_BACKOFF_FIRST_S: Final = 1.0
_BACKOFF_MOST_S: Final = 60.0


class RequestBudget:
    """When the next request may be made; times are monotonic seconds handed in."""

    def __init__(self, *, requests_per_minute: float) -> None:
        self.requests_per_minute = requests_per_minute
        self._interval_s = 60.0 / (requests_per_minute * _MARGIN)
        self._next_s = float("-inf")
        self._resting_until_s = float("-inf")
        self._refusals = 0

    def ready_at(self) -> float:
        """The earliest moment of the next request."""
        return max(self._next_s, self._resting_until_s)

    def take(self, now_s: float) -> None:
        """Spend one request now."""
        self._next_s = max(self._next_s, now_s - min(_SLACK_S, self._interval_s))
        self._next_s += self._interval_s

    def rest(self, now_s: float, retry_after_s: float | None, rng: random.Random) -> float:
        """Stop spending after a 429: as long as was asked, else a jittered backoff; the seconds."""
        self._refusals += 1
        if retry_after_s is None:
            retry_after_s = backoff_s(self._refusals, rng)
        self._resting_until_s = max(self._resting_until_s, now_s + retry_after_s)
        return retry_after_s

    def accepted(self) -> None:
        """Conduit answered without a 429: the next refusal starts from a short rest."""
        self._refusals = 0


async def pay(budget: RequestBudget, clock: Clock) -> None:
    """Wait until a request may be made, and spend it."""
    while (wait_s := budget.ready_at() - clock.monotonic_s()) > 0:
        await clock.sleep(wait_s)
    budget.take(clock.monotonic_s())


def backoff_s(failures: int, rng: random.Random) -> float:
    """Exponential backoff with equal jitter: between half and all of 1, 2, 4 ... 60 seconds."""
    most = min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2 ** min(failures - 1, 16))
    return rng.uniform(most / 2, most)
