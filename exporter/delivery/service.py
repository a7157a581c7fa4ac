"""The delivery stage: takes traces from the outbox, sends them, records what became of them.

It never drops a trace and never fetches one: what it cannot deliver stays in the outbox, which is
on disk. One request is under way at a time, and a success is recorded before the next begins.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

from exporter.clock import Clock
from exporter.delivery.outcome import Accepted, Outcome, Unavailable
from exporter.delivery.senders import Sender
from exporter.delivery.triage import Decision, Triage
from exporter.errors import LedgerUnavailable
from exporter.ledger.records import Settlement, StoredTrace, TraceState

logger = logging.getLogger("exporter.delivery")

Attempt = Literal["ok", "retry", "refused"]

_MAX_TRACES: Final = 512
# Receivers take 4 MiB over gRPC by default; the rest is for framing.
MAX_BYTES: Final = 3_500_000
# What ends within this time travels in one request: a request costs more than a trace.
_LINGER_S: Final = 5.0
# A parked trace comes due without anybody telling.
_LOOK_AGAIN_S: Final = 30.0
_LEDGER_RETRY_S: Final = 5.0


class Outbox(Protocol):
    """Undelivered traces, oldest first."""

    async def due(self, *, now_ns: int, max_traces: int, max_bytes: int) -> Sequence[StoredTrace]:
        """The oldest traces that may be sent now, in order.

        Their payloads sum to `max_bytes` at most, but at least one comes if any is due. Asking
        changes nothing: the same question gets the same answer until something is settled.
        """

    async def settle(
        self,
        results: Sequence[Settlement],
        *,
        now_ns: int,
        spans_delivered: int,
        spans_rejected: int,
    ) -> None:
        """Record the results and count the spans, all in one transaction.

        A trace that is delivered or rejected already stays as it is. Raises LedgerUnavailable
        when nothing was recorded; the same call may then be repeated.
        """

    async def unpark(self) -> None:
        """Make every parked trace due now."""


class DeliveryService:
    """Delivers until it is stopped.

    `on_delivered` is told of acknowledged traces and the time of the acknowledgement, `on_attempt`
    of each request: `ok`, `retry` (the moment was at fault) or `refused`. `problem` says why
    nothing arrives at present, None when it does; `last_error` and its time stay after it passed.
    `backend_up` is None before the first request.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        sender: Sender,
        clock: Clock,
        rng: random.Random,
        on_delivered: Callable[[list[StoredTrace], int], object],
        on_attempt: Callable[[Attempt], object] = lambda _outcome: None,
    ) -> None:
        self.backend_up: bool | None = None
        self.last_success_ns: int | None = None
        self.last_error: str | None = None
        self.last_error_ns: int | None = None
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._on_delivered = on_delivered
        self._on_attempt = on_attempt
        self._triage = Triage(rng=rng, max_traces=_MAX_TRACES)
        self._last_message = ""
        self._news = asyncio.Event()
        # `run` and `drain` never have a request under way together.
        self._turn = asyncio.Lock()

    @property
    def destination(self) -> str:
        """Where traces go, in words."""
        return self._sender.destination

    @property
    def problem(self) -> str | None:
        """Why nothing arrives at present."""
        return self._triage.problem

    def notify(self) -> None:
        """There is something new in the outbox."""
        self._news.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`; a request under way is finished. Raises LedgerRefused."""
        waking = asyncio.create_task(self._wake_at(stop), name="delivery stop")
        try:
            while not stop.is_set():
                self._news.clear()
                try:
                    wait_s = await self._deliver()
                except LedgerUnavailable as exc:
                    logger.debug("the ledger takes nothing at present: %s", exc)
                    wait_s = _LEDGER_RETRY_S
                if wait_s is None:
                    await _wait(self._news, _LOOK_AGAIN_S)
                    await _wait(stop, _LINGER_S)
                elif wait_s > 0:
                    await _wait(stop, wait_s)
        finally:
            waking.cancel()

    async def drain(self, *, deadline_s: float, patient: bool = True) -> bool:
        """Deliver until the outbox has nothing that is due; whether it came to that in time.

        Unless `patient`, a destination that did not take traces before gets one more chance alone.
        """
        had_problem = self.problem is not None and not patient
        try:
            async with asyncio.timeout(deadline_s):
                while (wait_s := await self._deliver()) is not None:
                    if had_problem and self.problem is not None:
                        return False
                    await self._clock.sleep(wait_s)
        except (TimeoutError, LedgerUnavailable):
            return False
        return True

    async def aclose(self) -> None:
        """Close the connections to the destination."""
        await self._sender.aclose()

    async def _deliver(self) -> float | None:
        """Make one request; how long to wait before the next, None if nothing is due."""
        async with self._turn:
            max_traces, max_requests = self._triage.window
            due = await self._outbox.due(
                now_ns=self._clock.now_ns(),
                max_traces=max_traces,
                max_bytes=max_requests * MAX_BYTES,
            )
            if not due:
                return None
            sent = self._triage.choose(due)
            # One request of several: protobuf merges repeated fields when it reads on.
            outcome = await self._sender.send(b"".join(one.payload for one in sent))
            had_problem = self.problem is not None
            decision = self._triage.learn(sent, outcome, now_ns=self._clock.now_ns())
            self._note(outcome)
            self._log_problem(decision.wait_s, had_problem=had_problem)
            await self._record(sent, decision)
            return decision.wait_s

    async def _record(self, sent: Sequence[StoredTrace], decision: Decision) -> None:
        now_ns = self._clock.now_ns()
        if decision.unpark:
            await self._outbox.unpark()
        if decision.results:
            await self._outbox.settle(
                decision.results,
                now_ns=now_ns,
                spans_delivered=decision.spans_delivered,
                spans_rejected=decision.spans_rejected,
            )
        traces = {one.no: one for one in sent}
        delivered = []
        for result in decision.results:
            if result.state is TraceState.DELIVERED:
                delivered.append(traces[result.no])
            else:
                _log_failed(traces[result.no], result, now_ns)
        if delivered:
            self._on_delivered(delivered, now_ns)

    def _note(self, outcome: Outcome) -> None:
        """Keep what the metrics and the status page show."""
        now_ns = self._clock.now_ns()
        self.backend_up = isinstance(outcome, Accepted)
        if not isinstance(outcome, Accepted):
            self.last_error, self.last_error_ns = outcome.reason, now_ns
            self._on_attempt("retry" if isinstance(outcome, Unavailable) else "refused")
            return
        self._on_attempt("ok")
        self.last_success_ns = now_ns
        # The same words may come with every answer.
        if outcome.rejected_spans or outcome.message != self._last_message:
            logger.warning(
                "the trace backend took a request and rejected %d of its spans: %s",
                outcome.rejected_spans,
                outcome.message or "it gave no reason",
            )
        self._last_message = outcome.message

    def _log_problem(self, wait_s: float, *, had_problem: bool) -> None:
        """Say once when traces stop arriving, and when they arrive again."""
        if self.problem is None:
            if had_problem:
                logger.info("traces reach %s again", self.destination)
        elif had_problem:
            logger.debug("still no traces reach %s: %s", self.destination, self.problem)
        else:
            logger.warning(
                "traces do not reach %s: %s; they are kept, the next try is in %.0f s",
                self.destination,
                self.problem,
                wait_s,
            )

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._news.set()


def _log_failed(trace: StoredTrace, result: Settlement, now_ns: int) -> None:
    trace_id = trace.trace_id.hex()
    if result.parked_until_ns is None:
        logger.warning(
            "trace %s is set aside: the backend rejected it (%s)", trace_id, result.reason
        )
        return
    logger.warning(
        "trace %s waits %.0f min: the backend takes others but not this one (%s)",
        trace_id,
        (result.parked_until_ns - now_ns) / 60e9,
        result.reason,
    )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event, or for so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
