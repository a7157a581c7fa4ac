"""Tables of the ledger and the words it stores; no statement is executed here.

`HEAD` names the newest migration. A test proves that the migrations, run from empty, lead to
exactly these tables.
"""

from enum import IntEnum
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

HEAD: Final = "0001"

# SQLite counts rows by itself only for a column declared INTEGER PRIMARY KEY.
RowNumber = BigInteger().with_variant(Integer, "sqlite")


class RunState(IntEnum):
    """How far a run has come; it only ever moves on, never back.

    SEEN -> COUNTED -> FETCHED -> DELIVERED is the whole way; the others are ends of it.
    """

    SEEN = 0
    COUNTED = 1
    FETCHED = 2
    DELIVERED = 3
    REJECTED = 4
    UNREADABLE = 5
    QUARANTINED = 6
    SAMPLED_OUT = 7
    GONE = 8


class Urgency(IntEnum):
    """What a run's detail waits behind, most urgent first; up to FRESH the run is a fresh one.

    The backlog is what the look-back or a second reading found. BACKFILL runs are traced but never
    added to the totals.
    """

    MUST = 0
    FRESH = 1
    BACKLOG_MUST = 2
    BACKLOG = 3
    BACKFILL = 4


class TraceState(IntEnum):
    """How far an encoded trace has come in the outbox."""

    PENDING = 0
    DELIVERED = 1
    REJECTED = 2
    PARKED = 3


class GapPurpose(IntEnum):
    """Why a stretch of an agent's list is still to be read."""

    FRESH = 0
    LOOKBACK = 1
    BACKFILL = 2


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

workspace = Table(
    "workspace",
    metadata,
    Column("no", RowNumber, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
)

agent = Table(
    "agent",
    metadata,
    Column("no", RowNumber, primary_key=True),
    Column("workspace_no", BigInteger, ForeignKey("workspace.no"), nullable=False),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    # Runs created before the floor are none of ours (look-back of the first start, retention).
    Column("floor_ns", BigInteger, nullable=False),
    # Everything from the floor up to here was read, but for the gaps. NULL: never scanned.
    Column("frontier_ns", BigInteger),
    UniqueConstraint("workspace_no", "id"),
)

gap = Table(
    "gap",
    metadata,
    Column("no", RowNumber, primary_key=True),
    Column("agent_no", BigInteger, ForeignKey("agent.no"), nullable=False),
    Column("purpose", SmallInteger, nullable=False),
    # Still to be read: lower_ns <= created < upper_ns, from the cursor on (NULL: from the head).
    Column("lower_ns", BigInteger, nullable=False),
    Column("upper_ns", BigInteger, nullable=False),
    Column("cursor", Text),
)

run = Table(
    "run",
    metadata,
    Column("no", RowNumber, primary_key=True),
    Column("agent_no", BigInteger, ForeignKey("agent.no"), nullable=False),
    Column("id", Text, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("urgency", SmallInteger, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    UniqueConstraint("agent_no", "id"),
)
# Partial indexes: what still waits is found at once, and a settled run costs them nothing. Their
# conditions stand as literals here and in the statements: with a bound value no planner uses them.
RUN_AWAITS_DETAIL = run.c.state == literal_column(str(RunState.COUNTED.value))
RUN_IS_IN_FLIGHT = run.c.state == literal_column(str(RunState.SEEN.value))
Index(
    "ix_run_awaiting",
    run.c.agent_no,
    run.c.urgency,
    run.c.created_ns,
    sqlite_where=RUN_AWAITS_DETAIL,
    postgresql_where=RUN_AWAITS_DETAIL,
)
Index(
    "ix_run_in_flight",
    run.c.agent_no,
    sqlite_where=RUN_IS_IN_FLIGHT,
    postgresql_where=RUN_IS_IN_FLIGHT,
)

trace = Table(
    "trace",
    metadata,
    # The order of the outbox.
    Column("no", RowNumber, primary_key=True),
    Column("run_no", BigInteger, ForeignKey("run.no", ondelete="CASCADE"), nullable=False),
    Column("state", SmallInteger, nullable=False),
    # Parked: not to be tried before. Settled: when.
    Column("at_ns", BigInteger),
    Column("written_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    Column("trace_id", LargeBinary(16), nullable=False),
    Column("spans", Integer, nullable=False),
    # Size of the encoded trace before compression: what a batch will weigh.
    Column("size", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    UniqueConstraint("run_no"),
)
TRACE_IS_UNDELIVERED = trace.c.state.in_(
    [literal_column(str(state.value)) for state in (TraceState.PENDING, TraceState.PARKED)]
)
Index(
    "ix_trace_undelivered",
    trace.c.no,
    sqlite_where=TRACE_IS_UNDELIVERED,
    postgresql_where=TRACE_IS_UNDELIVERED,
)

total = Table(
    "total",
    metadata,
    Column("family", String(32), primary_key=True),
    # 0: of the whole exporter.
    Column("agent_no", BigInteger, primary_key=True, autoincrement=False),
    Column("label1", Text, primary_key=True),
    Column("label2", Text, primary_key=True),
    # Decimal text: exact, whatever the size.
    Column("value", Text, nullable=False),
)

alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), primary_key=True),
)
