"""Fakes that every room's tests may use: a clock that is set by hand, an inline executor."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

R = TypeVar("R")

START_NS = 1_775_185_455_000_000_000  # 2026-04-03T03:04:15Z


class FakeClock:
    """A clock that moves only when told; sleeping moves it."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.wall_ns = now_ns
        self.monotonic = 1000.0
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return self.wall_ns

    def monotonic_s(self) -> float:
        return self.monotonic

    def advance(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall_ns += round(seconds * 1e9)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(max(0.0, seconds))
        await asyncio.sleep(0)


async def _result(call: Callable[[], R]) -> R:
    return call()


def inline(call: Callable[[], R], /) -> Awaitable[R]:
    """Run a blocking call in place, as the simulation does."""
    return _result(call)
