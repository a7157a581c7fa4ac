"""Decoded JSON of Conduit's answers as the values of `exporter.models`.

Tolerant where nothing is lost by it: unknown fields are ignored, and a field that is missing, null
or of the wrong type is None. A run that cannot be told from others, placed in time or summed up is
`Unreadable`, alone; the rest of its page goes on. It never invents a value and never quotes one.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

from exporter.conduit.decoding import UnreadableNumber, nested_deeper_than
from exporter.conduit.times import parse_time
from exporter.errors import SourceMalformed
from exporter.models import Agent, Page, Run, RunDetail, Unreadable, Workspace

# Why a run is unreadable: the values of a metric label.
NOT_AN_OBJECT: Final = "not_an_object"
BAD_ID: Final = "id"
BAD_STATUS: Final = "status"
BAD_CREATED_AT: Final = "created_at"
BAD_DURATION: Final = "duration"
BAD_TOKENS: Final = "tokens"
BAD_COST: Final = "cost"
TOO_DEEP: Final = "too_deep"
REASONS: Final = (
    NOT_AN_OBJECT,
    BAD_ID,
    BAD_STATUS,
    BAD_CREATED_AT,
    BAD_DURATION,
    BAD_TOKENS,
    BAD_COST,
    TOO_DEEP,
)

_MOST_TOKENS: Final = 10**12
_MOST_USD: Final = 10**6
_MOST_DECIMAL_PLACES: Final = 40
# A year: what is longer was not measured. It also keeps every end of a run within 64 bits.
_MOST_DURATION_MS: Final = 366 * 86_400 * 1_000
_MS_NS: Final = 1_000_000
_LONGEST_ID: Final = 256
_LONGEST_STATUS: Final = 64
_LONGEST_CURSOR: Final = 4_096
# The interpreter gives up near 1,000; whoever walks through a tool trace needs room as well.
_MOST_NESTING: Final = 100

T = TypeVar("T")


class _Flaw(Exception):
    """A field that makes its run unreadable."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


def parse_page(body: Any, parse_row: Callable[[Any], T | Unreadable]) -> Page[T]:
    """A page of a list; raises SourceMalformed where it is not one, never takes it for empty."""
    if not isinstance(body, dict) or not isinstance(data := body.get("data"), list):
        raise SourceMalformed("The answer is no page of a list: `data` is not a list")
    rows: list[T] = []
    unreadable: list[Unreadable] = []
    for row in data:
        parsed = parse_row(row)
        if isinstance(parsed, Unreadable):
            unreadable.append(parsed)
        else:
            rows.append(parsed)
    return Page(tuple(rows), tuple(unreadable), parse_next_cursor(body))


def parse_item(body: Any) -> dict[str, Any]:
    """The object that a single-item answer wraps in `data`, or is."""
    if isinstance(body, dict):
        item = body.get("data", body)
        if isinstance(item, dict):
            return item
    raise SourceMalformed("The answer holds no object in `data`")


def parse_workspace(row: Any) -> Workspace | Unreadable:
    """A workspace; without a name it is called by its id."""
    if not isinstance(row, dict):
        return _not_an_object(None)
    identity = parse_id(row.get("id"))
    if identity is None:
        return _no_id()
    return Workspace(identity, _text(row.get("name")) or identity)


def parse_agent(row: Any, *, workspace_id: str | None) -> Agent | Unreadable:
    """An agent; without a name it is called by its id."""
    if not isinstance(row, dict):
        return _not_an_object(None)
    identity = parse_id(row.get("id"))
    workspace = parse_id(row.get("workspace_id")) or workspace_id
    if identity is None or workspace is None:
        return _no_id()
    return Agent(identity, workspace, _text(row.get("name")) or identity)


def parse_run(
    row: Any, *, workspace_id: str, agent_id: str, run_id: str | None = None
) -> Run | Unreadable:
    """A run's summary; the ids of the request stand in for those that the row lacks."""
    if not isinstance(row, dict):
        return _not_an_object(run_id)
    identity = parse_id(row.get("id")) or run_id
    if identity is None:
        return _no_id()
    try:
        return _run(row, identity, workspace_id=workspace_id, agent_id=agent_id)
    except _Flaw as flaw:
        return Unreadable(identity, flaw.reason, flaw.detail)


def parse_run_detail(
    body: Any, *, workspace_id: str, agent_id: str, run_id: str | None = None
) -> RunDetail | Unreadable:
    """A run with its trace, from an answer of get-run or from a run's bare JSON object."""
    row = parse_item(body)
    run = parse_run(row, workspace_id=workspace_id, agent_id=agent_id, run_id=run_id)
    if isinstance(run, Unreadable):
        return run
    trace = row.get("tool_trace")
    if nested_deeper_than(trace, _MOST_NESTING):
        return Unreadable(run.id, TOO_DEEP, "`tool_trace` is nested too deep")
    if trace is None:
        items: tuple[Any, ...] = ()
    elif isinstance(trace, list):
        items = tuple(trace)
    else:
        items = (trace,)
    return RunDetail(
        run=run,
        session_id=_text(row.get("session_id")),
        disposition_reason=_text(row.get("disposition_reason")),
        trigger_event_id=_text(row.get("trigger_event_id")),
        response=_text(row.get("response")),
        reflection=_text(row.get("reflection")),
        tool_trace=items,
    )


