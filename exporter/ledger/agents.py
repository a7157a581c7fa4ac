"""Workspaces, agents and how far each agent's list is read; inside a transaction of the ledger."""

from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from exporter.errors import LedgerUnavailable
from exporter.ledger import schema
from exporter.ledger.prepared import Prepared
from exporter.ledger.records import AgentRecord, Coverage, GapRecord
from exporter.ledger.schema import GapPurpose
from exporter.models import Agent, Workspace

_MOVE_FRONTIER: Final = (
    update(schema.agent)
    .where(schema.agent.c.no == bindparam("agent"))
    .values(frontier_ns=bindparam("to"))
)


class AgentTables:
    """The agents of one ledger."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._move_frontier = Prepared(connection, _MOVE_FRONTIER)

    def put_workspace(self, workspace: Workspace) -> int:
        """Note a workspace and its present name; the number that stands for it."""
        self._db.execute(
            upsert(schema.workspace)
            .values(id=workspace.id, name=workspace.name)
            .on_conflict_do_update(index_elements=["id"], set_={"name": workspace.name})
        )
        return int(
            self._db.execute(
                select(schema.workspace.c.no).where(schema.workspace.c.id == workspace.id)
            ).scalar_one()
        )

    def put_agent(self, agent: Agent, *, workspace_no: int, floor_ns: int) -> AgentRecord:
        """Note an agent and its present name; a known one keeps its floor and what was read."""
        table = schema.agent
        self._db.execute(
            upsert(table)
            .values(
                workspace_no=workspace_no,
                id=agent.id,
                name=agent.name,
                floor_ns=floor_ns,
            )
            .on_conflict_do_update(index_elements=["workspace_no", "id"], set_={"name": agent.name})
        )
        row = self._db.execute(
            select(table).where(table.c.workspace_no == workspace_no, table.c.id == agent.id)
        ).one()
        return AgentRecord(
            no=row.no,
            workspace_no=workspace_no,
            workspace_id=agent.workspace_id,
            id=row.id,
            name=row.name,
            floor_ns=row.floor_ns,
            frontier_ns=row.frontier_ns,
        )

    def numbers_of(self, agent_id: str) -> list[int]:
        """The numbers of all agents with this id, one in each workspace that has it."""
        table = schema.agent
        return list(self._db.execute(select(table.c.no).where(table.c.id == agent_id)).scalars())

    def raise_floor(self, agent_no: int, floor_ns: int) -> int:
        """Move an agent's floor up for good, as far as everything above it was read.

        Never above the frontier or into a gap: what lies there is still to be counted. Gives the
        floor as it is now.
        """
        table, gap = schema.agent, schema.gap
        agent = self._db.execute(select(table).where(table.c.no == agent_no)).one()
        lowest_gap = self._db.execute(
            select(func.min(gap.c.lower_ns)).where(
                gap.c.agent_no == agent_no, gap.c.purpose != GapPurpose.BACKFILL
            )
        ).scalar()
        bounds = [floor_ns, agent.frontier_ns]
        if lowest_gap is not None:
            bounds.append(lowest_gap)
        if None in bounds or min(bounds) <= agent.floor_ns:
            return int(agent.floor_ns)
        raised = min(bounds)
        self._db.execute(update(table).where(table.c.no == agent_no).values(floor_ns=raised))
        return int(raised)

    def open_backfill(
        self, agent: AgentRecord, *, since_ns: int, until_ns: int | None
    ) -> AgentRecord:
        """Want an agent's list below its floor read as well; the agent as it is now.

        Never reaches above the floor, where runs are counted; the floor of an agent that was never
        scanned moves up to `until_ns`, so that no run is ever on both sides. A backfill that is
        unfinished goes on, and as far as this one reaches.
        """
        if agent.frontier_ns is None and until_ns is not None and until_ns > agent.floor_ns:
            self.cover(agent.no, Coverage(floor_ns=until_ns))
            agent = replace(agent, floor_ns=until_ns)
        upper_ns = min(agent.floor_ns, until_ns if until_ns is not None else agent.floor_ns)
        open_gaps = [gap for gap in self.gaps(agent.no) if gap.purpose is GapPurpose.BACKFILL]
        if open_gaps:
            gap = open_gaps[0]
            if until_ns is not None and upper_ns > gap.upper_ns:
                # Whether what lies between was read is not known any more: from the head again.
                gap = replace(gap, upper_ns=upper_ns, cursor=None)
            gap = replace(gap, lower_ns=min(gap.lower_ns, since_ns))
        elif since_ns < upper_ns:
            gap = GapRecord(None, GapPurpose.BACKFILL, since_ns, upper_ns, None)
        else:
            return agent
        self.cover(agent.no, Coverage(open_gap=gap))
        return agent

    def gaps(self, agent_no: int) -> list[GapRecord]:
        """What of an agent's list is still to be read, newest first."""
        table = schema.gap
        rows = self._db.execute(
            select(table).where(table.c.agent_no == agent_no).order_by(table.c.upper_ns.desc())
        )
        return [
            GapRecord(
                no=row.no,
                purpose=GapPurpose(row.purpose),
                lower_ns=row.lower_ns,
                upper_ns=row.upper_ns,
                cursor=row.cursor,
            )
            for row in rows
        ]

    def cover(self, agent_no: int, coverage: Coverage) -> int | None:
        """Move the reading of an agent's list; the number of the gap that is left open, if any."""
        if coverage.frontier_ns is not None:
            self._move_frontier.run({"agent": agent_no, "to": coverage.frontier_ns})
        if coverage.floor_ns is not None:
            self._db.execute(
                update(schema.agent)
                .where(schema.agent.c.no == agent_no)
                .values(floor_ns=coverage.floor_ns)
            )
        if coverage.closed_gap is not None:
            self._db.execute(delete(schema.gap).where(schema.gap.c.no == coverage.closed_gap))
        gap = coverage.open_gap
        if gap is None:
            return None
        values = {
            "agent_no": agent_no,
            "purpose": gap.purpose,
            "lower_ns": gap.lower_ns,
            "upper_ns": gap.upper_ns,
            "cursor": gap.cursor,
        }
        if gap.no is not None:
            self._db.execute(update(schema.gap).where(schema.gap.c.no == gap.no).values(**values))
            return gap.no
        same = [schema.gap.c[name] == values[name] for name in values if name != "cursor"]
        if (number := self._db.execute(select(schema.gap.c.no).where(*same)).scalar()) is not None:
            # The page is recorded a second time, after a commit of unknown outcome.
            return int(number)
        added = self._db.execute(insert(schema.gap).values(**values)).inserted_primary_key
        if added is None:
            raise LedgerUnavailable("The ledger gave no number for a new gap")
        return int(added[0])
