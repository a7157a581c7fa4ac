"""The delivery stage: from the outbox to the destination, and what is recorded."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from exporter.delivery.outcome import Accepted, Invalid, Outcome, Refused, Unavailable
from exporter.delivery.service import DeliveryService
from exporter.ledger.records import Settlement, StoredTrace, TraceState
from tests.fakes import START_NS
from tests.simulation.loop import VirtualClock, VirtualLoop, run_virtually


class MemoryOutbox:
    """An outbox in memory; `settled` holds what each call of `settle` was told."""

    def __init__(self, count: int = 0) -> None:
        self.waiting: dict[int, StoredTrace] = {}
        self.settled: list[tuple[Sequence[Settlement], int, int]] = []
        self.unparked = 0
        for _ in range(count):
            self.add()

    def add(self) -> None:
        seq = len(self.waiting) + sum(len(call[0]) for call in self.settled) + 1
        self.waiting[seq] = StoredTrace(seq, seq.to_bytes(16), b"payload", 2, START_NS)

    async def due(self, *, now_ns: int, max_traces: int, max_bytes: int) -> list[StoredTrace]:
        return list(self.waiting.values())[:max_traces]

    async def settle(
        self,
        results: Sequence[Settlement],
        *,
        now_ns: int,
        spans_delivered: int,
        spans_rejected: int,
    ) -> None:
        self.settled.append((results, spans_delivered, spans_rejected))
        for result in results:
            if result.state is not TraceState.PENDING:
                del self.waiting[result.no]

    async def unpark(self) -> None:
        self.unparked += 1


class ScriptedSender:
    """Answers as told, then with success; `latency_s` is how long an answer takes."""

    destination = "http://backend:4318/v1/traces"

    def __init__(self, clock: VirtualClock, *outcomes: Outcome, latency_s: float = 0.05) -> None:
        self.clock = clock
        self.outcomes = list(outcomes)
        self.latency_s = latency_s
        self.requests = 0

    async def send(self, payload: bytes) -> Outcome:
        self.requests += 1
        await self.clock.sleep(self.latency_s)
        return self.outcomes.pop(0) if self.outcomes else Accepted()

    async def aclose(self) -> None:
        """There is nothing to close."""


class Stage:
    """A delivery service in virtual time."""

    def __init__(self, outbox: MemoryOutbox, *outcomes: Outcome, latency_s: float = 0.05) -> None:
        self.loop = VirtualLoop(1)
        self.clock = VirtualClock(start_ns=START_NS)
        self.clock.begin(self.loop)
        self.outbox = outbox
        self.sender = ScriptedSender(self.clock, *outcomes, latency_s=latency_s)
        self.acknowledged: list[int] = []
        self.attempts: list[str] = []

    def run(self, script: Callable[["Stage"], Awaitable[None]]) -> None:
        run_virtually(self.loop, self._main(script))

    def run_for(self, seconds: float) -> None:
        self.run(lambda stage: stage.clock.sleep(seconds))

    async def _main(self, script: Callable[["Stage"], Awaitable[None]]) -> None:
        self.service = DeliveryService(
            outbox=self.outbox,
            sender=self.sender,
            clock=self.clock,
            rng=random.Random(1),
            on_delivered=lambda traces, _: self.acknowledged.extend(one.no for one in traces),
            on_attempt=self.attempts.append,
        )
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.service.run(self.stop))
        await script(self)
        self.stop.set()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()


def test_news_of_the_same_seconds_travel_together() -> None:
    """A request costs more than a trace."""
    stage = Stage(MemoryOutbox())

    async def script(stage: Stage) -> None:
        for _ in range(10):
            await stage.clock.sleep(0.15)
            stage.outbox.add()
            stage.service.notify()
        await stage.clock.sleep(5)

    stage.run(script)
    assert stage.sender.requests == 1
    assert len(stage.acknowledged) == 10


def test_a_state_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """An outage of hours is two lines, not thousands."""
    stage = Stage(MemoryOutbox(1), *[Unavailable("no connection", answered=False)] * 20)

    async def script(stage: Stage) -> None:
        await stage.clock.sleep(30)
        assert stage.service.problem == "no connection"
        await stage.clock.sleep(3600)

    with caplog.at_level(logging.INFO):
        stage.run(script)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith(
        "traces do not reach http://backend:4318/v1/traces: no connection; they are kept"
    )
    assert lines[1] == "traces reach http://backend:4318/v1/traces again"


def test_a_mended_destination_makes_parked_traces_due() -> None:
    """A fixed token does not wait an hour."""
    stage = Stage(MemoryOutbox(2), Refused("401"), Refused("401"), Refused("401"))

    stage.run_for(120)
    assert stage.outbox.unparked == 1
    assert sorted(stage.acknowledged) == [1, 2]


def test_a_drain_empties_the_outbox() -> None:
    """What is fetched is delivered before the end, as far as there is time."""
    stage = Stage(MemoryOutbox())

    async def script(stage: Stage) -> None:
        await stage.clock.sleep(1)
        for _ in range(1500):
            stage.outbox.add()
        stage.stop.set()
        assert await stage.service.drain(deadline_s=6.0)

    stage.run(script)
    assert len(stage.acknowledged) == 1500


@pytest.mark.parametrize("seconds_before", [0.0, 5.0], ids=["its own", "under way"])
def test_a_drain_ends_at_its_deadline(seconds_before: float) -> None:
    """A backend that hangs does not hold up the end, whoever made the request."""
    stage = Stage(MemoryOutbox(), latency_s=60.0)

    async def script(stage: Stage) -> None:
        await stage.clock.sleep(1)
        stage.outbox.add()
        stage.service.notify()
        await stage.clock.sleep(seconds_before)
        began_s = stage.clock.monotonic_s()
        stage.stop.set()
        assert not await stage.service.drain(deadline_s=6.0)
        assert stage.clock.monotonic_s() - began_s == pytest.approx(6.0)
        stage.task.cancel()

    stage.run(script)
    assert stage.acknowledged == []
    assert len(stage.outbox.waiting) == 1


def test_a_drain_tries_a_failing_destination_once_more() -> None:
    """Ten seconds of retries would help nobody who wants to stop."""
    stage = Stage(MemoryOutbox(1), *[Unavailable("no connection", answered=False)] * 99)

    async def script(stage: Stage) -> None:
        await stage.clock.sleep(30)
        stage.stop.set()
        await stage.task
        before = stage.sender.requests
        assert not await stage.service.drain(deadline_s=6.0)
        assert stage.sender.requests == before + 1

    stage.run(script)
    assert len(stage.outbox.waiting) == 1


def test_attempts_and_the_last_error_are_told() -> None:
    """For the metrics and the status page; the error and its time stay when it has passed."""
    stage = Stage(
        MemoryOutbox(2), Unavailable("503"), Invalid("400"), Accepted(), Invalid("400: bad id")
    )

    seen: list[tuple[bool | None, str | None, str | None]] = []

    async def script(stage: Stage) -> None:
        service = stage.service
        for seconds in (0.0, 0.1, 30.0):
            await stage.clock.sleep(seconds)
            seen.append((service.backend_up, service.last_error, service.problem))

    stage.run(script)
    assert seen == [(None, None, None), (False, "503", "503"), (True, "400: bad id", None)]
    assert stage.service.last_error_ns is not None
    assert START_NS < stage.service.last_error_ns < stage.clock.now_ns()
    assert stage.attempts == ["retry", "refused", "ok", "refused"]


def test_spans_that_were_rejected_are_said_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """And never sent again; the same remark without any is said once."""
    remarks = [Accepted(0, "please update")] * 3
    stage = Stage(MemoryOutbox(1), Accepted(2, "too old"), *remarks)

    async def script(stage: Stage) -> None:
        for _ in remarks:
            await stage.clock.sleep(5)
            stage.outbox.add()
            stage.service.notify()
        await stage.clock.sleep(5)

    with caplog.at_level(logging.WARNING):
        stage.run(script)
    rejected = Settlement(1, TraceState.REJECTED, reason="too old")
    assert stage.outbox.settled[0] == ((rejected,), 0, 2)
    assert stage.sender.requests == 4
    lines = [record.getMessage() for record in caplog.records]
    assert sum("rejected 2 of its spans: too old" in line for line in lines) == 1
    assert sum("please update" in line for line in lines) == 1
