"""One pass: read all that is wanted and visible now, deliver it, and end.

What `once`, `backfill` and `reconcile` do. What is not done when it ends lies in the ledger; the
next pass, or the daemon, goes on with it.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from exporter.app.assembly import Exporter
from exporter.app.daemon import opened
from exporter.clock import Clock
from exporter.delivery.service import DeliveryService
from exporter.errors import ExporterError
from exporter.ledger.totals import Family
from exporter.settings.model import Settings
from exporter.sync.discovery import BackfillRange, Scope
from exporter.sync.reconcile import Difference

logger = logging.getLogger("exporter.app")

R = TypeVar("R")

# Without any progress for so long the trace backend is taken for unreachable.
_PATIENCE_S: Final = 60.0
_SHOW_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PassProgress:
    """How far a pass has come: traces done, traces known to be left, and lists still being read."""

    done: int
    left: int
    reading_lists: bool


Show = Callable[[PassProgress], object]


def _show_nothing(_progress: PassProgress) -> None:
    """Nobody watches."""


async def run_pass(settings: Settings, *, show: Show, stop: asyncio.Event) -> int:
    """Fetch and deliver everything visible now; 0 if all of it arrived, else 1."""
    async with opened(settings, once=True) as exporter, stopped_by(stop, exporter):
        before = _counted(exporter)
        code = await complete_pass(exporter, show=show)
        logger.info("runs counted: %d", _counted(exporter) - before)
        return code


async def run_backfill(
    settings: Settings, *, since_ns: int, until_ns: int | None, show: Show, stop: asyncio.Event
) -> int:
    """Fetch and deliver runs older than those that are counted; 0 if all arrived, else 1."""
    scope = Scope(
        agents=settings.agents,
        lookback_s=settings.lookback_s,
        scans=False,
        backfill=BackfillRange(since_ns=since_ns, until_ns=until_ns),
    )
    async with (
        opened(settings, scope=scope, once=True) as exporter,
        stopped_by(stop, exporter),
    ):
        return await complete_pass(exporter, show=show)


async def run_reconcile(
    settings: Settings, *, since_ns: int, repair: bool, show: Show, stop: asyncio.Event
) -> tuple[int, Sequence[Difference]]:
    """The exit code, and the difference of each agent. Without `repair` nothing is changed."""
    scope = Scope(agents=settings.agents, lookback_s=settings.lookback_s, scans=False)
    async with (
        opened(settings, scope=scope, once=True) as exporter,
        stopped_by(stop, exporter),
    ):
        return await reconcile(exporter, since_ns=since_ns, repair=repair, show=show, stop=stop)


async def reconcile(
    exporter: Exporter,
    *,
    since_ns: int,
    repair: bool,
    show: Show = _show_nothing,
    stop: asyncio.Event,
) -> tuple[int, list[Difference]]:
    """Compare every agent, then fetch and deliver what that brought up.

    Raises ExporterError where `stop` breaks the comparison off.
    """

    async def compare() -> tuple[bool, list[Difference]]:
        troubles = await exporter.sync.discover()
        found = [
            await exporter.reconciler.compare(workspace, agent, since_ns=since_ns, repair=repair)
            for workspace in exporter.workspaces().values()
            for agent in workspace.agents.values()
            if agent.listed
        ]
        return not troubles and all(one.trouble is None for one in found), found

    complete, differences = await unless_stopped(compare(), stop, name="The comparison")
    code = await complete_pass(exporter, show=show) if repair else 0
    return (code if complete else 1), differences


async def unless_stopped(work: Coroutine[Any, Any, R], stop: asyncio.Event, *, name: str) -> R:
    """What `work` brings; raises ExporterError where `stop` breaks it off."""
    working, told = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, told), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ExporterError(f"{name} was broken off", hint="made again, it does all of it")
        return working.result()
    finally:
        told.cancel()
        working.cancel()
        await asyncio.wait((working,))


@contextlib.asynccontextmanager
async def stopped_by(stop: asyncio.Event, exporter: Exporter) -> AsyncIterator[None]:
    """Within it, no further request is made once `stop` is set."""

    async def wait() -> None:
        await stop.wait()
        exporter.sync.stop()

    waiting = asyncio.create_task(wait(), name="stop")
    try:
        yield
    finally:
        waiting.cancel()


async def complete_pass(exporter: Exporter, *, show: Show = _show_nothing) -> int:
    """Read and deliver until nothing is left; 0 if all of it arrived, else 1."""
    stop = asyncio.Event()
    delivering = None
    if exporter.delivery is not None:
        delivering = asyncio.create_task(exporter.delivery.run(stop), name="delivery")
        # It ends by itself only where the ledger turns out to be damaged.
        delivering.add_done_callback(lambda _task: exporter.sync.stop())
    watching = asyncio.create_task(_give_up_when_full(exporter), name="full outbox")
    async with shown(show, partial(_progress, exporter), clock=exporter.clock):
        try:
            troubles = await exporter.sync.run_pass()
        except* ExporterError as group:
            troubles = [str(exc) for exc in group.exceptions]
        for trouble in troubles:
            logger.error("%s", trouble)
        if exporter.delivery is not None and delivering is not None:
            stop.set()
            await delivering
            await drain_while_moving(exporter.delivery, left=lambda: _pending(exporter))
    watching.cancel()
    if exporter.gate.fault is None:
        # Nobody waits behind it, so it makes no pauses.
        await exporter.retention.run_once(exporter.agents(), pause_s=0.0)
    logger.info("traces delivered: %d", exporter.traces_acknowledged)
    left = _pending(exporter) if exporter.delivery is not None else 0
    if left:
        logger.error("%d traces could not be delivered; they are kept in the ledger", left)
    return 1 if troubles or left else 0


@contextlib.asynccontextmanager
async def shown(
    show: Show, progress: Callable[[], PassProgress], *, clock: Clock
) -> AsyncIterator[None]:
    """Within it, and once at its end, the progress is shown."""

    async def keep_showing() -> None:
        while True:
            show(progress())
            await clock.sleep(_SHOW_EVERY_S)

    showing = asyncio.create_task(keep_showing(), name="progress")
    try:
        yield
    finally:
        showing.cancel()
        show(progress())


async def drain_while_moving(delivery: DeliveryService, *, left: Callable[[], int]) -> None:
    """Deliver everything, for as long as some of it gets through."""
    before = left()
    while not await delivery.drain(deadline_s=_PATIENCE_S):
        now = left()
        if now >= before:
            return
        before = now


def _progress(exporter: Exporter) -> PassProgress:
    totals, agents = exporter.ledger.totals, exporter.agents()
    awaiting = sum(int(totals.get(Family.AWAITING_DETAIL, agent.no)) for agent in agents)
    return PassProgress(
        done=exporter.traces_acknowledged,
        left=awaiting + _pending(exporter),
        reading_lists=not exporter.sync.discovered
        or any(not workspace.discovered for workspace in exporter.workspaces().values())
        or any(agent.progress.gaps for agent in agents),
    )


def _counted(exporter: Exporter) -> int:
    totals = exporter.ledger.totals
    return sum(int(value) for key, value in totals.items() if key.family == Family.RUNS)


def _pending(exporter: Exporter) -> int:
    return int(exporter.ledger.totals.get(Family.TRACES_PENDING))


async def _give_up_when_full(exporter: Exporter) -> None:
    """Stop reading once the outbox is full and the backend takes nothing of it any more."""
    before = -1
    while True:
        await exporter.clock.sleep(_PATIENCE_S)
        stored = exporter.ledger.totals.get(Family.OUTBOX_BYTES)
        taken = exporter.traces_acknowledged
        if stored >= exporter.settings.outbox_limit_bytes and taken == before:
            logger.error("the outbox is full and the trace backend takes nothing: giving up")
            exporter.sync.stop()
            return
        before = taken
