"""Makes ledgers of many runs: a few thousand are written the exporter's own way, then multiplied.

What is written the own way has real traces, encoded and compressed as always. The copies are made
inside SQLite, with ids of their own that are as random as Conduit's, so that pages and indexes are
filled as they would be.
"""

import sqlite3
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from exporter.demo.answers import content_fields, json_object, summary_fields
from exporter.demo.generator import GeneratedRuns
from exporter.ledger.database import Database
from exporter.ledger.outbox import Settlement
from exporter.ledger.schema import TraceState, Urgency

from bench.conduit_server import five_calls
from bench.worlds import WORKSPACE, Agents, agent_id_of
from exporter.conduit import models
from exporter.conduit.decoding import decode_json
from exporter.conduit.models import Agent, RunDetail, Unreadable, Workspace
from exporter.convert.otlp import encode_trace
from exporter.convert.trace import ConvertOptions, run_to_trace
from exporter.ledger.ledger import Ledger
from exporter.ledger.records import Coverage, EncodedTrace, Sighting

_OWN: Final = 5_000
_PAGE: Final = 100
_SETTLED: Final = 500
_NAMES: Final = "agent_no, state, urgency, created_ns"
_TRACE: Final = "state, at_ns, written_ns, ended_ns, spans, size, payload"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerPlan:
    """What a ledger is to hold."""

    base_url: str
    runs: int
    agents: int
    now_ns: int
    delivered: bool = True


def write_ledger(path: Path, plan: LedgerPlan) -> None:
    """Write a ledger of so many runs, all of them traced, and delivered or still pending."""
    own = min(plan.runs, _OWN)
    ledger = Ledger(Database(url=f"sqlite:///{path}", base_url=plan.base_url))
    try:
        _write_own(ledger, plan, own)
    finally:
        ledger.close()
    if plan.runs > own:
        _multiply(path, own, plan.runs)


def _write_own(ledger: Ledger, plan: LedgerPlan, runs: int) -> None:
    agent_nos: list[int] = ledger.transact([partial(_put_agents, plan=plan)])[0]
    # Ended an hour ago at the latest, within the look-back.
    start_ns = plan.now_ns - round(20 * 3600e9)
    sources = [
        GeneratedRuns(
            agent_id=agent_id_of(number),
            seed=2_000_000 + number,
            start_ns=start_ns,
            profile=Agents(write_content=five_calls).profile(runs / plan.agents / 12),
        )
        for number in range(plan.agents)
    ]
    written = 0
    while written < runs:
        at = written // _PAGE % plan.agents
        count = min(_PAGE, runs - written)
        traced = [_traced(sources[at], plan.now_ns) for _ in range(count)]
        ledger.transact([partial(_record, agent_no=agent_nos[at], rows=traced, plan=plan)])
        written += count
    if plan.delivered:
        for first in range(1, runs + 1, _SETTLED):
            last = min(first + _SETTLED, runs + 1)
            ledger.transact([partial(_settle, nos=range(first, last), now_ns=plan.now_ns)])
    for agent_no in agent_nos:
        ledger.transact([partial(_cover, agent_no=agent_no, now_ns=plan.now_ns)])


def _settle(ledger: Ledger, *, nos: range, now_ns: int) -> None:
    ledger.traces.settle(
        [Settlement(no, TraceState.DELIVERED) for no in nos],
        now_ns=now_ns,
        spans_delivered=6 * len(nos),
    )


def _cover(ledger: Ledger, *, agent_no: int, now_ns: int) -> None:
    ledger.agents.cover(agent_no, Coverage(frontier_ns=now_ns))


def _put_agents(ledger: Ledger, *, plan: LedgerPlan) -> list[int]:
    workspace_no = ledger.agents.put_workspace(Workspace(WORKSPACE, "Benchmark"))
    floor_ns = plan.now_ns - round(24 * 3600e9)
    return [
        ledger.agents.put_agent(
            Agent(agent_id_of(number), WORKSPACE, f"Agent {number}"),
            workspace_no=workspace_no,
            floor_ns=floor_ns,
        ).no
        for number in range(plan.agents)
    ]


def _traced(source: GeneratedRuns, now_ns: int) -> tuple[RunDetail, EncodedTrace]:
    """The next run of an agent, read and converted as the exporter does it."""
    (arrival,) = source.arrivals(source.next_ns)
    run, content = source.run(arrival.number), source.content(arrival.number)
    fields = summary_fields(run, workspace_id=WORKSPACE, now_ns=now_ns) + content_fields(content)
    detail = models.parse_run_detail(
        decode_json(json_object(fields)),
        run_id=run.id,
        workspace_id=WORKSPACE,
        agent_id=run.agent_id,
    )
    if isinstance(detail, Unreadable):
        raise TypeError(detail.detail)
    trace = run_to_trace(detail, agent_name="Agent", options=ConvertOptions())
    tools = tuple((one.name, one.failed) for one in trace.tools.elements())
    return detail, EncodedTrace(
        trace_id=trace.trace_id, payload=encode_trace(trace), spans=len(trace.spans), tools=tools
    )


def _record(
    ledger: Ledger,
    *,
    agent_no: int,
    rows: list[tuple[RunDetail, EncodedTrace]],
    plan: LedgerPlan,
) -> None:
    sightings = [
        Sighting(
            run=detail.run,
            disposition=detail.run.disposition or "none",
            urgency=Urgency.BACKLOG,
            bucket="10",
        )
        for detail, _ in rows
    ]
    ledger.runs.record_page(agent_no, sightings, floor_ns=0, now_ns=plan.now_ns)
    for sighting, (_, trace) in zip(sightings, rows, strict=True):
        ledger.runs.record_detail(agent_no, sighting, trace=trace, now_ns=plan.now_ns)


def _multiply(path: Path, own: int, runs: int) -> None:
    """Copy the own runs until there are enough; totals stay those of the own ones."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        # No durability is needed while it is made.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        connection.execute("BEGIN")
        for base in range(own, runs, own):
            most = min(own, runs - base)
            connection.execute(
                f"INSERT INTO run (no, id, {_NAMES}) SELECT no + ?, "  # noqa: S608 - constants
                f"substr(id, 1, 4) || lower(hex(randomblob(14))), {_NAMES} FROM run WHERE no <= ?",
                (base, most),
            )
            connection.execute(
                f"INSERT INTO trace (no, run_no, trace_id, {_TRACE}) SELECT no + ?, run_no + ?, "  # noqa: S608 - constants
                f"randomblob(16), {_TRACE} FROM trace WHERE no <= ?",
                (base, base, most),
            )
        connection.execute("COMMIT")
    finally:
        connection.close()
