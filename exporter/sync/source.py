"""What the sync stage needs of the Conduit API, and of whoever watches it work."""

from typing import Protocol

from exporter.models import Agent, Page, Run, RunDetail, Unreadable, Workspace


class Source(Protocol):
    """The Conduit API: one call is one request. Raises SourceError and nothing else."""

    async def workspaces_page(self, *, cursor: str | None) -> Page[Workspace]:
        """Workspaces that the token sees."""

    async def agents_page(self, workspace_id: str, *, cursor: str | None) -> Page[Agent]:
        """Agents of a workspace."""

    async def runs_page(
        self,
        *,
        workspace_id: str,
        agent_id: str,
        limit: int,
        cursor: str | None = None,
        status: str | None = None,
    ) -> Page[Run]:
        """Runs of an agent, newest first."""

    async def run(self, *, workspace_id: str, agent_id: str, run_id: str) -> RunDetail | Unreadable:
        """One run whole."""


class SyncObserver(Protocol):
    """Told of what cannot be read off the ledger's totals."""

    def watching(self, workspace_id: str) -> None:
        """A workspace is read from now on."""

    def rate_limited(self, workspace_id: str) -> None:
        """Conduit answered 429."""

    def counted(self, delay_s: float) -> None:
        """A fresh run was counted so many seconds after it completed."""

    def traced(self, agent_no: int, run: Run, trace_id: bytes) -> None:
        """The trace of a run was written into the outbox."""