def parse_id(value: Any) -> str | None:
    """A usable identifier: not blank, not endless, nothing replaced in it, no step in a path."""
    if type(value) is int:
        value = str(value) if abs(value) < 10**_LONGEST_ID else ""
    if type(value) is not str or not 0 < len(value) <= _LONGEST_ID:
        return None
    if value in (".", "..") or "\ufffd" in value or value.isspace():
        return None
    return value


def _run(row: dict[str, Any], identity: str, *, workspace_id: str, agent_id: str) -> Run:
    get = row.get
    status = get("status")
    if type(status) is not str or not 0 < len(status) <= _LONGEST_STATUS:
        raise _Flaw(BAD_STATUS, "`status` is not a short text")
    created = parse_time(get("created_at"))
    if created is None:
        raise _Flaw(BAD_CREATED_AT, "`created_at` is no time between 1970 and 2200")
    created_ns, adjusted = created
    completed_ns = None
    if (completed_at := get("completed_at")) is not None:
        completed = parse_time(completed_at)
        completed_ns, bent = (None, True) if completed is None else completed
        adjusted = adjusted or bent
    duration_ns = None
    if (duration_ms := get("duration_ms")) is not None:
        duration_ns, bent = _duration_ns(duration_ms)
        adjusted = adjusted or bent
    usage = get("token_usage")
    if not isinstance(usage, dict):
        usage = {}
    return Run(
        id=identity,
        backend_run_id=_text(get("run_id")) or "",
        agent_id=_id_or(agent_id, get("agent_id")),
        workspace_id=_id_or(workspace_id, get("workspace_id")),
        status=status,
        disposition=_text(get("disposition")),
        contact_id=_text(get("contact_id")),
        conversation_id=_text(get("conversation_id")),
        trigger_id=_text(get("trigger_id")),
        error=_text(get("error")),
        duration_ns=duration_ns,
        input_tokens=_tokens(usage.get("input")),
        output_tokens=_tokens(usage.get("output")),
        cost_usd=_cost(get("total_cost")),
        trace_id=_text(get("trace_id")),
        created_ns=created_ns,
        completed_ns=completed_ns,
        time_adjusted=adjusted,
    )


def _id_or(asked: str, given: Any) -> str:
    return asked if given == asked else parse_id(given) or asked


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def _tokens(value: Any) -> int | None:
    if value is None or (type(value) is int and 0 <= value <= _MOST_TOKENS):
        return value
    number = _number(value, BAD_TOKENS, "`token_usage`")
    if number is None:
        return None
    if not 0 <= number <= _MOST_TOKENS or number != (whole := int(number)):
        raise _Flaw(BAD_TOKENS, f"`token_usage` is no whole number up to {_MOST_TOKENS}")
    return whole


def _cost(value: Any) -> Decimal | None:
    if value is None:
        return None
    number = _number(value, BAD_COST, "`total_cost`")
    if number is None:
        return None
    if not 0 <= number <= _MOST_USD:
        raise _Flaw(BAD_COST, f"`total_cost` is not between 0 and {_MOST_USD}")
    cost = Decimal(number)
    if int(cost.as_tuple().exponent) < -_MOST_DECIMAL_PLACES:
        raise _Flaw(BAD_COST, f"`total_cost` has more than {_MOST_DECIMAL_PLACES} decimal places")
    return cost.copy_abs()  # -0.0 is legal JSON


def _duration_ns(value: Any) -> tuple[int | None, bool]:
    """The duration, and whether one was given that cannot be."""
    if type(value) is int and 0 <= value <= _MOST_DURATION_MS:
        return value * _MS_NS, False
    number = _number(value, BAD_DURATION, "`duration_ms`")
    if number is None:
        return None, False
    if not 0 <= number <= _MOST_DURATION_MS:
        return None, True
    return round(number * _MS_NS), False


def _number(value: Any, reason: str, field: str) -> int | Decimal | None:
    """A JSON number, None for a value of another type; raises _Flaw for what only looks like one.

    A truth value or NaN in place of a number says that the writer is broken, not silent.
    """
    if type(value) is int or type(value) is Decimal:
        return value
    if isinstance(value, bool | UnreadableNumber):
        raise _Flaw(reason, f"{field} holds something that is no number")
    return None


def parse_next_cursor(body: dict[str, Any]) -> str | None:
    """Where a page's list goes on, None at its end; raises SourceMalformed for contradictions."""
    cursor = body.get("next_cursor")
    has_more = body.get("has_more")
    if type(cursor) is int:
        cursor = str(cursor)
    if cursor is not None and (type(cursor) is not str or len(cursor) > _LONGEST_CURSOR):
        raise SourceMalformed("The page's `next_cursor` is not a short text")
    if has_more is False:
        return None
    if has_more is True and not cursor:
        # Taking this for the end of the list would lose whatever comes after it.
        raise SourceMalformed("The page has more rows behind it but no `next_cursor`")
    return cursor or None


def _not_an_object(run_id: str | None) -> Unreadable:
    return Unreadable(run_id, NOT_AN_OBJECT, "The row is not an object")


def _no_id() -> Unreadable:
    return Unreadable(None, BAD_ID, "The row has no usable `id`")
