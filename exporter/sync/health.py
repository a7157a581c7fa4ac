"""What failures are evidence of: a target that stays broken, or an API that is down.

A target is one run, one agent's list, the list of agents. What is known to be broken says nothing
about the rest; two different targets in a row that had not failed before say that the API is down.
"""

import random
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from exporter.conduit.pager import RESTARTS_MAX
from exporter.errors import (
    SourceError,
    SourceForbidden,
    SourceMalformed,
    SourceUnavailable,
    SourceUnreachable,
)
from exporter.sync.budget import backoff_s
from exporter.sync.requests import Kind

_TARGETS_TO_OPEN: Final = 2

# After a failure of its own a target is asked again by itself. A run is asked for about a day,
# then its trace is given up.
RUN_RETRY_S: Final = (30.0, 120.0, 600.0, 1800.0, *(24 * (3600.0,)))
LIST_RETRY_S: Final = (30.0, 120.0, 600.0, 2400.0)
# A page behind a cursor; then the cursor counts as dead.
PAGE_RETRY_S: Final = (5.0, 30.0, 120.0)
# A list whose cursors have led nowhere three times.
CURSOR_REST_S: Final = (3600.0, 7200.0, 14400.0)
# While the API is down no target is to blame.
BLAMELESS_RETRY_S: Final = 5.0
# One pass (`once`) does not wait for hours: then it names what stayed broken.
PASS_RETRY_S: Final = (1.0, 5.0, 15.0)


@dataclass(slots=True)
class Retry:
    """A target that failed: how often, and when it may be asked again (monotonic seconds)."""

    attempts: int
    due_s: float


class Circuit:
    """Closed while requests are answered; open from two different failures in a row on."""

    def __init__(self) -> None:
        self.failures = 0
        self.until_s = float("-inf")
        self._failed: set[Hashable] = set()

    @property
    def is_open(self) -> bool:
        """Whether requests wait for a probe to be answered."""
        return self.failures > 0

    def failed(self, target: Hashable, now_s: float, rng: random.Random, *, at_once: bool) -> None:
        """A target that was not known to be broken failed."""
        self._failed.add(target)
        if now_s < self.until_s:
            # Under way since before the rest began: nothing new.
            return
        if self.is_open or at_once or len(self._failed) >= _TARGETS_TO_OPEN:
            self.failures += 1
            self.until_s = now_s + backoff_s(self.failures, rng)

    def answered(self) -> None:
        """A request was answered."""
        self.failures = 0
        self.until_s = float("-inf")
        self._failed.clear()


class Health:
    """The circuits of one workspace: one for all of it, and one for each kind of target."""

    def __init__(self) -> None:
        self._whole = Circuit()
        self._kinds = {kind: Circuit() for kind in Kind}

    @property
    def failures(self) -> int:
        """Failures in a row of the API as a whole."""
        return self._whole.failures

    @property
    def is_down(self) -> bool:
        """Whether the API as a whole, or its lists of runs, do not answer."""
        return self._whole.is_open or self._kinds[Kind.RUNS].is_open

    def is_open(self, kind: Kind) -> bool:
        """Whether a request of this kind is a probe: one at a time."""
        return self._whole.is_open or self._kinds[kind].is_open

    def rests_until(self, kind: Kind) -> float:
        """The earliest moment of the next request of a kind (monotonic seconds)."""
        return max(self._whole.until_s, self._kinds[kind].until_s)

    def failed(
        self,
        kind: Kind,
        target: Hashable,
        error: SourceError,
        *,
        known_broken: bool,
        now_s: float,
        rng: random.Random,
    ) -> bool:
        """Take in a failure; whether the target is to blame for it."""
        if not isinstance(error, (SourceUnavailable, SourceMalformed, SourceForbidden)):
            # A refusal is an answer.
            self.answered(kind)
            return True
        if not known_broken:
            at_once = isinstance(error, SourceUnreachable)
            self._whole.failed((kind, target), now_s, rng, at_once=at_once)
            self._kinds[kind].failed(target, now_s, rng, at_once=at_once)
        if kind is Kind.RUN:
            # Where lists answer, single runs that fail each wait by themselves.
            return not self._whole.is_open
        return not self.is_open(kind)

    def answered(self, kind: Kind) -> None:
        """A request was answered."""
        self._whole.answered()
        self._kinds[kind].answered()


def next_retry(
    retry: Retry | None,
    delays_s: tuple[float, ...],
    now_s: float,
    rng: random.Random,
    *,
    blame: bool,
) -> Retry:
    """The next attempt at a target that failed; without blame this one does not count."""
    attempts = 0 if retry is None else retry.attempts
    if not blame and not attempts:
        return Retry(0, now_s + BLAMELESS_RETRY_S)
    if not blame:
        attempts -= 1
    delay_s = delays_s[min(attempts, len(delays_s) - 1)] * rng.uniform(1.0, 1.1)
    return Retry(attempts + 1, now_s + delay_s)


def cursor_rest_s(restarts: int) -> float:
    """How long a list rests whose reading began anew so often and brought nothing new."""
    return CURSOR_REST_S[min(restarts - RESTARTS_MAX, len(CURSOR_REST_S) - 1)]
