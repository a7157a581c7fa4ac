"""The sync stage: finds the workspaces and keeps a `WorkspaceSync` at work in each.

The list of workspaces belongs to none of them and is limited by token, so it is paced here.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from exporter.clock import Clock
from exporter.errors import LedgerError, SourceError, SourceRateLimited
from exporter.models import Workspace
from exporter.sync.budget import RequestBudget, backoff_s, pay
from exporter.sync.roster import REFRESH_S, Roster
from exporter.sync.source import Source
from exporter.sync.state import WorkspaceState
from exporter.sync.workspace import SyncParts, WorkspaceSync

logger = logging.getLogger("exporter.sync")

_TRIES_OF_ONE_PASS: Final = 5


class SyncService:
    """Reads Conduit until stopped (`run`), or until all that is visible was read (`run_pass`)."""

    def __init__(
        self,
        *,
        source: Source,
        parts: SyncParts,
        roster: Roster,
        clock: Clock,
        rng: random.Random,
        workspaces: Sequence[str],
        requests_per_minute: float,
    ) -> None:
        """`workspaces` empty: all that the token sees."""
        self._source = source
        self._parts = parts
        self._roster = roster
        self._clock = clock
        self._rng = rng
        self._named = tuple(workspaces)
        self._budget = RequestBudget(requests_per_minute=requests_per_minute)
        self._syncs: dict[str, WorkspaceSync] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stop = asyncio.Event()
        self.trouble: str | None = None
        self.discovered = False

    @property
    def workspaces(self) -> dict[str, WorkspaceState]:
        """The present state of every workspace, by id; to be read only."""
        return {one: sync.state for one, sync in self._syncs.items()}

    async def run(self) -> None:
        """Work until `stop`; workspaces that appear later are taken up."""
        failures = 0
        while not self._stop.is_set():
            try:
                await self._discover()
            except LedgerError:
                break
            except SourceError as exc:
                failures += 1
                self._note_trouble(exc)
                await self._rest(self._pause_s(exc, failures))
                continue
            failures = 0
            self.trouble = None
            for name, sync in self._syncs.items():
                if name not in self._tasks:
                    self._tasks[name] = asyncio.create_task(sync.run(), name=f"sync {name}")
            await self._rest(REFRESH_S)
        for sync in self._syncs.values():
            sync.stop()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def run_pass(self) -> list[str]:
        """Read all that is visible now, once; what could not be read, in words."""
        if trouble := await self._try(self._discover):
            return [trouble]
        await asyncio.gather(*(sync.run_until_settled() for sync in self._syncs.values()))
        unsaid = (
            "stopped before all of it was read"
            if self._stop.is_set()
            else "an agent could not be read"
        )
        troubles = [
            f"workspace {name}: {sync.state.trouble or unsaid}"
            for name, sync in self._syncs.items()
            if not sync.settled
        ]
        return troubles + [
            f"agent {agent_id}: no workspace of this token lists it"
            for agent_id in self.missing_agents()
        ]

    async def discover(self) -> list[str]:
        """Find the workspaces and their agents and read nothing else; what failed, in words."""
        if trouble := await self._try(self._discover):
            return [trouble]
        troubles = []
        for name, sync in self._syncs.items():
            if trouble := await self._try(partial(self._list_agents, sync.state)):
                troubles.append(f"workspace {name}: {trouble}")
        return troubles

    def stop(self) -> None:
        """Make no further request."""
        self._stop.set()
        for sync in self._syncs.values():
            sync.stop()

    def wake(self) -> None:
        """Something changed from outside (room in the outbox, a new token): decide anew."""
        for sync in self._syncs.values():
            sync.wake()

    def missing_agents(self) -> list[str]:
        """The ids of agents that the settings name and no workspace lists."""
        return self._roster.missing(self.workspaces)

    async def _try(self, request: Callable[[], Awaitable[None]]) -> str | None:
        """Make requests until they succeed, a few times; why they did not, in words."""
        failures = 0
        while True:
            try:
                await request()
            except SourceError as exc:
                failures += 1
                if failures == _TRIES_OF_ONE_PASS or self._stop.is_set():
                    return str(exc)
                await self._rest(self._pause_s(exc, failures))
            else:
                return None

    async def _list_agents(self, state: WorkspaceState) -> None:
        while not state.discovered:
            await pay(state.budget, self._clock)
            await self._roster.read_agents(state)

    async def _discover(self) -> None:
        """Find the workspaces; names that the API does not tell are their ids."""
        found: dict[str, Workspace] = {}
        cursor: str | None = None
        while True:
            await pay(self._budget, self._clock)
            try:
                page = await self._source.workspaces_page(cursor=cursor)
            except SourceError:
                if not self._named:
                    raise
                # Their ids are known: their names can wait for the next refresh.
                break
            found.update((one.id, one) for one in page.rows)
            if page.next_cursor is None or page.next_cursor == cursor:
                break
            cursor = page.next_cursor
        wanted = self._named or tuple(found)
        for workspace_id in wanted:
            workspace = found.get(workspace_id, Workspace(workspace_id, workspace_id))
            known = self._syncs.get(workspace_id)
            if known is None:
                state = await self._roster.open_workspace(workspace)
                self._syncs[workspace_id] = WorkspaceSync(state, self._parts)
                self._parts.observer.watching(workspace_id)
            elif workspace_id in found:
                known.state.name = workspace.name
        self.discovered = True

    def _pause_s(self, error: SourceError, failures: int) -> float:
        if isinstance(error, SourceRateLimited):
            return self._budget.rest(self._clock.monotonic_s(), error.retry_after_s, self._rng)
        return backoff_s(failures, self._rng)

    def _note_trouble(self, error: SourceError) -> None:
        if self.trouble != str(error):
            logger.warning("the workspaces could not be listed: %s", error)
        self.trouble = str(error)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass
