"""One pass: read all that is visible, deliver it, and end."""

import asyncio
import logging
import signal
from typing import Final

from exporter.app.assembly import Exporter
from exporter.app.daemon import opened
from exporter.delivery.service import DeliveryService
from exporter.errors import ExporterError
from exporter.settings.model import Settings

logger = logging.getLogger("exporter.app")

# Without any progress for so long the trace backend is taken for unreachable.
_PATIENCE_S: Final = 60.0


async def run_pass(settings: Settings) -> int:
    """Fetch and deliver everything visible now; 0 if all of it arrived, else 1."""
    async with opened(settings, once=True) as exporter:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, exporter.sync.stop)
        stop = asyncio.Event()
        delivering = None
        if exporter.delivery is not None:
            delivering = asyncio.create_task(exporter.delivery.run(stop), name="delivery")
        try:
            troubles = await exporter.sync.run_pass()
        except ExporterError as exc:
            troubles = [str(exc)]
        for trouble in troubles:
            logger.error("%s", trouble)
        if exporter.delivery is not None and delivering is not None:
            stop.set()
            await delivering
            await _drain(exporter, exporter.delivery)
        left = exporter.ledger.outbox_state.pending if exporter.delivery is not None else 0
        if left:
            logger.error("%d traces could not be delivered; they are kept in the ledger", left)
        return 1 if troubles or left else 0


async def _drain(exporter: Exporter, delivery: DeliveryService) -> None:
    """Deliver everything, for as long as some of it gets through."""
    before = exporter.ledger.outbox_state.pending
    while not await delivery.drain(deadline_s=_PATIENCE_S):
        left = exporter.ledger.outbox_state.pending
        if left >= before:
            return
        before = left
