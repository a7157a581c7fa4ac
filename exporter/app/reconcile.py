"""`reconcile`: compare what Conduit lists with the ledger, record what it lacks, and trace that."""

import asyncio
from collections.abc import Sequence

from exporter.app.assembly import Exporter
from exporter.app.daemon import opened
from exporter.app.single import Show, complete_pass, stopped_by
from exporter.settings.model import Settings
from exporter.sync.comparison import Difference
from exporter.sync.roster import Scope


async def run_reconcile(
    settings: Settings, *, since_ns: int, repair: bool, show: Show, stop: asyncio.Event
) -> tuple[int, Sequence[Difference]]:
    """The exit code, and the difference of each agent. Without `repair` nothing is changed."""
    scope = Scope(agents=settings.agents, lookback_s=settings.lookback_s, scans=False)
    async with (
        opened(settings, scope=scope, once=True) as exporter,
        stopped_by(stop, exporter),
    ):
        return await reconcile(exporter, since_ns=since_ns, repair=repair, show=show)


async def reconcile(
    exporter: Exporter, *, since_ns: int, repair: bool, show: Show | None = None
) -> tuple[int, list[Difference]]:
    """Compare every agent, then fetch and deliver what that brought up."""
    troubles = await exporter.sync.discover()
    differences = [
        await exporter.comparison.compare(workspace, agent, since_ns=since_ns, repair=repair)
        for workspace in exporter.workspaces().values()
        for agent in workspace.agents.values()
    ]
    incomplete = bool(troubles) or any(one.trouble is not None for one in differences)
    code = await complete_pass(exporter, show=show) if repair else 0
    return (1 if incomplete else code), differences
