"""One workspace's request budget: an even pace, a rest after a 429, and fair shares."""

import random
from collections.abc import Collection
from typing import Final

from exporter.clock import Clock
from exporter.sync.requests import Purpose

# A strict window of sixty seconds over evenly paced requests holds one more than the pace when
# they jitter; a hundredth less leaves room for that.
_MARGIN: Final = 0.99
# A late wake-up may be made up for, by this much and no more: no bursts.
_SLACK_S: Final = 0.1
_BACKOFF_MIN_S: Final = 1.0
_BACKOFF_MAX_S: Final = 60.0

# Lists of agents are rare and go first, a backfill takes what nobody else wants. Heads weigh most:
# they feed all metrics, and idle agents are polled so rarely that they cannot use it up.
WEIGHTS: Final = {
    Purpose.HEAD: 14,
    Purpose.DETAIL: 6,
    Purpose.GAP: 4,
    Purpose.LOOKBACK: 4,
    Purpose.IN_FLIGHT: 2,
    Purpose.SECOND_READING: 1,
}


class FairShares:
    """Start-time fair queueing: each purpose gets its weight's share, unused shares go round.

    P. Goyal, H. Vin, H. Cheng: Start-time Fair Queuing (SIGCOMM 1996).
    """

    def __init__(self) -> None:
        self._virtual = 0.0
        self._finish = dict.fromkeys(WEIGHTS, 0.0)

    def choose(self, purposes: Collection[Purpose]) -> Purpose:
        """Whose turn it is among those that want a request now."""
        return min(purposes, key=self._start)

    def spend(self, purpose: Purpose) -> None:
        """A request was made."""
        if purpose in WEIGHTS:
            start = self._start(purpose)
            self._virtual = start
            self._finish[purpose] = start + 1 / WEIGHTS[purpose]

    def _start(self, purpose: Purpose) -> float:
        # What was not claimed is not saved up.
        return max(self._virtual, self._finish[purpose])


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
        """Stop spending after a 429; the seconds.

        As long as was asked, and never shorter than a backoff that grows with each 429 in a row.
        """
        if now_s >= self._resting_until_s:
            # Those that were under way when the rest began say nothing new.
            self._refusals += 1
        rest_s = max(retry_after_s or 0.0, backoff_s(self._refusals, rng))
        self._resting_until_s = max(self._resting_until_s, now_s + rest_s)
        return rest_s

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
    longest_s = min(_BACKOFF_MAX_S, _BACKOFF_MIN_S * 2 ** min(failures - 1, 16))
    return rng.uniform(longest_s / 2, longest_s)
