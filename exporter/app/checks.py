"""`check`: settings, token, ledger and trace backend, a line each, in the order of the flow.

Changes nothing, sends no trace, and lists no more than the daemon's own start would.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from exporter.app.adapters import has_ledger, open_backend, open_client
from exporter.clock import SystemClock
from exporter.conduit.pager import read_pages
from exporter.delivery.outcome import Accepted
from exporter.errors import ConfigError, ExporterError, LedgerLocked
from exporter.ledger.file import LedgerFile
from exporter.settings.model import Settings
from exporter.web.config import WebConfigFile

_NONE_LISTED: Final = "no workspace is visible with this token"


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One thing that was looked at, and how it is."""

    subject: str
    message: str
    ok: bool = True


async def check_all(settings: Settings) -> list[CheckLine]:
    """Look at everything that a start needs; changes nothing and sends no trace."""
    lines = [CheckLine("settings", "all settings can be used")]
    lines += [CheckLine("settings", warning) for warning in settings.warnings]
    lines += _check_web_config(settings)
    lines += [line async for line in _check_conduit(settings)]
    lines.append(await asyncio.to_thread(_check_ledger, settings))
    lines.append(await _check_backend(settings))
    return lines


def _check_web_config(settings: Settings) -> list[CheckLine]:
    if settings.web_config_file is None:
        return []
    try:
        WebConfigFile(settings.web_config_file)
    except ConfigError as exc:
        return [CheckLine("web config", problem, ok=False) for problem in exc.problems]
    return [CheckLine("web config", f"{settings.web_config_file} can be used")]


async def _check_conduit(settings: Settings) -> AsyncIterator[CheckLine]:
    clock = SystemClock()
    try:
        client = open_client(settings, clock=clock)
    except ExporterError as exc:
        yield CheckLine("token", str(exc), ok=False)
        return
    try:
        listed = [one.id async for page in read_pages(client.workspaces_page) for one in page.rows]
        yield CheckLine("token", _accepted(listed), ok=bool(listed))
        for workspace_id in sorted(settings.monthly_budget_usd.keys() - {"", *listed}):
            yield CheckLine(f"budget of {workspace_id}", "no such workspace is visible", ok=False)
        wanted = set(settings.agents or ()) | {agent for agent, _ in settings.runs}
        for workspace_id in settings.workspaces or listed:
            fetch = partial(client.agents_page, workspace_id)
            agents = {one.id async for page in read_pages(fetch) for one in page.rows}
            wanted -= agents
            yield CheckLine(f"workspace {workspace_id}", _listed(len(agents)))
        for agent_id in sorted(wanted):
            yield CheckLine(
                f"agent {agent_id}", "is configured, but no workspace lists it", ok=False
            )
    except ExporterError as exc:
        yield CheckLine("Conduit API", str(exc), ok=False)
    finally:
        await client.aclose()


def _listed(agents: int) -> str:
    return "1 agent is listed" if agents == 1 else f"{agents} agents are listed"


def _accepted(listed: list[str]) -> str:
    return f"accepted; workspaces: {', '.join(listed)}" if listed else _NONE_LISTED


def _check_ledger(settings: Settings) -> CheckLine:
    path = settings.ledger_path
    if not has_ledger(settings):
        # Not created here: it would belong to whoever checks instead of the daemon's user.
        folder = path.absolute().parent
        writable = folder.is_dir() and os.access(folder, os.W_OK)
        how = (
            f"{path} will be created" if writable else f"{folder} is no folder that can be written"
        )
        return CheckLine("ledger", how, ok=writable)
    now_ns = SystemClock().now_ns()
    try:
        file = LedgerFile(path, base_url=settings.base_url, now_ns=now_ns)
    except LedgerLocked:
        return CheckLine("ledger", f"{path} is held by a running exporter")
    except ExporterError as exc:
        return CheckLine("ledger", str(exc), ok=False)
    file.close()
    return CheckLine("ledger", f"{path} can be opened and written")


async def _check_backend(settings: Settings) -> CheckLine:
    """Send an empty request, which every OTLP receiver must accept."""
    try:
        sender = open_backend(settings, clock=SystemClock())
    except ExporterError as exc:
        return CheckLine("trace backend", str(exc), ok=False)
    if sender is None:
        return CheckLine("trace backend", "none: metrics only")
    try:
        outcome = await sender.send(b"")
    finally:
        await sender.aclose()
    where = sender.destination
    if isinstance(outcome, Accepted):
        return CheckLine("trace backend", f"{where}: accepts OTLP")
    return CheckLine("trace backend", f"{where}: {outcome.reason}", ok=False)
