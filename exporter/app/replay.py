"""`replay`: send traces again from the ledger, without any request to Conduit.

For a backend that lost them. Changes nothing in the ledger: what was delivered stays delivered and
counted once. A replay that is broken off is simply made again, for its bytes are the same.
"""

import asyncio
import logging
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial

from exporter.app.adapters import open_backend, open_ledger
from exporter.app.outbox import ReplayOutbox
from exporter.app.single import PassProgress, Show, drain_while_moving, shown, unless_stopped
from exporter.clock import Clock, SystemClock, system_rng
from exporter.delivery.senders import Sender
from exporter.delivery.service import DeliveryService
from exporter.errors import ConfigError
from exporter.ledger.gate import LedgerGate
from exporter.settings.model import Settings

logger = logging.getLogger("exporter.app")


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """How many traces there were to send, and how many were taken this time."""

    found: int
    delivered: int


async def run_replay(
    settings: Settings, *, since_ns: int, show: Show, stop: asyncio.Event
) -> ReplayReport:
    """Send what was settled since then; ExporterError where `stop` breaks it off.

    Raises ConfigError and LedgerError.
    """
    clock = SystemClock()
    for warning in settings.warnings:
        logger.warning("%s", warning)
    sender = open_backend(settings, clock=clock)
    if sender is None:
        raise ConfigError(["OTEL_TRACES_EXPORTER: is none, so there is nowhere to replay to"])
    ledger = open_ledger(settings, now_ns=clock.now_ns(), today=lambda: date.max)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger") as pool:
        gate = LedgerGate(
            ledger,
            executor=partial(asyncio.get_running_loop().run_in_executor, pool),
            clock=clock,
            rng=system_rng(),
        )
        work = replay(
            gate,
            sender=sender,
            clock=clock,
            rng=system_rng(),
            since_ns=since_ns,
            content=settings.capture_content,
            show=show,
        )
        try:
            return await unless_stopped(work, stop, name="The replay")
        finally:
            await sender.aclose()
            await gate.close()


async def replay(
    gate: LedgerGate,
    *,
    sender: Sender,
    clock: Clock,
    rng: random.Random,
    since_ns: int,
    content: bool,
    show: Show,
) -> ReplayReport:
    """Send again for as long as anything gets through."""
    outbox = ReplayOutbox(gate, since_ns=since_ns, content=content)
    delivery = DeliveryService(
        outbox=outbox,
        sender=sender,
        clock=clock,
        rng=rng,
        on_delivered=lambda _traces, _now_ns: None,
    )
    found = await outbox.count()

    def progress() -> PassProgress:
        return PassProgress(done=outbox.delivered, left=found - outbox.settled, reading_lists=False)

    async with shown(show, progress, clock=clock):
        await drain_while_moving(delivery, left=lambda: found - outbox.settled)
    return ReplayReport(found, outbox.delivered)
