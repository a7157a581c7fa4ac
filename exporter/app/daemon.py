"""The daemon: starts every stage, and when told to stop drains and ends within ten seconds.

Order of the end: no new request to Conduit, what is in the outbox goes out while time is left,
the ledger is closed. Whatever is not done by then lies in the ledger and goes on at the next start.
A stage that ends by itself ends the process with a code that is not zero.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from exporter.app.adapters import open_backend
from exporter.app.assembly import Exporter
from exporter.app.website import start_website
from exporter.clock import SystemClock, system_rng
from exporter.delivery.senders import Sender
from exporter.errors import ExporterError, LedgerError
from exporter.ledger.totals import Family
from exporter.settings.model import Settings
from exporter.sync.discovery import Scope
from exporter.sync.retention import ROUND_S

logger = logging.getLogger("exporter.app")

# Ten seconds is what a container engine leaves between SIGTERM and SIGKILL. The website takes two
# more to end, and the rest is for the ledger.
_DRAIN_S: Final = 5.0
_CLOSE_S: Final = 1.0
# How soon it is noticed that the ledger's file was deleted or replaced.
_LOOK_AT_LEDGER_S: Final = 30.0


async def serve(
    settings: Settings,
    *,
    stop: asyncio.Event,
    sender: Sender | None = None,
    on_started: Callable[[str], object] = logger.debug,
    on_fault: Callable[[], object] = lambda: None,
) -> int:
    """Run until `stop`; the exit code. Raises ConfigError and LedgerError.

    `sender` stands in for the one that the settings ask for; `on_started` hears the URL,
    `on_fault` that a stage has ended by itself, and so the process is about to.
    """
    async with opened(settings, sender=sender) as exporter:
        website = await start_website(exporter)
        logger.info("serving /metrics, health and status on %s", website.url)
        if exporter.delivery is None:
            logger.info("no traces are sent: metrics only")
            waiting = exporter.ledger.totals.get(Family.TRACES_PENDING)
            if waiting:
                logger.warning("%d traces wait in the outbox until traces are sent again", waiting)
        else:
            logger.info("traces go to %s", exporter.delivery.destination)
        on_started(website.url)
        delivery_stop = asyncio.Event()
        stages = {
            "sync": asyncio.create_task(exporter.sync.run(), name="sync"),
            "retention": asyncio.create_task(_retain(exporter), name="retention"),
            "ledger": asyncio.create_task(_watch_ledger(exporter), name="ledger watch"),
            "web": asyncio.create_task(website.wait(), name="web"),
        }
        if exporter.delivery is not None:
            stages["delivery"] = asyncio.create_task(
                exporter.delivery.run(delivery_stop), name="delivery"
            )
        await _until_stopped(stages, stop)
        ended = [name for name, task in stages.items() if task.done()]
        if ended:
            on_fault()
        delivery_stop.set()
        await _drain(exporter, stages)
        await website.stop()
        for name in ended:
            _tell(name, stages[name])
    return 1 if ended else 0


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
    for warning in settings.warnings:
        logger.warning("%s", warning)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger") as pool:
        exporter = Exporter(
            settings,
            clock=clock,
            rng=system_rng(),
            sender=sender or open_backend(settings, clock=clock),
            executor=partial(asyncio.get_running_loop().run_in_executor, pool),
            scope=scope,
            once=once,
        )
        try:
            yield exporter
        finally:
            await exporter.close()


async def _until_stopped(stages: dict[str, asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Wait for the stop, or for a stage that ended by itself: none ever should."""
    waiting = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait((waiting, *stages.values()), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if stop.is_set():
        logger.info("stopping: what is fetched is delivered while there is time")


async def _drain(exporter: Exporter, stages: dict[str, asyncio.Task[None]]) -> None:
    """End every stage, delivering what is fetched while there is time."""
    exporter.sync.stop()
    stages["retention"].cancel()
    stages["ledger"].cancel()
    if exporter.delivery is not None and exporter.gate.fault is None:
        # A ledger that turned out to be damaged is told of by the stage that met it.
        with contextlib.suppress(LedgerError):
            await exporter.delivery.drain(deadline_s=_DRAIN_S, patient=False)
    waiting = [task for name, task in stages.items() if name != "web"]
    _, late = await asyncio.wait(waiting, timeout=_CLOSE_S)
    for task in late:
        task.cancel()
    pending = exporter.ledger.totals.get(Family.TRACES_PENDING)
    if pending:
        logger.info("traces still to be delivered: %d; the next start sends them", pending)


def _tell(name: str, task: asyncio.Task[None]) -> None:
    """Say why a stage ended by itself."""
    error = None if task.cancelled() else task.exception()
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ExporterError):
        logger.error("%s stopped: %s", name, error)
    else:
        logger.error("%s ended in a fault of this program", name, exc_info=error)


async def _retain(exporter: Exporter) -> None:
    while True:
        await exporter.clock.sleep(ROUND_S)
        await exporter.retention.run_once(exporter.agents())


async def _watch_ledger(exporter: Exporter) -> None:
    """Commit nothing now and then: that looks whether the file is still in its place."""
    while True:
        await exporter.clock.sleep(_LOOK_AT_LEDGER_S)
        await exporter.gate.transact(lambda _ledger: None)
