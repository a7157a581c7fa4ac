"""What Conduit says: the rows of its API as frozen pydantic dataclasses, read leniently.

The only module that knows a JSON key. Unknown fields are ignored; a text that is missing, null or
of another type is None. A run that cannot be told from others, placed in time or summed up is
`Unreadable`, alone; the rest of its page goes on. Nothing is invented, and no value is quoted.

Times are nanoseconds since the Unix epoch, UTC; money is an exact decimal of US dollars. What
Conduit left null is None: unknown, never zero.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from exporter.conduit.decoding import parse_decimal
from exporter.errors import SourceMalformed
from exporter.times import parse_time

IN_FLIGHT_STATUSES: Final = ("accepted", "running")
TERMINAL_STATUSES: Final = ("completed", "failed")
DISPOSITIONS: Final = (
    "escalated",
    "escalation_and_answer",
    "resolved",
    "unresolved",
    "no_op",
    "proactive",
)

_MAX_TOKENS: Final = 10**12
_MAX_USD: Final = 10**6
_MAX_DECIMAL_PLACES: Final = 40
# A year: what is longer was not measured. It also keeps every end of a run within 64 bits.
_MAX_DURATION_MS: Final = 366 * 86_400 * 1_000
_MS_NS: Final = 1_000_000
_MAX_ID: Final = 256
_MAX_STATUS: Final = 64
_MAX_CURSOR: Final = 4_096
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)

T = TypeVar("T")


class Reason(StrEnum):
    """Why a row is unreadable: the values of a metric label."""

    ID = "id"
    STATUS = "status"
    CREATED_AT = "created_at"
    DURATION = "duration"
    TOKENS = "tokens"
    COST = "cost"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> int | Decimal | None:
    """The number that stands there, also as decimal text; raises ValueError for anything else.

    A truth value, NaN or an object in place of a number says that the writer is broken, not silent.
    """
    number = value
    if isinstance(value, str):
        number = parse_decimal(value.strip()) if _NUMBER.fullmatch(value.strip()) else None
    elif value is None:
        return None
    if isinstance(number, int | Decimal) and not isinstance(number, bool):
        return number
    raise ValueError("it is no number")


_Text = Annotated[str | None, BeforeValidator(_text)]
_Tokens = Annotated[
    Annotated[int, Field(ge=0, le=_MAX_TOKENS)] | None,
    BeforeValidator(_number),
]
# -0.0 is legal JSON; `abs` would round to the decimal context.
_Usd = Annotated[
    Annotated[
        Decimal,
        Field(ge=0, le=_MAX_USD, decimal_places=_MAX_DECIMAL_PLACES),
        AfterValidator(Decimal.copy_abs),
    ]
    | None,
    BeforeValidator(_number),
]


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace that the token may see."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent of a workspace."""

    id: str
    workspace_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as a list page shows it.

    `id` is the API's identifier (`ar77...`), `backend_run_id` the field `run_id` (`run_9f3a...`).
    `time_adjusted` is True where a time or the duration was not plainly given: a leap second, no
    zone, a number, out of range.
    """

    id: str
    backend_run_id: str
    agent_id: str
    workspace_id: str
    status: Annotated[str, Field(min_length=1, max_length=_MAX_STATUS)]
    disposition: _Text = None
    contact_id: _Text = None
    conversation_id: _Text = None
    trigger_id: _Text = None
    error: _Text = None
    duration_ns: int | None = None
    input_tokens: _Tokens = None
    output_tokens: _Tokens = None
    cost_usd: _Usd = None
    trace_id: _Text = None
    created_ns: int
    completed_ns: int | None = None
    time_adjusted: bool = False

    @property
    def terminal(self) -> bool:
        """Whether the run has ended; an unknown status counts as in flight."""
        return self.status in TERMINAL_STATUSES


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail:
    """A run as get-run shows it: the summary and what only get-run tells.

    `tool_trace` holds the items as parsed JSON, unchanged and untyped: the API types nothing inside
    an item, and items may be null. Numbers with a fraction in them are decimals.
    """

    run: Run
    session_id: _Text = None
    disposition_reason: _Text = None
    trigger_event_id: _Text = None
    response: _Text = None
    reflection: _Text = None
    tool_trace: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that could not be understood: quarantined, the rest goes on.

    `run_id` is None where even the identifier is unreadable; `digest` then tells the row from
    others. `reason` is a Reason, `detail` says which field and why, without any value of content.
    """

    run_id: str | None
    reason: str
    detail: str
    digest: str = ""

    @property
    def key(self) -> str:
        """What tells this row from others, in this page and the next."""
        return self.run_id or f"unreadable:{self.digest}"


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list: the rows that were understood, those that were not, and the way on.

    `has_more` is what was answered: a page may have more behind it and no cursor to get there.
    `date_ns` is the answer's own `Date`, to the second.
    """

    rows: tuple[T, ...]
    unreadable: tuple[Unreadable, ...]
    next_cursor: str | None
    has_more: bool = False
    date_ns: int | None = None


_RUN: Final = TypeAdapter(Run)
_DETAIL: Final = TypeAdapter(RunDetail)
_NO_ID: Final = Unreadable(None, Reason.ID, "The row has no usable `id`")


class _Flaw(Exception):
    """A field that makes its run unreadable."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(detail)


