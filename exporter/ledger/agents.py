"""Workspaces, agents and how far each agent's list is read; inside a transaction of the ledger."""

import sqlite3
from dataclasses import replace
from typing import Any, Final

from exporter.conduit.models import Agent, Workspace
from exporter.ledger.file import reading
from exporter.ledger.records import (
    AgentProgress,
    AgentRecord,
    AwaitedRun,
    Coverage,
    Gap,
    GapPurpose,
    InFlightRun,
    Priority,
)

_PUT_WORKSPACE: Final = """
INSERT INTO workspace (id, name, since_ns) VALUES (:id, :name, :since_ns)
ON CONFLICT (id) DO UPDATE SET name = :name, listed = 1 WHERE name <> :name OR listed = 0
"""
# A known agent keeps its floor and what was read, whatever workspace it is in now.
_PUT_AGENT: Final = """
INSERT INTO agent (id, workspace_id, name, floor_ns, counted_from_ns)
VALUES (:id, :workspace_id, :name, :floor_ns, :floor_ns)
ON CONFLICT (id) DO UPDATE SET workspace_id = :workspace_id, name = :name, listed = 1
WHERE workspace_id <> :workspace_id OR name <> :name OR listed = 0
"""
_AGENTS: Final = """
SELECT no, id, workspace_id, name, listed, floor_ns, frontier_ns, reread_ns, full_reread_ns,
    counted_from_ns
FROM agent
"""
_GAPS: Final = """
SELECT no, purpose, lower_ns, upper_ns, cursor, restarts FROM gap
WHERE agent_no = ? ORDER BY upper_ns DESC
"""
_PUT_GAP: Final = """
UPDATE gap SET purpose = :purpose, lower_ns = :lower_ns, upper_ns = :upper_ns, cursor = :cursor,
restarts = :restarts WHERE no = :no
"""
_ADD_GAP: Final = """
INSERT INTO gap (agent_no, purpose, lower_ns, upper_ns, cursor, restarts)
SELECT :agent_no, :purpose, :lower_ns, :upper_ns, :cursor, :restarts
WHERE NOT EXISTS (
    -- Already there where a commit of unknown outcome is repeated.
    SELECT 1 FROM gap WHERE agent_no = :agent_no AND purpose = :purpose
    AND lower_ns = :lower_ns AND upper_ns = :upper_ns
)
"""
_MOVE: Final = """
UPDATE agent SET frontier_ns = coalesce(:frontier_ns, frontier_ns),
reread_ns = coalesce(:reread_ns, reread_ns),
full_reread_ns = coalesce(:full_reread_ns, full_reread_ns)
WHERE no = :agent_no
"""

_IN_FLIGHT: Final = """
SELECT id, created_ns, status, attempts, retry_ns FROM run
WHERE agent_no = ? AND counted = 0 AND trace = 0
"""
_AWAITING: Final = """
SELECT id, priority, created_ns FROM run WHERE agent_no = ? AND trace = 1 AND attempts = 0
ORDER BY priority, created_ns LIMIT ?
"""
_RETRYING: Final = """
SELECT id, priority, created_ns, attempts, retry_ns FROM run
WHERE agent_no = ? AND trace = 1 AND attempts > 0 ORDER BY priority, created_ns
"""
_OLDEST_AWAITING: Final = """
SELECT ended_ns FROM run WHERE agent_no = ? AND trace = 1 AND attempts = 0 AND priority = ?
ORDER BY created_ns LIMIT 1
"""
# So many of the runs that wait for their detail are told at a time.
_AWAITING_MAX: Final = 32


