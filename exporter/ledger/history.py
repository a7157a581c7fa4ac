"""What the pages show of counted runs: read only, one indexed query each."""

import sqlite3
from dataclasses import dataclass
from typing import Final, NamedTuple

from exporter.ledger.file import reading
from exporter.ledger.records import RunSummary, TraceState

_SELECT: Final = """
SELECT run.no, agent.id, agent.name, agent.workspace_id, run.id, status, disposition, created_ns,
    run.ended_ns, duration_ns, input_tokens, output_tokens, cost_usd, conversation_id, tool_calls,
    tool_errors, run.trace, reason, trace_id, parked_until_ns, settled_ns
FROM run JOIN agent ON agent.no = run.agent_no LEFT JOIN trace ON trace.run_no = run.no
"""
_WITHIN: Final = "counted = 1 AND agent_no = agent.no AND ended_ns >= :since AND ended_ns < :until"
_OUTCOMES: Final = f"""
SELECT no,
    (SELECT count(*) FROM run WHERE {_WITHIN}),
    (SELECT count(*) FROM run WHERE {_WITHIN} AND status = 'failed'),
    (SELECT count(*) FROM run WHERE {_WITHIN}
        AND disposition IN ('escalated', 'escalation_and_answer'))
FROM agent
"""  # noqa: S608 - constants


class Outcomes(NamedTuple):
    """How many runs ended in a stretch of time, and how many of them badly."""

    runs: int = 0
    failed: int = 0
    escalated: int = 0


_TRACE: Final = RunSummary._fields.index("trace")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are wanted, newest end first; None leaves a field open.

    `before` is the (ended_ns, number) of the last run of the page before.
    """

    agent_id: str | None = None
    status: str | None = None
    disposition: str | None = None
    conversation_id: str | None = None
    since_ns: int = 0
    before: tuple[int, int] | None = None


class RunHistory:
    """The counted runs of one ledger, as far as retention keeps them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def runs(self, wanted: RunFilter, *, max_runs: int) -> list[RunSummary]:
        """The newest runs that a filter lets through."""
        conditions = ["counted = 1", "run.ended_ns >= ?"]
        values: list[object] = [wanted.since_ns]
        if wanted.agent_id is not None:
            conditions.append("agent_no = (SELECT no FROM agent WHERE id = ?)")
            values.append(wanted.agent_id)
        for column in ("status", "disposition", "conversation_id"):
            value = getattr(wanted, column)
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        if wanted.before is not None:
            conditions.append("(run.ended_ns, run.no) < (?, ?)")
            values += wanted.before
        query = (
            f"{_SELECT} WHERE {' AND '.join(conditions)} "
            "ORDER BY run.ended_ns DESC, run.no DESC LIMIT ?"
        )
        return self._summaries(query, (*values, max_runs))

    def run(self, agent_id: str, run_id: str) -> RunSummary | None:
        """One counted run; None where it is not known or not kept any more."""
        found = self._summaries(
            f"{_SELECT} WHERE counted = 1 AND agent.id = ? AND run.id = ?", (agent_id, run_id)
        )
        return found[0] if found else None

    def outcomes(self, *, since_ns: int, until_ns: int) -> dict[int, Outcomes]:
        """What ended at or after `since_ns` and before `until_ns`, by agent number."""
        times = {"since": since_ns, "until": until_ns}
        return {no: Outcomes(*counts) for no, *counts in self._db.execute(_OUTCOMES, times)}

    def _summaries(self, query: str, values: tuple[object, ...]) -> list[RunSummary]:
        with reading():
            return [
                RunSummary(*row)._replace(trace=TraceState(row[_TRACE]))
                for row in self._db.execute(query, values)
            ]
