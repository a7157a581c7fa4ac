"""An event loop in which time is virtual: it never waits, it jumps to the next timer.

The order in which ready callbacks run is shuffled by a seed, so that different seeds explore
different interleavings and the same seed replays the same one, event for event.
"""

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


class Killed(KeyboardInterrupt):
    """The process ends here, as kill -9 ends it.

    Of the one kind that asyncio lets through at once, from whatever task it is raised in.
    """


class DeadlockError(RuntimeError):
    """Nothing is ready and no timer is set: everybody waits for everybody."""


class LivelockError(RuntimeError):
    """Somebody works without end at one moment, and time never passes."""


_MAX_STEPS_AT_ONE_MOMENT = 200_000


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on a virtual clock with seeded scheduling; no socket is ever looked at."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._now_s = 0.0
        self._shuffle = random.Random(seed)
        self.steps = 0
        self._steps_at_this_moment = 0
        self._is_killed = False
        # The step at which the process is killed; None: never.
        self.killed_at: int | None = None

    def kill(self) -> None:
        """Let the process end with the callback that is running."""
        self._is_killed = True

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        """One turn: what was ready in a shuffled order, then the timers that are due.

        As asyncio's own, which also looks at sockets and at how long callbacks take: half of a
        simulated day would be spent on that.
        """
        ready: Any = self._ready  # type: ignore[attr-defined]
        timers: Any = self._scheduled  # type: ignore[attr-defined]
        if len(ready) > 1:
            order = list(ready)
            self._shuffle.shuffle(order)
            ready.clear()
            ready.extend(order)
        self.steps += 1
        if self.steps == self.killed_at:
            raise Killed
        self._steps_at_this_moment += 1
        if self._steps_at_this_moment == _MAX_STEPS_AT_ONE_MOMENT:
            raise LivelockError("time does not pass")
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            self._jump(timers)
        while timers and timers[0].when() <= self._now_s:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()
            if self._is_killed:
                self._is_killed = False
                raise Killed

    def _jump(self, timers: list[asyncio.TimerHandle]) -> None:
        """Let it be as late as the next timer."""
        if not timers:
            raise DeadlockError("nothing is ready and no timer is set")
        self._now_s = max(self._now_s, timers[0].when())
        self._steps_at_this_moment = 0


class VirtualClock:
    """The exporter's clock on one virtual loop after the other.

    `true_ns` goes on from process to process and is the world's time; the exporter's wall clock may
    be wrong by `wall_error_s`, and jumps when that is changed. Monotonic time starts anew with each
    loop.
    """

    def __init__(self, *, start_ns: int) -> None:
        self.wall_error_s = 0.0
        self._start_ns = start_ns
        self._loop: VirtualLoop | None = None

    def begin(self, loop: VirtualLoop) -> None:
        """Follow this loop's time."""
        self._loop = loop

    def end(self) -> None:
        """Stand still until the next loop begins."""
        self._start_ns = self.true_ns()
        self._loop = None

    def wait(self, seconds: float) -> None:
        """Let time pass between two loops."""
        self._start_ns += round(seconds * 1e9)

    def true_ns(self) -> int:
        return self._start_ns + round(self.monotonic_s() * 1e9)

    def now_ns(self) -> int:
        return self.true_ns() + round(self.wall_error_s * 1e9)

    def monotonic_s(self) -> float:
        return 0.0 if self._loop is None else self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def run_virtually(
    loop: VirtualLoop, main: Coroutine[Any, Any, R], *, on_killed: Callable[[], object] = bool
) -> R:
    """Run `main` to its end on a virtual loop and close the loop.

    `on_killed` is called at the moment of death, before anything is tidied up: what the dead
    process's tasks do while they are being cleared away is none of the simulation's.
    """
    asyncio.set_event_loop(None)
    try:
        return loop.run_until_complete(main)
    except Killed:
        loop.killed_at = None
        on_killed()
        raise
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
