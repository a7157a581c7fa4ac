"""The only real clock, sleep and source of randomness; everything else is handed one.

Wall time is an integer of nanoseconds since the Unix epoch (UTC) and is only ever written down or
compared with Conduit's times. Durations, pacing and deadlines use the monotonic clock alone, so a
wall clock that jumps cannot stall or hurry anything.
"""

import asyncio
import random
import time
from typing import Protocol


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


def system_rng() -> random.Random:
    """Randomness for jitter, seeded by the operating system."""
    return random.Random()
