"""An event loop in which time is virtual: it never waits, it jumps to the next timer.

The order in which ready callbacks run is shuffled by a seed, so that different seeds explore
different interleavings and the same seed replays the same one, event for event.
"""

import asyncio
import random
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


class DeadlockError(RuntimeError):
    """Nothing is ready and no timer is set: everybody waits for everybody."""


class _JumpingSelector(selectors.BaseSelector):
    """Selects nothing ever; being asked to wait advances the loop's clock instead."""

    def __init__(self) -> None:
        self._files: dict[int, selectors.SelectorKey] = {}
        self.now_s = 0.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._files[fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        return self._files.pop(fd)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise DeadlockError("nothing is ready and no timer is set")
        if timeout > 0:
            self.now_s += timeout
        return []

    def get_map(self) -> Any:
        return self._files

    def close(self) -> None:
        self._files.clear()


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop on a virtual clock with seeded scheduling."""

    def __init__(self, seed: int) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._shuffle = random.Random(seed)
        self.steps = 0

    def time(self) -> float:
        return self._jumping.now_s

    def _run_once(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]
        if len(ready) > 1:
            order = list(ready)
            self._shuffle.shuffle(order)
            ready.clear()
            ready.extend(order)
        self.steps += 1
        super()._run_once()  # type: ignore[misc]


class VirtualClock:
    """The exporter's clock on a virtual loop; the wall clock starts where it is told."""

    def __init__(self, loop: VirtualLoop, *, start_ns: int) -> None:
        self._loop = loop
        self.start_ns = start_ns

    def now_ns(self) -> int:
        return self.start_ns + round(self._loop.time() * 1e9)

    def monotonic_s(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


def run_virtually(loop: VirtualLoop, main: Coroutine[Any, Any, R]) -> R:
    """Run `main` to its end on a virtual loop and close the loop."""
    asyncio.set_event_loop(None)
    try:
        return loop.run_until_complete(main)
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
