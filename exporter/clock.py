"""The only real clock, sleep and source of randomness, and the present as Conduit tells it.

Everything else is handed one. Wall time is an integer of nanoseconds since the Unix epoch (UTC) and
is only ever written down or compared with Conduit's times. Durations, pacing and deadlines use the
monotonic clock alone, so a wall clock that jumps cannot stall or hurry anything.
"""

import asyncio
import logging
import random
import time
from typing import Final, Protocol

logger = logging.getLogger("exporter.clock")

_WARN_FROM_S: Final = 60.0


class Clock(Protocol):
    """Time as components see it."""

    def now_ns(self) -> int:
        """Wall time, nanoseconds since the Unix epoch, UTC."""

    def monotonic_s(self) -> float:
        """Seconds on a clock that never jumps; the zero point means nothing."""

    async def sleep(self, seconds: float) -> None:
        """Wait at least so many seconds; zero or less only yields."""


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ConduitTime:
    """The present as Conduit's `Date` header last told it, carried on by the monotonic clock.

    Floors, frontiers and second readings are set from it, so that a local clock that is wrong or
    jumps loses nothing. Without a header the local clock stands in.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard: tuple[int, float] | None = None
        self._warned = False

    def observe(self, date_ns: int | None) -> None:
        """Take in the `Date` of an answer that has just come (nanoseconds since the epoch)."""
        if date_ns is None:
            return
        self._heard = (date_ns, self._clock.monotonic_s())
        apart_s = (self._clock.now_ns() - date_ns) / 1e9
        if abs(apart_s) > _WARN_FROM_S and not self._warned:
            logger.warning(
                "the local clock is %.0f s %s Conduit's; set it: times of the exporter's own are "
                "wrong until then, those of runs are not",
                abs(apart_s),
                "ahead of" if apart_s > 0 else "behind",
            )
        self._warned = abs(apart_s) > _WARN_FROM_S

    @property
    def is_known(self) -> bool:
        """Whether Conduit has told the time."""
        return self._heard is not None

    def now_ns(self) -> int:
        """The present in nanoseconds since the Unix epoch."""
        if self._heard is None:
            return self._clock.now_ns()
        date_ns, heard_s = self._heard
        return date_ns + round((self._clock.monotonic_s() - heard_s) * 1e9)


def system_rng() -> random.Random:
    """Randomness for jitter, seeded by the operating system."""
    return random.Random()
