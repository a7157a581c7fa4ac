"""`check`: settings, token, ledger and trace backend, a line each, in the order of the flow."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from exporter.app.assembly import token_source
from exporter.app.backend import open_backend
from exporter.clock import SystemClock
from exporter.conduit.client import ConduitClient
from exporter.conduit.transport import open_transport
from exporter.delivery.outcome import Accepted
from exporter.errors import ExporterError, LedgerLocked
from exporter.ledger.database import Database, sqlite_path
from exporter.settings.model import Settings

_NONE_LISTED: Final = "no workspace is visible with this token"


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One thing that was looked at, and how it is."""

    ok: bool
    subject: str
    message: str


async def check_all(settings: Settings) -> list[CheckLine]:
    """Look at everything that a start needs; changes nothing and sends no trace."""
    lines = [CheckLine(True, "settings", "all settings can be used")]
    lines += [CheckLine(True, "settings", warning) for warning in settings.warnings]
    lines += [line async for line in _check_conduit(settings)]
    lines.append(await asyncio.to_thread(_check_ledger, settings))
    lines.append(await _check_backend(settings))
    return lines


async def _check_conduit(settings: Settings) -> AsyncIterator[CheckLine]:
    clock = SystemClock()
    try:
        client = ConduitClient(
            base_url=settings.base_url,
            token=token_source(settings),
            transport=open_transport(),
            clock=clock,
            observe=lambda _endpoint, _code, _seconds: None,
        )
    except ExporterError as exc:
        yield CheckLine(False, "token", str(exc))
        return
    try:
        listed = [one.id for one in (await client.workspaces_page()).rows]
        yield CheckLine(bool(listed), "token", _accepted(listed))
        wanted = set(settings.agents or ()) | {agent for agent, _ in settings.runs}
        for workspace_id in settings.workspaces or listed:
            agents = {one.id for one in (await client.agents_page(workspace_id)).rows}
            wanted -= agents
            yield CheckLine(True, f"workspace {workspace_id}", f"{len(agents)} agents are listed")
        for agent_id in sorted(wanted):
            yield CheckLine(False, f"agent {agent_id}", "is configured, but no workspace lists it")
    except ExporterError as exc:
        yield CheckLine(False, "Conduit API", str(exc))
    finally:
        await client.aclose()


def _accepted(listed: list[str]) -> str:
    return f"accepted; workspaces: {', '.join(listed)}" if listed else _NONE_LISTED


def _check_ledger(settings: Settings) -> CheckLine:
    url = settings.ledger_url.get_secret_value()
    path = sqlite_path(url)
    if path is not None and not path.exists():
        # Not created here: it would belong to whoever checks instead of the daemon's user.
        folder = path.absolute().parent
        writable = folder.is_dir() and os.access(folder, os.W_OK)
        how = "will be created" if writable else f"{folder} is no folder that can be written"
        return CheckLine(writable, "ledger", how)
    try:
        database = Database(url=url, base_url=settings.base_url)
    except LedgerLocked:
        return CheckLine(True, "ledger", "is held by a running exporter")
    except ExporterError as exc:
        return CheckLine(False, "ledger", str(exc))
    try:
        return CheckLine(True, "ledger", "can be opened and written")
    finally:
        with suppress(ExporterError):
            database.close()


async def _check_backend(settings: Settings) -> CheckLine:
    """Send an empty request, which every OTLP receiver must accept."""
    try:
        sender = open_backend(settings, clock=SystemClock())
    except ExporterError as exc:
        return CheckLine(False, "trace backend", str(exc))
    if sender is None:
        return CheckLine(True, "trace backend", "none: metrics only")
    try:
        outcome = await sender.send(b"")
    finally:
        await sender.aclose()
    ok = isinstance(outcome, Accepted)
    how = "accepts OTLP" if ok else f"{outcome.reason}"
    return CheckLine(ok, "trace backend", f"{sender.destination}: {how}")
