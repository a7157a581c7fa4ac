"""The ledger's asynchronous face: many callers, one transaction at a time, one commit for all.

What several callers ask for while a commit is under way goes into the next one together. A caller's
await ends when its work is committed. While the disk refuses, everybody waits here and nothing is
lost.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from exporter.clock import Clock
from exporter.errors import LedgerError, LedgerUnavailable
from exporter.ledger.ledger import Ledger, Work

logger = logging.getLogger("exporter.ledger")

R = TypeVar("R")
# Runs a blocking call somewhere and gives back its result: in a thread, or inline.
Executor = Callable[[Callable[[], Any]], Awaitable[Any]]

_RETRY_MIN_S: Final = 1.0
_RETRY_MAX_S: Final = 30.0
# More works than this wait for the next commit: a commit of a second would delay all others.
_BATCH_MAX: Final = 64


class LedgerGate:
    """The one way into an open ledger from the event loop.

    `fault` is why it cannot be written at the moment, None while it can.
    """

    def __init__(
        self, ledger: Ledger, *, executor: Executor, clock: Clock, rng: random.Random
    ) -> None:
        self.ledger = ledger
        self.fault: LedgerUnavailable | None = None
        self._executor = executor
        self._clock = clock
        self._rng = rng
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    async def transact(self, work: Work[R]) -> R:
        """Do `work` in a transaction and return its result once that is committed.

        Waits as long as the disk refuses. Raises LedgerRefused when the file turns out to be
        damaged, LedgerUnavailable when the gate is closed before the work was committed, and
        whatever `work` itself raises.
        """
        if self._closed:
            raise LedgerUnavailable("The ledger is closed")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="ledger")
        return await future

    async def close(self) -> None:
        """Finish the commit under way, give up on what waits, and close the file."""
        self._closed = True
        worker = self._worker
        if worker is not None and not worker.done():
            if self.fault is not None:
                worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(LedgerUnavailable("The ledger is closed"))
        self._waiting.clear()
        try:
            await self._executor(self.ledger.close)
        except LedgerError as exc:
            # What was committed is safe; the next start recovers the rest of the file.
            logger.warning("the ledger was not closed in order: %s", exc)

    async def _work(self) -> None:
        failures = 0
        while self._waiting:
            batch, self._waiting = self._waiting[:_BATCH_MAX], self._waiting[_BATCH_MAX:]
            try:
                await self._commit(batch, anew=failures > 0)
            except LedgerUnavailable as exc:
                # The outcome is unknown: all is repeated, once the totals are read anew.
                self._waiting = batch + self._waiting
                failures += 1
                await self._rest(exc, failures)
                continue
            if self.fault is not None:
                logger.info("the ledger takes writes again")
                self.fault = None
            failures = 0

    async def _commit(
        self, batch: list[tuple[Work[Any], asyncio.Future[Any]]], *, anew: bool = False
    ) -> None:
        works = [work for work, _ in batch]
        try:
            results = await self._executor(lambda: self._transact(works, anew=anew))
        except LedgerUnavailable:
            raise
        except Exception as exc:  # noqa: BLE001 - handed to the caller whose work raised it
            if len(batch) > 1 and not isinstance(exc, LedgerError):
                # One work is at fault: alone each either commits or raises to its own caller.
                for one in batch:
                    await self._commit([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(exc)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)

    def _transact(self, works: list[Work[Any]], *, anew: bool) -> list[Any]:
        if anew:
            self.ledger.reload()
        return self.ledger.transact(works)

    async def _rest(self, fault: LedgerUnavailable, failures: int) -> None:
        if self.fault is None:
            logger.error("%s; nothing new is fetched until it does", fault)
        self.fault = fault
        longest_s = min(_RETRY_MAX_S, _RETRY_MIN_S * 2 ** min(failures - 1, 10))
        await self._clock.sleep(self._rng.uniform(longest_s / 2, longest_s))