def parse_page(
    body: Any, parse_row: Callable[[Any], T | Unreadable], *, date_ns: int | None = None
) -> Page[T]:
    """A page of a list; raises SourceMalformed where it is not one, never takes it for empty."""
    if not isinstance(body, dict) or not isinstance(data := body.get("data"), list):
        raise SourceMalformed("The answer is no page of a list: `data` is not a list")
    parsed = [_with_digest(parse_row(row), row) for row in data]
    next_cursor, has_more = _way_on(body)
    return Page(
        tuple(row for row in parsed if not isinstance(row, Unreadable)),
        tuple(row for row in parsed if isinstance(row, Unreadable)),
        next_cursor,
        has_more,
        date_ns,
    )


def _with_digest(parsed: T | Unreadable, row: Any) -> T | Unreadable:
    if not isinstance(parsed, Unreadable) or parsed.run_id is not None:
        return parsed
    text = json.dumps(row, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
    return dataclasses.replace(parsed, digest=digest)


def parse_item(body: Any) -> dict[str, Any]:
    """The object that a single-item answer wraps in `data`, or is."""
    if isinstance(body, dict):
        item = body.get("data", body)
        if isinstance(item, dict):
            return item
    raise SourceMalformed("The answer holds no object in `data`")


def parse_workspace(row: Any) -> Workspace | Unreadable:
    """A workspace; without a name it is called by its id."""
    fields = _object(row)
    identity = parse_id(fields.get("id"))
    if identity is None:
        return _NO_ID
    return Workspace(identity, _text(fields.get("name")) or identity)


def parse_agent(row: Any, *, workspace_id: str | None) -> Agent | Unreadable:
    """An agent; without a name it is called by its id."""
    fields = _object(row)
    identity = parse_id(fields.get("id"))
    workspace = parse_id(fields.get("workspace_id")) or workspace_id
    if identity is None or workspace is None:
        return _NO_ID
    return Agent(identity, workspace, _text(fields.get("name")) or identity)


def parse_run(
    row: Any, *, workspace_id: str, agent_id: str, run_id: str | None = None
) -> Run | Unreadable:
    """A run's summary; the ids of the request stand in for those that the row lacks."""
    row = _object(row)
    identity = parse_id(row.get("id")) or run_id
    if identity is None:
        return _NO_ID
    try:
        created_ns, completed_ns, duration_ns, adjusted = _times(row)
        usage = _usage(row.get("token_usage"))
        # Fields that are called as in the API come from the row; what Run does not know is ignored.
        return _RUN.validate_python(
            {
                **row,
                "id": identity,
                "backend_run_id": _text(row.get("run_id")) or "",
                "agent_id": parse_id(row.get("agent_id")) or agent_id,
                "workspace_id": parse_id(row.get("workspace_id")) or workspace_id,
                "status": row.get("status", ""),
                "duration_ns": duration_ns,
                "input_tokens": usage.get("input"),
                "output_tokens": usage.get("output"),
                "cost_usd": row.get("total_cost"),
                "created_ns": created_ns,
                "completed_ns": completed_ns,
                "time_adjusted": adjusted,
            }
        )
    except _Flaw as flaw:
        return Unreadable(identity, flaw.reason, flaw.detail)
    except ValidationError as exc:
        return _unreadable(identity, exc)


def parse_run_detail(
    body: Any, *, workspace_id: str, agent_id: str, run_id: str | None = None
) -> RunDetail | Unreadable:
    """A run with its trace, from an answer of get-run or from a run's bare JSON object."""
    row = parse_item(body)
    run = parse_run(row, workspace_id=workspace_id, agent_id=agent_id, run_id=run_id)
    if isinstance(run, Unreadable):
        return run
    trace = row.get("tool_trace")
    if not isinstance(trace, list):
        trace = [] if trace is None else [trace]
    return _DETAIL.validate_python({**row, "run": run, "tool_trace": tuple(trace)})


def parse_id(value: Any) -> str | None:
    """A usable identifier: not blank, not endless, nothing replaced in it, no step in a path."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID:
        return None
    if value in (".", "..") or "\ufffd" in value or value.isspace():
        return None
    return value


def _object(row: Any) -> dict[str, Any]:
    """The row; what is no object has no field, and so no id."""
    return row if isinstance(row, dict) else {}


def _times(row: dict[str, Any]) -> tuple[int, int | None, int | None, bool]:
    """Start, end and duration of a run, and whether one of them was not plainly given."""
    created = parse_time(row.get("created_at"))
    if created is None:
        raise _Flaw(Reason.CREATED_AT, "`created_at` is no time between 1970 and 2200")
    created_ns, adjusted = created
    completed_ns = duration_ns = None
    if (completed_at := row.get("completed_at")) is not None:
        completed_ns, end_adjusted = parse_time(completed_at) or (None, True)
        adjusted = adjusted or end_adjusted
    try:
        duration_ms = _number(row.get("duration_ms"))
    except ValueError as exc:
        raise _Flaw(Reason.DURATION, f"`duration_ms`: {exc}") from exc
    if duration_ms is not None and 0 <= duration_ms <= _MAX_DURATION_MS:
        duration_ns = round(duration_ms * _MS_NS)
    elif duration_ms is not None:
        adjusted = True
    return created_ns, completed_ns, duration_ns, adjusted


def _usage(value: Any) -> dict[str, Any]:
    """The object of `token_usage`, which names its two numbers or is empty."""
    if value is None:
        return {}
    if not isinstance(value, dict) or (value and not value.keys() & {"input", "output"}):
        raise _Flaw(Reason.TOKENS, "`token_usage` names neither `input` nor `output`")
    return value


def _way_on(body: dict[str, Any]) -> tuple[str | None, bool]:
    """Where a page's list goes on, and whether it does."""
    cursor, has_more = body.get("next_cursor"), body.get("has_more")
    if has_more is False:
        return None, False
    if isinstance(cursor, int):
        cursor = str(cursor)
    if isinstance(cursor, str) and 0 < len(cursor) <= _MAX_CURSOR:
        return cursor, True
    # Taking an unusable cursor for the end of the list would lose whatever comes after it.
    return None, has_more is True or cursor not in (None, "")


_FIELDS: Final = {
    "status": (Reason.STATUS, "status"),
    "input_tokens": (Reason.TOKENS, "token_usage.input"),
    "output_tokens": (Reason.TOKENS, "token_usage.output"),
    "cost_usd": (Reason.COST, "total_cost"),
}


def _unreadable(identity: str, exc: ValidationError) -> Unreadable:
    first = exc.errors(include_input=False, include_url=False, include_context=False)[0]
    reason, key = _FIELDS[str(first["loc"][0])]
    return Unreadable(identity, reason, f"`{key}`: {first['msg']}")
