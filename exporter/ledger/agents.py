"""Workspaces, agents and how far each agent's list is read; inside a transaction of the ledger."""

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from exporter.errors import LedgerUnavailable
from exporter.ledger import schema
from exporter.ledger.records import AgentRecord, Coverage, GapRecord
from exporter.ledger.schema import GapPurpose
from exporter.models import Agent, Workspace


class AgentTables:
    """The agents of one ledger."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

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
            select(func.min(gap.c.lower_ns)).where(gap.c.agent_no == agent_no)
        ).scalar()
        bounds = [floor_ns, agent.frontier_ns]
        if lowest_gap is not None:
            bounds.append(lowest_gap)
        if None in bounds or min(bounds) <= agent.floor_ns:
            return int(agent.floor_ns)
        raised = min(bounds)
        self._db.execute(update(table).where(table.c.no == agent_no).values(floor_ns=raised))
        return int(raised)

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
        changes = {
            name: value
            for name in ("frontier_ns", "floor_ns")
            if (value := getattr(coverage, name)) is not None
        }
        if changes:
            self._db.execute(
                update(schema.agent).where(schema.agent.c.no == agent_no).values(**changes)
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
        added = self._db.execute(insert(schema.gap).values(**values)).inserted_primary_key
        if added is None:
            raise LedgerUnavailable("The ledger gave no number for a new gap")
        return int(added[0])