class AgentTables:
    """The workspaces and agents of one ledger."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def put_workspace(
        self, workspace: Workspace, *, since_ns: int | None = None
    ) -> tuple[int | None, int | None]:
        """Note a workspace and its present name; when it was read first, and last listed whole."""
        values = {"id": workspace.id, "name": workspace.name, "since_ns": since_ns}
        self._db.execute(_PUT_WORKSPACE, values)
        ((first_ns, listed_ns),) = self._db.execute(
            "SELECT since_ns, listed_ns FROM workspace WHERE id = ?", (workspace.id,)
        )
        return first_ns, listed_ns

    def listed_whole(self, workspace_id: str, listed_ns: int) -> None:
        """Note that all agents of a workspace were listed, from this moment on."""
        self._db.execute(
            "UPDATE workspace SET listed_ns = ? WHERE id = ?", (listed_ns, workspace_id)
        )

    def retire_workspace(self, workspace_id: str) -> None:
        """Note that the token sees a workspace no more; what is known of it stays."""
        self._db.execute("UPDATE workspace SET listed = 0 WHERE id = ?", (workspace_id,))

    def workspaces(self) -> list[Workspace]:
        """Every workspace that was read and is not retired."""
        rows = self._db.execute("SELECT id, name FROM workspace WHERE listed = 1 ORDER BY id")
        return [Workspace(id=one, name=name) for one, name in rows]

    def put_agent(self, agent: Agent, *, floor_ns: int) -> AgentRecord:
        """Note an agent as Conduit lists it; one that is new begins at `floor_ns`."""
        self._db.execute(
            _PUT_AGENT,
            {
                "id": agent.id,
                "workspace_id": agent.workspace_id,
                "name": agent.name,
                "floor_ns": floor_ns,
            },
        )
        return _agent(self._db.execute(f"{_AGENTS} WHERE id = ?", (agent.id,)).fetchone())

    def agent(self, agent_no: int) -> AgentRecord:
        """An agent by its number."""
        return _agent(self._db.execute(f"{_AGENTS} WHERE no = ?", (agent_no,)).fetchone())

    def agents_of(self, workspace_id: str) -> list[AgentRecord]:
        """The agents that a workspace has or had."""
        rows = self._db.execute(f"{_AGENTS} WHERE workspace_id = ? ORDER BY no", (workspace_id,))
        return [_agent(row) for row in rows]

    def number_of(self, agent_id: str) -> int | None:
        """The number that stands for an agent; None if it was never seen."""
        row = self._db.execute("SELECT no FROM agent WHERE id = ?", (agent_id,)).fetchone()
        return None if row is None else int(row[0])

    def retire(self, agent_no: int, *, workspace_id: str) -> None:
        """Note that this workspace lists the agent no more; it may have moved to another one."""
        self._db.execute(
            "UPDATE agent SET listed = 0 WHERE no = ? AND workspace_id = ?",
            (agent_no, workspace_id),
        )

    def raise_floor(self, agent_no: int, floor_ns: int) -> None:
        """Move an agent's floor up for good, as far as everything above it was read.

        Never above the frontier or into a gap: what lies there is still to be counted.
        """
        self._db.execute(
            """
            UPDATE agent SET floor_ns = max(floor_ns, min(:floor_ns, frontier_ns, coalesce(
                (SELECT min(lower_ns) FROM gap WHERE agent_no = :no AND purpose <> :backfill),
                :floor_ns
            )))
            WHERE no = :no AND frontier_ns IS NOT NULL
            """,
            {"no": agent_no, "floor_ns": floor_ns, "backfill": GapPurpose.BACKFILL},
        )

    def open_backfill(self, agent_no: int, *, since_ns: int, until_ns: int | None) -> None:
        """Want an agent's list below its floor read as well, from `since_ns` on.

        Never reaches above where counting begins; with an agent that was never read that is
        `until_ns`, so that no run is ever on both sides. A backfill that is unfinished goes on, and
        as far as this one reaches.
        """
        agent = self.agent(agent_no)
        begin_ns = agent.counted_from_ns
        if agent.frontier_ns is None and until_ns is not None and until_ns > begin_ns:
            self._db.execute(
                "UPDATE agent SET floor_ns = :until, counted_from_ns = :until WHERE no = :no",
                {"until": until_ns, "no": agent_no},
            )
            begin_ns = until_ns
        upper_ns = min(begin_ns, until_ns if until_ns is not None else begin_ns)
        unfinished = [one for one in self.gaps(agent_no) if one.purpose is GapPurpose.BACKFILL]
        if unfinished:
            gap = unfinished[0]
            if until_ns is not None and upper_ns > gap.upper_ns:
                # Whether what lies between was read is not known any more: from the head again.
                gap = replace(gap, upper_ns=upper_ns, cursor=None)
            gap = replace(gap, lower_ns=min(gap.lower_ns, since_ns))
        elif since_ns < upper_ns:
            gap = Gap(None, GapPurpose.BACKFILL, since_ns, upper_ns, None)
        else:
            return
        self.cover(agent_no, Coverage(open_gap=gap))

    def gaps(self, agent_no: int) -> list[Gap]:
        """What of an agent's list is still to be read, newest first."""
        with reading():
            return [
                Gap(no, GapPurpose(purpose), lower_ns, upper_ns, cursor, restarts)
                for no, purpose, lower_ns, upper_ns, cursor, restarts in self._db.execute(
                    _GAPS, (agent_no,)
                )
            ]

    def progress(self, agent_no: int) -> AgentProgress:
        """Where an agent stands."""
        with reading():
            oldest = [
                row[0]
                for priority in (Priority.URGENT, Priority.FRESH)
                for row in self._db.execute(_OLDEST_AWAITING, (agent_no, priority))
            ]
            return AgentProgress(
                agent=self.agent(agent_no),
                gaps=tuple(self.gaps(agent_no)),
                in_flight=tuple(
                    InFlightRun(*row) for row in self._db.execute(_IN_FLIGHT, (agent_no,))
                ),
                awaiting=tuple(
                    AwaitedRun(run_id, Priority(priority), created_ns)
                    for run_id, priority, created_ns in self._db.execute(
                        _AWAITING, (agent_no, _AWAITING_MAX)
                    )
                ),
                retrying=tuple(
                    AwaitedRun(run_id, Priority(priority), created_ns, attempts, retry_ns)
                    for run_id, priority, created_ns, attempts, retry_ns in self._db.execute(
                        _RETRYING, (agent_no,)
                    )
                ),
                oldest_awaiting_ns=min(oldest, default=None),
            )

    def cover(self, agent_no: int, coverage: Coverage) -> None:
        """Move the reading of an agent's list."""
        moved = {
            "frontier_ns": coverage.frontier_ns,
            "reread_ns": coverage.reread_ns,
            "full_reread_ns": coverage.full_reread_ns,
        }
        if any(value is not None for value in moved.values()):
            self._db.execute(_MOVE, {"agent_no": agent_no, **moved})
        if coverage.closed_gap is not None:
            self._db.execute("DELETE FROM gap WHERE no = ?", (coverage.closed_gap,))
        gap = coverage.open_gap
        if gap is not None:
            self._db.execute(
                _ADD_GAP if gap.no is None else _PUT_GAP,
                {
                    "no": gap.no,
                    "agent_no": agent_no,
                    "purpose": gap.purpose,
                    "lower_ns": gap.lower_ns,
                    "upper_ns": gap.upper_ns,
                    "cursor": gap.cursor,
                    "restarts": gap.restarts,
                },
            )


def _agent(row: tuple[Any, ...]) -> AgentRecord:
    with reading():
        record = AgentRecord(*row)
        return record._replace(listed=bool(record.listed))
