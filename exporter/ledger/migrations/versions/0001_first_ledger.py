"""The first ledger: workspaces, agents, gaps, runs, traces, totals."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create every table of the first release."""
    op.create_table(
        "meta",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "workspace",
        sa.Column("no", _NUMBER, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("no", name="pk_workspace"),
        sa.UniqueConstraint("id", name="uq_workspace_id"),
    )
    op.create_table(
        "agent",
        sa.Column("no", _NUMBER, nullable=False),
        sa.Column("workspace_no", sa.BigInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("floor_ns", sa.BigInteger, nullable=False),
        sa.Column("frontier_ns", sa.BigInteger),
        sa.PrimaryKeyConstraint("no", name="pk_agent"),
        sa.ForeignKeyConstraint(
            ["workspace_no"], ["workspace.no"], name="fk_agent_workspace_no_workspace"
        ),
        sa.UniqueConstraint("workspace_no", "id", name="uq_agent_workspace_no_id"),
    )
    op.create_table(
        "gap",
        sa.Column("no", _NUMBER, nullable=False),
        sa.Column("agent_no", sa.BigInteger, nullable=False),
        sa.Column("purpose", sa.SmallInteger, nullable=False),
        sa.Column("lower_ns", sa.BigInteger, nullable=False),
        sa.Column("upper_ns", sa.BigInteger, nullable=False),
        sa.Column("cursor", sa.Text),
        sa.PrimaryKeyConstraint("no", name="pk_gap"),
        sa.ForeignKeyConstraint(["agent_no"], ["agent.no"], name="fk_gap_agent_no_agent"),
    )
    op.create_table(
        "run",
        sa.Column("no", _NUMBER, nullable=False),
        sa.Column("agent_no", sa.BigInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("urgency", sa.SmallInteger, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("no", name="pk_run"),
        sa.ForeignKeyConstraint(["agent_no"], ["agent.no"], name="fk_run_agent_no_agent"),
        sa.UniqueConstraint("agent_no", "id", name="uq_run_agent_no_id"),
    )
    op.create_index(
        "ix_run_awaiting",
        "run",
        ["agent_no", "urgency", "created_ns"],
        sqlite_where=sa.text("state = 1"),
        postgresql_where=sa.text("state = 1"),
    )
    op.create_index(
        "ix_run_in_flight",
        "run",
        ["agent_no"],
        sqlite_where=sa.text("state = 0"),
        postgresql_where=sa.text("state = 0"),
    )
    op.create_table(
        "trace",
        sa.Column("no", _NUMBER, nullable=False),
        sa.Column("run_no", sa.BigInteger, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("at_ns", sa.BigInteger),
        sa.Column("written_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("trace_id", sa.LargeBinary(16), nullable=False),
        sa.Column("spans", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("no", name="pk_trace"),
        sa.ForeignKeyConstraint(
            ["run_no"], ["run.no"], name="fk_trace_run_no_run", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("run_no", name="uq_trace_run_no"),
    )
    op.create_index(
        "ix_trace_undelivered",
        "trace",
        ["no"],
        sqlite_where=sa.text("state IN (0, 3)"),
        postgresql_where=sa.text("state IN (0, 3)"),
    )
    op.create_table(
        "total",
        sa.Column("family", sa.String(32), nullable=False),
        sa.Column("agent_no", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("label1", sa.Text, nullable=False),
        sa.Column("label2", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("family", "agent_no", "label1", "label2", name="pk_total"),
    )
