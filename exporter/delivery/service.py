"""The delivery stage: takes traces from the outbox, sends them, records what became of them.

It never drops a trace and never fetches one: what it cannot deliver stays in the outbox, which is
on disk. One request is under way at a time, and a success is recorded before the next begins.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from exporter.clock import Clock
from exporter.convert.otlp import merge_requests
from exporter.delivery.outbox import Delivered, Outbox, Parked, PendingTrace, Rejected
from exporter.delivery.outcome import Accepted, Outcome
from exporter.delivery.senders import Sender
from exporter.delivery.triage import Decision, Triage
from exporter.errors import LedgerUnavailable

logger = logging.getLogger("exporter.delivery")

MAX_TRACES: Final = 512
# Receivers take 4 MiB over gRPC by default; the rest is for framing.
MAX_BYTES: Final = 3_500_000
# What ends within this time travels in one request: a request costs more than a trace.
_LINGER_S: Final = 2.0
# A parked trace comes due without anybody telling.
_LOOK_AGAIN_S: Final = 30.0
# Lines about single traces, so that a flood of them does not bury the log.
_MOST_LINES_A_MINUTE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryState:
    """How delivery is; `problem` says why nothing arrives at present, None when it does."""

    problem: str | None = None
    failures: int = 0
    last_success_ns: int | None = None


class DeliveryService:
    """Delivers until it is stopped.

    `on_delivered` is told of each acknowledged trace and the time of the acknowledgement.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        sender: Sender,
        clock: Clock,
        rng: random.Random,
        on_delivered: Callable[[list[PendingTrace], int], object],
        max_traces: int = MAX_TRACES,
        max_bytes: int = MAX_BYTES,
        linger_s: float = _LINGER_S,
    ) -> None:
        self.state = DeliveryState()
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._on_delivered = on_delivered
        self._max_bytes = max_bytes
        self._linger_s = linger_s
        self._triage = Triage(rng=rng, max_traces=max_traces)
        self._news = asyncio.Event()
        # `run` and `drain` never have a request under way together.
        self._turn = asyncio.Lock()
        self._lines = _LineBudget(clock)

    @property
    def destination(self) -> str:
        """Where traces go, in words."""
        return self._sender.destination

    def notify(self) -> None:
        """There is something new in the outbox."""
        self._news.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`; a request under way is finished. Raises LedgerRefused."""
        waking = asyncio.create_task(self._wake_at(stop), name="delivery stop")
        try:
            while not stop.is_set():
                self._news.clear()
                wait_s = await self._deliver()
                if wait_s is None:
                    await _wait(self._news, _LOOK_AGAIN_S)
                    await _wait(stop, self._linger_s)
                elif wait_s > 0:
                    await _wait(stop, wait_s)
        except LedgerUnavailable:
            logger.debug("the ledger is closed")
        finally:
            waking.cancel()

    async def drain(self, *, deadline_s: float) -> bool:
        """Deliver until the outbox has nothing that is due; whether it came to that in time.

        A destination that did not take traces before gets one more chance, not all of the time.
        """
        hopeless = self.state.problem is not None
        try:
            async with asyncio.timeout(deadline_s):
                while (wait_s := await self._deliver()) is not None:
                    if self.state.problem is not None and hopeless:
                        return False
                    await self._clock.sleep(wait_s)
        except TimeoutError:
            return False
        except LedgerUnavailable:
            return False
        return True

    async def aclose(self) -> None:
        """Close the connections to the destination."""
        await self._sender.aclose()

    async def _deliver(self) -> float | None:
        """Make one request; how long to wait before the next, None if nothing is due."""
        async with self._turn:
            now_ns = self._clock.now_ns()
            due = await self._outbox.due(
                now_ns=now_ns,
                max_traces=self._triage.most_wanted,
                max_bytes=self._triage.stretch * self._max_bytes,
            )
            if not due:
                return None
            sent = self._triage.choose(due)
            outcome = await self._sender.send(merge_requests([one.payload for one in sent]))
            now_ns = self._clock.now_ns()
            decision = self._triage.learn(sent, outcome, now_ns=now_ns)
            await self._record(sent, decision, now_ns)
            self._tell(sent, outcome, decision, now_ns)
            return decision.wait_s

    async def _record(self, sent: Sequence[PendingTrace], decision: Decision, now_ns: int) -> None:
        if decision.verdicts:
            await self._outbox.settle(
                decision.verdicts,
                now_ns=now_ns,
                spans_delivered=decision.spans_delivered,
                spans_rejected=decision.spans_rejected,
            )
        if decision.unpark:
            await self._outbox.unpark()
        taken = {one.seq for one in decision.verdicts if isinstance(one, Delivered)}
        if taken:
            self._on_delivered([one for one in sent if one.seq in taken], now_ns)

    def _tell(
        self, sent: Sequence[PendingTrace], outcome: Outcome, decision: Decision, now_ns: int
    ) -> None:
        """Keep the state for the pages, and log what changed, once."""
        before, triage = self.state, self._triage
        self.state = replace(before, problem=triage.problem, failures=triage.failures)
        if isinstance(outcome, Accepted):
            self.state = replace(self.state, last_success_ns=now_ns)
            if outcome.rejected_spans or outcome.message:
                self._lines.warn(
                    "the trace backend took a request but for %d spans: %s",
                    outcome.rejected_spans,
                    outcome.message or "it gave no reason",
                )
        problem = self.state.problem
        if problem is not None and before.problem is None:
            logger.warning(
                "traces do not reach %s: %s; they are kept, the next try is in %.0f s",
                self.destination,
                problem,
                decision.wait_s,
            )
        elif problem is None and before.problem is not None:
            logger.info("traces reach %s again", self.destination)
        elif problem is not None:
            logger.debug("still no traces reach %s: %s", self.destination, problem)
        names = {one.seq: one.trace_id.hex() for one in sent}
        for verdict in decision.verdicts:
            if isinstance(verdict, Rejected):
                self._lines.warn(
                    "trace %s is set aside: the backend rejected it (%s)",
                    names[verdict.seq],
                    verdict.reason,
                )
            elif isinstance(verdict, Parked):
                self._lines.warn(
                    "trace %s waits %.0f min: the backend takes others but not this one (%s)",
                    names[verdict.seq],
                    (verdict.until_ns - now_ns) / 60e9,
                    verdict.reason,
                )

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._news.set()


class _LineBudget:
    """Warnings that may come in floods: so many a minute, the rest at debug level."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._minute = 0
        self._written = 0

    def warn(self, message: str, *args: object) -> None:
        minute = int(self._clock.monotonic_s() // 60)
        if minute != self._minute:
            self._minute, self._written = minute, 0
        self._written += 1
        level = logging.WARNING if self._written <= _MOST_LINES_A_MINUTE else logging.DEBUG
        logger.log(level, message, *args)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event, or for so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
