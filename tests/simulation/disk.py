"""The disk under the ledger: each commit in order, a fault or a death placed at any of them."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from exporter.errors import LedgerUnavailable

R = TypeVar("R")

# Asked with the number of the call; True: the disk fails at it.
Fault = Callable[[int], bool]


class SimulatedDisk:
    """Implements the ledger's `Executor`: runs each call at once, or fails it as ordered.

    A call is a commit, but for the closing at the end.
    `before` faults leave nothing written; after an `after` fault all of it is written and nobody is
    told. A death at a call leaves what the disk holds before or after it.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.struck = 0
        # At the end a life closes its file: a fault there would keep it from the next one.
        self.is_honest = False
        self.before: list[Fault] = []
        self.after: list[Fault] = []
        self.killed_before: int | None = None
        self.killed_after: int | None = None
        # Ends the process that is at work.
        self.kill: Callable[[], object] = bool

    async def __call__(self, call: Callable[[], R], /) -> R:
        self.calls += 1
        if self.calls == self.killed_before:
            await self._die()
        self._strike(self.before, "no space left on device")
        result = call()
        if self.calls == self.killed_after:
            await self._die()
        self._strike(self.after, "input/output error")
        return result

    async def _die(self) -> None:
        self.kill()
        await asyncio.get_running_loop().create_future()  # nobody is left to go on

    def _strike(self, faults: list[Fault], reason: str) -> None:
        if not self.is_honest and any(fault(self.calls) for fault in faults):
            self.struck += 1
            raise LedgerUnavailable(f"The ledger's disk failed: {reason}")
