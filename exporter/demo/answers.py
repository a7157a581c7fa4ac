"""Requests as the simulated Conduit reads them, answers as it writes them: JSON, pages, errors.

The shapes are those of Conduit's documentation; nothing in here decides what is answered.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from exporter.demo.runs import MS_NS, SECOND_NS, RunContent, SimRun

JSON_TYPE: Final = {"content-type": "application/json; charset=utf-8"}
# A field of a run: its name and its value as JSON text, so that exact digits survive.
Field = tuple[str, str]
# Changes a run's fields before they are written: adds, drops, renames, spoils.
Edit = Callable[[list[Field]], list[Field]]

_NULL: Final = "null"
_MINUTE_NS: Final = 60 * SECOND_NS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Endpoint(StrEnum):
    """The five documented endpoints."""

    WORKSPACES = "workspaces"
    AGENTS = "agents"
    AGENT = "agent"
    RUNS = "runs"
    RUN = "run"


class Failure(Enum):
    """How an exchange goes wrong below HTTP."""

    CONNECT_ERROR = "the connection is refused, or the name is not known"
    CONNECT_TIMEOUT = "nobody answers the connection"
    READ_TIMEOUT = "the answer, or its rest after the body given, never comes"
    DISCONNECT = "the connection closes before the answer, or its rest after the body given"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimRequest:
    """A request as it was understood; parts that it does not have are None."""

    number: int  # of all requests, from 1
    now_ns: int
    method: str
    path: str
    endpoint: Endpoint | None
    query: Mapping[str, str]
    headers: Mapping[str, str]
    agent_id: str | None = None
    run_id: str | None = None

    @property
    def cursor(self) -> str | None:
        return self.query.get("cursor")


class Page(NamedTuple):
    """A list page in parts: rows as JSON, the way on, and a cursor that leads to this page."""

    rows: Sequence[bytes]
    next_cursor: str | None
    own_cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimResponse:
    """An answer, or as much of it as gets through.

    `headers` may claim a content-length of their own; without one it is the body's. `stream`
    replaces the body where it is too large to hold. `page` and `run` are what the body was made of;
    they are gone from an answer that was spoiled.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_TYPE)
    body: bytes = b""
    stream: Callable[[], Iterator[bytes]] | None = None
    failure: Failure | None = None
    latency_s: float = 0.0
    page: Page | None = None
    run: SimRun | None = None

    def chunks(self) -> Iterator[bytes]:
        """The body in order; empty chunks are left out."""
        if self.stream is not None:
            yield from self.stream()
        elif self.body:
            yield self.body


def error_response(status: int, message: str, *, retry_after: str | None = None) -> SimResponse:
    """The documented error body, with Retry-After where it is given."""
    headers = JSON_TYPE if retry_after is None else {**JSON_TYPE, "retry-after": retry_after}
    return SimResponse(
        status=status, headers=headers, body=b'{"error":%s}' % json.dumps(message).encode()
    )


def page_response(page: Page) -> SimResponse:
    """A list page: has_more says the same as next_cursor does."""
    more = page.next_cursor is not None
    body = b'{"data":[%s],"next_cursor":%s,"has_more":%s}' % (
        b",".join(page.rows),
        json.dumps(page.next_cursor).encode(),
        b"true" if more else b"false",
    )
    return SimResponse(body=body, page=page)


def object_response(row: bytes, *, run: SimRun | None = None) -> SimResponse:
    """One thing under `data`."""
    return SimResponse(body=b'{"data":%s}' % row, run=run)


def json_object(fields: Iterable[Field]) -> bytes:
    """The fields as a JSON object; a lone surrogate leaves as its escape, the only way it can."""
    text = ",".join([f'"{name}":{value}' for name, value in fields])
    return f"{{{text}}}".encode(errors="backslashreplace")


def summary_fields(run: SimRun, *, workspace_id: str, now_ns: int) -> list[Field]:
    """A run as a list page shows it; what is only known at the end is null until then."""
    ended = run.ended(now_ns)
    status = run.status_at(now_ns)
    tokens = _NULL
    if ended and run.input_tokens is not None and run.output_tokens is not None:
        tokens = f'{{"input":{run.input_tokens},"output":{run.output_tokens}}}'
    return [
        ("id", json_text(run.id)),
        ("run_id", json_text(run.backend_run_id)),
        ("agent_id", json_text(run.agent_id)),
        ("workspace_id", json_text(workspace_id)),
        ("status", json_text(status)),
        ("disposition", json_text(run.disposition if ended else None)),
        ("contact_id", json_text(run.contact_id)),
        ("conversation_id", json_text(run.conversation_id)),
        ("trigger_id", json_text(run.trigger_id)),
        ("error", json_text(run.error if ended else None)),
        ("duration_ms", _milliseconds(run.duration_ns if ended else None)),
        ("token_usage", tokens),
        ("total_cost", run.cost if ended and run.cost is not None else _NULL),
        ("trace_id", json_text(None if status == "accepted" else run.trace_id)),
        ("created_at", json_time(run.created_ns)),
        ("completed_at", json_time(run.completed_ns) if ended and run.completed_ns else _NULL),
    ]


def content_fields(content: RunContent) -> list[Field]:
    """What get-run adds to a summary."""
    return [
        ("session_id", json_text(content.session_id)),
        ("disposition_reason", json_text(content.disposition_reason)),
        ("trigger_event_id", json_text(content.trigger_event_id)),
        ("response", json_text(content.response)),
        ("reflection", json_text(content.reflection)),
        ("tool_trace", content.tool_trace or _NULL),
    ]


def json_text(text: str | None) -> str:
    """A string or null as JSON, characters as themselves."""
    return _NULL if text is None else _encode(text)


_encode: Final = json.encoder.encode_basestring


def _milliseconds(duration_ns: int | None) -> str:
    if duration_ns is None:
        return _NULL
    whole, rest = divmod(duration_ns, MS_NS)
    return f"{whole}.{rest:06d}".rstrip("0") if rest else str(whole)


def json_time(at_ns: int) -> str:
    """ISO 8601 with milliseconds and Z, as in the documented example."""
    minute, rest_ns = divmod(at_ns, _MINUTE_NS)
    second, fraction_ns = divmod(rest_ns, SECOND_NS)
    return f'"{_minute_text(minute)}{second:02d}.{fraction_ns // MS_NS:03d}Z"'


@lru_cache(maxsize=512)  # neighbouring runs share their minutes
def _minute_text(minute: int) -> str:
    return (_EPOCH + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:")
