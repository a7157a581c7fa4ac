"""The daemon: starts every stage, and on SIGTERM drains and ends within ten seconds.

Order of the end: no new request to Conduit, what is in the outbox goes out while time is left,
the ledger is closed. Whatever is not done by then lies in the ledger and goes on at the next start.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from exporter.app.assembly import Exporter
from exporter.app.backend import open_backend, warnings_of
from exporter.app.views import not_ready, status
from exporter.app.website import open_website
from exporter.clock import SystemClock, system_rng
from exporter.conduit.transport import open_transport
from exporter.delivery.senders import Sender
from exporter.errors import LedgerError
from exporter.settings.model import Settings
from exporter.sync.retention import ROUND_S
from exporter.sync.roster import Scope

logger = logging.getLogger("exporter.app")

R = TypeVar("R")

# Ten seconds is what a container engine leaves between SIGTERM and SIGKILL.
_DRAIN_S: Final = 6.0
_CLOSE_S: Final = 2.0


async def serve(
    settings: Settings,
    *,
    stop: asyncio.Event | None = None,
    sender: Sender | None = None,
    on_started: Callable[[str], object] = logger.debug,
) -> int:
    """Run until SIGTERM, SIGINT or `stop`; the exit code. Raises ConfigError and LedgerError.

    `sender` stands in for the one that the settings ask for; `on_started` hears the URL.
    """
    stop = stop or asyncio.Event()
    _stop_on_signals(stop)
    async with opened(settings, sender=sender) as exporter:
        website = open_website(
            settings,
            clock=exporter.clock,
            registry=exporter.registry,
            collector=exporter.collector,
            not_ready=lambda: not_ready(exporter),
            status=lambda: status(exporter),
        )
        await website.start()
        logger.info("serving /metrics, health and status on %s", website.url)
        on_started(website.url)
        stages = _start(exporter, stop)
        try:
            await _until_stopped(stages, stop)
        finally:
            fault = await _end(exporter, stages)
            await website.stop()
    return 1 if fault else 0


@contextlib.asynccontextmanager
async def opened(
    settings: Settings,
    *,
    scope: Scope | None = None,
    once: bool = False,
    sender: Sender | None = None,
) -> AsyncIterator[Exporter]:
    """An exporter on the real world, closed at the end whatever happens."""
    clock = SystemClock()
    for warning in warnings_of(settings):
        logger.warning("%s", warning)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger") as pool:
        exporter = Exporter(
            settings,
            clock=clock,
            rng=system_rng(),
            transport=open_transport(),
            sender=sender or open_backend(settings, clock=clock),
            executor=in_thread(pool),
            scope=scope,
            once=once,
        )
        try:
            yield exporter
        finally:
            await exporter.close()


def in_thread(pool: ThreadPoolExecutor) -> Callable[[Callable[[], R]], Awaitable[R]]:
    """What runs the ledger's blocking calls: the one thread of a pool."""

    def run(call: Callable[[], R], /) -> Awaitable[R]:
        return asyncio.get_running_loop().run_in_executor(pool, call)

    return run


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _start(exporter: Exporter, stop: asyncio.Event) -> dict[str, asyncio.Task[None]]:
    stages = {
        "sync": asyncio.create_task(exporter.sync.run(), name="sync"),
        "retention": asyncio.create_task(_retain(exporter), name="retention"),
    }
    if exporter.delivery is not None:
        stages["delivery"] = asyncio.create_task(exporter.delivery.run(stop), name="delivery")
    return stages


async def _until_stopped(stages: dict[str, asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Wait for the stop, or for a stage that ended by itself: none ever should."""
    waiting = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait((waiting, *stages.values()), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if stop.is_set():
        logger.info("stopping: what is fetched is delivered while there is time")


async def _end(exporter: Exporter, stages: dict[str, asyncio.Task[None]]) -> bool:
    """End every stage; whether one of them failed."""
    exporter.sync.stop()
    stages["retention"].cancel()
    if exporter.delivery is not None and exporter.gate.fault is None:
        await exporter.delivery.drain(deadline_s=_DRAIN_S)
    await asyncio.wait(stages.values(), timeout=_CLOSE_S)
    failed = False
    for name, task in stages.items():
        if not task.done():
            task.cancel()
        elif not task.cancelled() and (error := task.exception()) is not None:
            failed = True
            if isinstance(error, LedgerError):
                logger.error("%s stopped: %s", name, error)
            else:
                logger.error("%s ended in a fault of this program", name, exc_info=error)
    pending = exporter.ledger.outbox_state.pending
    if pending:
        logger.info("%d traces are still to be delivered; the next start sends them", pending)
    return failed


async def _retain(exporter: Exporter) -> None:
    while True:
        await exporter.clock.sleep(ROUND_S)
        agents = [
            agent
            for workspace in exporter.workspaces().values()
            for agent in workspace.agents.values()
        ]
        await exporter.retention.run_once(agents)
