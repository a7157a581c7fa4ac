"""The sync stage: finds the workspaces and keeps a `WorkspaceSync` at work in each.

The list of workspaces belongs to none of them and is limited by token, so it is paced here. What
the ledger knows goes on while that list cannot be read. A fault of this program ends the stage.
"""

import asyncio
import hashlib
import logging
from collections.abc import Collection
from typing import Final

from exporter.conduit.client import ConduitClient
from exporter.conduit.models import Page, Workspace
from exporter.conduit.pager import read_pages
from exporter.errors import SourceError, SourceRateLimited
from exporter.sync.budget import RequestBudget, backoff_s, pay
from exporter.sync.discovery import REFRESH_S
from exporter.sync.state import WorkspaceState
from exporter.sync.workspace import SyncParts, WorkspaceSync

logger = logging.getLogger("exporter.sync")

_PASS_TRIES: Final = 5


class SyncService:
    """Reads Conduit until stopped (`run`), or until all that is visible was read (`run_pass`).

    `workspaces` empty: all that the token sees, as far as their ids hash to `shard` of
    `total_shards`.
    """

    def __init__(
        self,
        *,
        client: ConduitClient,
        parts: SyncParts,
        workspaces: Collection[str],
        requests_per_minute: float,
        shard: int = 0,
        total_shards: int = 1,
    ) -> None:
        self._client = client
        self._parts = parts
        self._clock = parts.clock
        self._started_s = parts.clock.monotonic_s()
        self._named = tuple(workspaces)
        self._shard = (shard, total_shards)
        self._budget = RequestBudget(requests_per_minute=requests_per_minute)
        self._syncs: dict[str, WorkspaceSync] = {}
        self._stop = asyncio.Event()
        # Workspaces that the last complete list did not show.
        self._missed: set[str] = set()
        self.trouble: str | None = None
        self.discovered = False

    @property
    def workspaces(self) -> dict[str, WorkspaceState]:
        """The present state of every workspace, by id; to be read only."""
        return self._parts.discovery.workspaces

    async def run(self) -> None:
        """Work until `stop`; workspaces that appear later are taken up.

        Raises LedgerError, and whatever is a fault of this program.
        """
        failures = 0
        await self._parts.recorder.begin()
        async with asyncio.TaskGroup() as group:
            running: set[str] = set()
            for workspace in await self._known_workspaces():
                await self._open(workspace)
            while not self._stop.is_set():
                pause_s = REFRESH_S
                try:
                    await self._discover()
                    failures = 0
                except SourceError as exc:
                    failures += 1
                    pause_s = self._pause_s(exc, failures)
                running &= self._syncs.keys()
                for name, sync in self._syncs.items():
                    if name not in running:
                        running.add(name)
                        group.create_task(sync.run(), name=f"sync {name}")
                await self._rest(pause_s)
            for sync in self._syncs.values():
                sync.stop()

    async def run_pass(self) -> list[str]:
        """Read all that is visible now, once; what could not be read, in words."""
        await self._parts.recorder.begin()
        troubles = await self.discover_workspaces()
        async with asyncio.TaskGroup() as group:
            for sync in self._syncs.values():
                group.create_task(sync.run_until_settled())
        if self._stop.is_set():
            # What was not read yet is no trouble of its own.
            return [*troubles, "stopped before all of it was read"]
        for sync in self._syncs.values():
            troubles += sync.troubles()
        return troubles + [
            f"agent {agent_id}: no workspace of this token lists it"
            for agent_id in self.missing_agents()
        ]

    async def discover_workspaces(self) -> list[str]:
        """Find the workspaces, a few times if need be; what failed, in words."""
        for workspace in await self._known_workspaces():
            await self._open(workspace)
        failures = 0
        while not self._stop.is_set():
            try:
                await self._discover()
            except SourceError as exc:
                failures += 1
                if failures == _PASS_TRIES:
                    return [str(exc)]
                await self._rest(self._pause_s(exc, failures))
            else:
                return [] if self._syncs or self.trouble is None else [self.trouble]
        return []

    async def discover(self) -> list[str]:
        """Find the workspaces and their agents and read nothing else; what failed, in words."""
        troubles = await self.discover_workspaces()
        for sync in self._syncs.values():
            troubles += await sync.list_agents()
        return troubles

    def missing_agents(self) -> list[str]:
        """The agents that the settings name and no workspace lists; of one shard nobody knows."""
        return self._parts.discovery.missing() if self._shard[1] == 1 else []

    def stop(self) -> None:
        """Make no further request."""
        self._stop.set()
        for sync in self._syncs.values():
            sync.stop()

    def wake(self) -> None:
        """Something changed from outside (there is room in the outbox again): decide anew."""
        for sync in self._syncs.values():
            sync.wake()

    async def _known_workspaces(self) -> list[Workspace]:
        """What can be read before the list of workspaces answers."""
        known = await self._parts.discovery.known_workspaces()
        return [one for one in known if self._is_wanted(one.id)]

    async def _discover(self) -> None:
        """Read the list of workspaces, and open those that are new. Raises SourceError."""
        found = await self._listed()
        if self.trouble is None and not self._named:
            await self._let_go(self._syncs.keys() - found.keys())
        for name in self._named:
            if name not in self.workspaces:
                found.setdefault(name, Workspace(id=name, name=name))
        for workspace in found.values():
            known = self.workspaces.get(workspace.id)
            if known is not None:
                known.name = workspace.name
            elif self._is_wanted(workspace.id):
                await self._open(workspace)
        self.discovered = True

    async def _listed(self) -> dict[str, Workspace]:
        """The workspaces that the token sees. Raises SourceError where none is known by name."""
        found: dict[str, Workspace] = {}
        try:
            async for page in read_pages(self._workspaces_page):
                self._parts.time.observe(page.date_ns)
                found.update((one.id, one) for one in page.rows)
        except SourceError as exc:
            self._note_trouble(f"the list of workspaces cannot be read: {exc}")
            if not (self._named or found):
                raise
        else:
            if found or self._named:
                self.trouble = None
            else:
                self._note_trouble("the token sees no workspace; is it the right one?")
        return found

    async def _let_go(self, missing: set[str]) -> None:
        """Read no more what two complete lists did not show; a pass has but one."""
        for name in missing if self._parts.once else missing & self._missed:
            logger.warning("workspace %s is no longer listed; it is not read", name)
            self._syncs.pop(name).stop()
            await self._parts.discovery.close_workspace(name, retire=not self._parts.once)
        self._missed = missing

    async def _workspaces_page(self, cursor: str | None) -> Page[Workspace]:
        await pay(self._budget, self._clock)
        return await self._client.workspaces_page(cursor=cursor)

    async def _open(self, workspace: Workspace) -> None:
        if workspace.id in self._syncs:
            return
        # What Conduit was out of reach for since the start is news as well.
        since_s = self._clock.monotonic_s() if self.discovered else self._started_s
        state = await self._parts.discovery.open_workspace(workspace, since_s=since_s)
        self._syncs[workspace.id] = WorkspaceSync(state, self._parts)
        self._parts.instruments.expect_workspace(workspace.id)

    def _is_wanted(self, workspace_id: str) -> bool:
        if self._named and workspace_id not in self._named:
            return False
        shard, total = self._shard
        return shard_of(workspace_id, total) == shard

    def _pause_s(self, error: SourceError, failures: int) -> float:
        pause_s = backoff_s(failures, self._parts.rng)
        if isinstance(error, SourceRateLimited) and error.retry_after_s is not None:
            pause_s = max(pause_s, error.retry_after_s)
        return pause_s

    def _note_trouble(self, trouble: str) -> None:
        if self.trouble is None:
            logger.warning("%s", trouble)
        self.trouble = trouble

    async def _rest(self, seconds: float) -> None:
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        sleeping = asyncio.create_task(self._clock.sleep(seconds), name="rest")
        try:
            await asyncio.wait((stopping, sleeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            sleeping.cancel()


def shard_of(workspace_id: str, total_shards: int) -> int:
    """The shard that reads a workspace: the same in every instance and release."""
    digest = hashlib.sha256(workspace_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % total_shards
