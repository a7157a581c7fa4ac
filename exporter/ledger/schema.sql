-- The ledger's tables as a new file gets them: always the newest form. A numbered file in migrations/
-- brings an older ledger to it.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE workspace (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    -- When it was read first, by Conduit's clock. NULL: that was not known.
    since_ns INTEGER,
    -- When the last complete reading of its agents began: one that appears later is news. NULL: none.
    listed_ns INTEGER,
    -- 0: the token sees it no more.
    listed INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;

-- An agent is one by Conduit's id; its workspace may change.
CREATE TABLE agent (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace_id TEXT NOT NULL,
    name TEXT NOT NULL,
    -- 0: Conduit lists it no more.
    listed INTEGER NOT NULL DEFAULT 1,
    -- Runs created before the floor are not counted, or known no more: retention moves it up.
    floor_ns INTEGER NOT NULL,
    -- The list was read from the floor up to here, but for the gaps. NULL: never read.
    frontier_ns INTEGER,
    -- When the last second reading began, and the last one of the whole look-back.
    reread_ns INTEGER,
    full_reread_ns INTEGER,
    -- The first floor: what was created before it is a backfill's.
    counted_from_ns INTEGER NOT NULL DEFAULT 0
);

-- A stretch of an agent's list that is still to be read: lower_ns <= created < upper_ns.
CREATE TABLE gap (
    no INTEGER PRIMARY KEY,
    agent_no INTEGER NOT NULL REFERENCES agent (no),
    purpose INTEGER NOT NULL,
    lower_ns INTEGER NOT NULL,
    upper_ns INTEGER NOT NULL,
    -- Where the reading goes on; NULL: from the head of the list.
    cursor TEXT,
    -- Readings from the head in a row that brought nothing new.
    restarts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX gap_agent ON gap (agent_no);

CREATE TABLE run (
    no INTEGER PRIMARY KEY,
    agent_no INTEGER NOT NULL REFERENCES agent (no),
    id TEXT NOT NULL,
    -- 1: in the totals, for good.
    counted INTEGER NOT NULL,
    -- What became of its trace: TraceState.
    trace INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    -- 1: asked for by name (CONDUIT_RUNS), never forgotten.
    named INTEGER NOT NULL,
    -- Failed requests for its detail, and when the next one is due.
    attempts INTEGER NOT NULL DEFAULT 0,
    retry_ns INTEGER,
    status TEXT NOT NULL,
    disposition TEXT,
    created_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    duration_ns INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    -- Decimal text.
    cost_usd TEXT,
    conversation_id TEXT,
    tool_calls INTEGER,
    tool_errors INTEGER,
    -- Why its trace is dead or rejected.
    reason TEXT,
    -- Of the figures as Conduit showed them last: a change is a revision.
    fingerprint INTEGER NOT NULL,
    UNIQUE (agent_no, id)
);
-- Partial indexes: a settled run costs those of waiting runs nothing.
CREATE INDEX run_awaiting ON run (agent_no, priority, created_ns) WHERE trace = 1 AND attempts = 0;
CREATE INDEX run_retrying ON run (agent_no) WHERE trace = 1 AND attempts > 0;
CREATE INDEX run_in_flight ON run (agent_no) WHERE counted = 0 AND trace = 0;
-- One for each filter of the run list, so that none of them reads more than the page it shows.
CREATE INDEX run_ended ON run (ended_ns) WHERE counted = 1;
CREATE INDEX run_agent_ended ON run (agent_no, ended_ns) WHERE counted = 1;
CREATE INDEX run_status_ended ON run (status, ended_ns) WHERE counted = 1;
CREATE INDEX run_disposition_ended ON run (disposition, ended_ns) WHERE counted = 1;
CREATE INDEX run_agent_status_ended ON run (agent_no, status, ended_ns) WHERE counted = 1;
CREATE INDEX run_agent_disposition_ended ON run (agent_no, disposition, ended_ns)
WHERE counted = 1;
CREATE INDEX run_conversation ON run (conversation_id, ended_ns) WHERE conversation_id IS NOT NULL;

-- The outbox, in its order. Settled traces stay for the time of retention.
CREATE TABLE trace (
    no INTEGER PRIMARY KEY,
    run_no INTEGER NOT NULL UNIQUE REFERENCES run (no) ON DELETE CASCADE,
    trace_id BLOB NOT NULL,
    spans INTEGER NOT NULL,
    -- Bytes of the payload before compression.
    size INTEGER NOT NULL,
    payload BLOB NOT NULL,
    -- When the run ended; NULL where no delay is measured.
    ended_ns INTEGER,
    written_ns INTEGER NOT NULL,
    parked_until_ns INTEGER,
    settled_ns INTEGER
);
CREATE INDEX trace_waiting ON trace (no) WHERE settled_ns IS NULL;
CREATE INDEX trace_settled ON trace (settled_ns) WHERE settled_ns IS NOT NULL;

-- What /metrics shows. Values are decimal text: exact, whatever the size.
CREATE TABLE total (
    family TEXT NOT NULL,
    agent_no INTEGER NOT NULL,
    label1 TEXT NOT NULL,
    label2 TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (family, agent_no, label1, label2)
) WITHOUT ROWID;

-- Cost of the runs that ended on a calendar day of the configured time zone.
CREATE TABLE day_cost (
    agent_no INTEGER NOT NULL,
    day TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (day, agent_no)
) WITHOUT ROWID;
