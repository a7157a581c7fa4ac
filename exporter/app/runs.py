"""What the pages of runs say: the list, and one run with its trace as it is stored.

Reads the ledger alone, off the event loop, and never waits for a disk that refuses.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from exporter.app.assembly import Exporter
from exporter.conduit.models import DISPOSITIONS, TERMINAL_STATUSES
from exporter.convert.otlp import attributes_of, payload_to_spans
from exporter.convert.redaction import EMAIL_MASK, PHONE_MASK
from exporter.convert.spans import CONTENT_ATTRIBUTES
from exporter.convert.trace import NO_DISPOSITION, OTHER
from exporter.errors import LedgerUnavailable
from exporter.ledger.history import RunFilter
from exporter.ledger.ledger import Ledger, Work
from exporter.ledger.records import RunSummary, StoredTrace, TraceState
from exporter.settings.values import parse_duration_s
from exporter.times import iso_to_ns

R = TypeVar("R")

_PAGE: Final = 50
_SAME_CONVERSATION: Final = 10
# A commit under way is waited for, a disk that refuses is not.
_PATIENCE_S: Final = 3.0
_CURSOR: Final = re.compile(r"(\d{1,19})\.(\d{1,18})", re.ASCII)
_MAX_NS: Final = 2**63 - 1
_FILTERS: Final = ("agent", "status", "disposition", "conversation", "since")
_WITH_LENGTH: Final = ("measured", "from_duration")


async def read_ledger(exporter: Exporter, work: Work[R]) -> R:
    """What `work` finds; raises LedgerError where the ledger cannot be read now."""
    if exporter.gate.fault is not None:
        # Anew: one that is raised again and again would gather every caller's frames.
        raise LedgerUnavailable(str(exporter.gate.fault))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await exporter.gate.transact(work)
    except TimeoutError:
        raise LedgerUnavailable("The ledger is busy") from None


async def runs_page(exporter: Exporter, params: Mapping[str, str]) -> dict[str, Any]:
    """A page of the run list; `params` are those of the URL.

    Raises ValueError for a filter that is none, LedgerError.
    """
    filters = {name: params[name] for name in _FILTERS if params.get(name)}
    now_ns = exporter.time.now_ns()
    wanted = RunFilter(
        agent_id=filters.get("agent"),
        status=filters.get("status"),
        disposition=filters.get("disposition"),
        conversation_id=filters.get("conversation"),
        since_ns=_since_ns(filters.get("since", ""), now_ns),
        before=_cursor(params.get("before", "")),
    )
    found = await read_ledger(
        exporter, lambda ledger: ledger.history.runs(wanted, max_runs=_PAGE + 1)
    )
    runs, last = found[:_PAGE], found[_PAGE - 1 : _PAGE]
    agents = {
        agent.id: agent.name
        for workspace in exporter.workspaces().values()
        for agent in workspace.agents.values()
    }
    if wanted.agent_id is not None:
        agents.setdefault(wanted.agent_id, "")
    return {
        "now_ns": now_ns,
        "retention_s": exporter.settings.retention_s,
        "filters": filters,
        "before": params.get("before") or None,
        "agents": sorted(
            ({"id": one, "name": name} for one, name in agents.items()),
            key=lambda agent: ((agent["name"] or agent["id"]).casefold(), agent["id"]),
        ),
        "statuses": TERMINAL_STATUSES,
        "dispositions": (*DISPOSITIONS, NO_DISPOSITION, OTHER),
        "runs": [run_row(run, trace_link=exporter.settings.trace_link) for run in runs],
        "next": f"{last[0].ended_ns}.{last[0].no}" if len(found) > _PAGE else None,
    }


async def run_page(exporter: Exporter, agent_id: str, run_id: str) -> dict[str, Any] | None:
    """One run; None where it is not known or not kept any more. Raises LedgerError."""

    def work(
        ledger: Ledger,
    ) -> tuple[RunSummary, StoredTrace | None, list[RunSummary]] | None:
        run = ledger.history.run(agent_id, run_id)
        if run is None:
            return None
        agent_no = ledger.agents.number_of(agent_id)
        trace = None if agent_no is None else ledger.traces.of_run(agent_no, run_id)
        return run, trace, _conversation(ledger, run)

    found = await read_ledger(exporter, work)
    if found is None:
        return None
    run, stored, others = found
    trace_link = exporter.settings.trace_link
    try:
        spans = () if stored is None else payload_to_spans(stored.payload)
    except DecodeError:
        spans = ()
    content = exporter.settings.capture_content
    return {
        "now_ns": exporter.time.now_ns(),
        "run": run_row(run, trace_link=trace_link),
        "content": content,
        "spans": [_span(span, content=content) for span in spans],
        "conversation": [run_row(other, trace_link=trace_link) for other in others],
    }


def run_row(run: RunSummary, *, trace_link: str | None) -> dict[str, Any]:
    """A run as every page shows it; `trace` says what became of its trace."""
    row = run._asdict()
    del row["no"]
    parked = run.trace is TraceState.PENDING and run.parked_until_ns is not None
    trace_id = None if run.trace_id is None else run.trace_id.hex()
    delivered = run.trace is TraceState.DELIVERED
    return {
        **row,
        "trace": "parked" if parked else run.trace.name.lower(),
        "trace_id": trace_id,
        "trace_url": trace_link.replace("{trace_id}", trace_id)
        if delivered and trace_link is not None and trace_id is not None
        else None,
    }


def _conversation(ledger: Ledger, run: RunSummary) -> list[RunSummary]:
    """Other runs of the same conversation; none where a mask hides which one it is."""
    conversation = run.conversation_id
    if conversation is None or EMAIL_MASK in conversation or PHONE_MASK in conversation:
        return []
    wanted = RunFilter(conversation_id=conversation)
    found = ledger.history.runs(wanted, max_runs=_SAME_CONVERSATION + 1)
    return [one for one in found if one.no != run.no][:_SAME_CONVERSATION]


def _span(span: Span, *, content: bool) -> dict[str, Any]:
    """A span; no length where Conduit did not tell one.

    What was captured before is not shown once capturing is off.
    """
    attributes = attributes_of(span)
    is_root = not span.parent_span_id
    timing = attributes.get("conduit.timing" if is_root else "conduit.tool.timing", "unknown")
    measured = timing in _WITH_LENGTH
    length_ns = span.end_time_unix_nano - span.start_time_unix_nano
    return {
        "name": span.name,
        "span_id": span.span_id.hex(),
        "is_root": is_root,
        "timing": timing,
        "measured": measured,
        "start_ns": span.start_time_unix_nano,
        "duration_ns": length_ns if measured else None,
        "failed": span.status.code == Status.STATUS_CODE_ERROR,
        "error": span.status.message or None,
        "attributes": {
            name: value
            for name, value in attributes.items()
            if content or name not in CONTENT_ATTRIBUTES
        },
    }


def _since_ns(text: str, now_ns: int) -> int:
    """The beginning of a stretch of time: `24h`, or an ISO 8601 time."""
    found = iso_to_ns(text) if text else (0, False)
    if found is not None:
        return found[0]
    try:
        return max(0, now_ns - round(parse_duration_s(text) * 1e9))
    except ValueError:
        raise ValueError(
            "since: neither a duration such as 24h nor a time such as 2026-04-03T12:00:00Z"
        ) from None


def _cursor(text: str) -> tuple[int, int] | None:
    """Where a page goes on: end and number of the last run of the page before."""
    if not text:
        return None
    found = _CURSOR.fullmatch(text)
    if found is None or int(found[1]) > _MAX_NS:
        raise ValueError("before: no cursor of this list; leave it out to begin at the newest run")
    return int(found[1]), int(found[2])
