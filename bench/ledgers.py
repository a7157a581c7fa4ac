"""Makes a ledger of many runs from one that the exporter wrote, inside SQLite.

The copies get ids as random as Conduit's and times spread over the days before, so that pages and
indexes are filled as they would be. Totals stay those of the ledger that was copied.
"""

import sqlite3
from pathlib import Path
from typing import Final

_DAY_NS: Final = 24 * 3600 * 10**9
# Within the retention of seven days.
_SPREAD_NS: Final = 6 * _DAY_NS
_RUN: Final = """
INSERT INTO run (no, agent_no, id, counted, trace, priority, named, attempts, retry_ns, status,
    disposition, created_ns, ended_ns, duration_ns, input_tokens, output_tokens, cost_usd,
    conversation_id, tool_calls, tool_errors, reason, fingerprint)
SELECT no + :base, agent_no, substr(id, 1, 4) || lower(hex(randomblob(14))), counted, trace,
    priority, named, attempts, retry_ns, status, disposition, created_ns - :earlier_ns,
    ended_ns - :earlier_ns, duration_ns, input_tokens, output_tokens, cost_usd,
    substr(conversation_id, 1, 4) || lower(hex(randomblob(14))), tool_calls, tool_errors, reason,
    fingerprint
FROM run WHERE no <= :last
"""
_TRACE: Final = """
INSERT INTO trace (no, run_no, trace_id, spans, size, payload, ended_ns, written_ns, settled_ns)
SELECT no + :base, run_no + :base, randomblob(16), spans, size, payload, ended_ns - :earlier_ns,
    written_ns - :earlier_ns, settled_ns - :earlier_ns
FROM trace WHERE run_no <= :last
"""
_INDEXES: Final = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"


def multiply(source: Path, target: Path, *, runs: int) -> None:
    """Write to `target` the ledger of `source`, grown to so many runs."""
    with sqlite3.connect(source) as original, sqlite3.connect(target) as copy:
        original.backup(copy)
    original.close()
    copy.close()
    connection = sqlite3.connect(target, isolation_level=None)
    try:
        # Nothing has to survive a power loss while it is made.
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        connection.execute("BEGIN")
        # Built anew at the end: faster by far than row by row.
        indexes = connection.execute(_INDEXES).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        ((own,),) = connection.execute("SELECT max(no) FROM run")
        for base in range(own, runs, own):
            values = {
                "base": base,
                "last": min(own, runs - base),
                "earlier_ns": _SPREAD_NS * base // runs,
            }
            connection.execute(_RUN, values)
            connection.execute(_TRACE, values)
        for _, statement in indexes:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def used_bytes(ledger: Path) -> int:
    """What is in use of a closed ledger's file: free pages left out."""
    connection = sqlite3.connect(ledger)
    try:
        ((pages,),) = connection.execute("PRAGMA page_count")
        ((free,),) = connection.execute("PRAGMA freelist_count")
        ((size,),) = connection.execute("PRAGMA page_size")
        return int((pages - free) * size)
    finally:
        connection.close()
