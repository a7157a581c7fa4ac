"""A run as the simulated Conduit knows it, and its JSON at a moment in time.

All that a run will become is fixed when it is made; the clock decides how much of it is shown.
Times are nanoseconds since the Unix epoch. Nothing in here draws random numbers.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

MS_NS: Final = 1_000_000
SECOND_NS: Final = 1_000_000_000
FAR_FUTURE_NS: Final = 1 << 62
IN_FLIGHT: Final = ("accepted", "running")
TERMINAL: Final = ("completed", "failed")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class RunContent(NamedTuple):
    """What only get-run tells of a run that has ended.

    `tool_trace` is JSON text or None; `tools` says what it holds, as (name, failed), so that a test
    can compare without reading the items.
    """

    session_id: str | None = None
    disposition_reason: str | None = None
    trigger_event_id: str | None = None
    response: str | None = None
    reflection: str | None = None
    tool_trace: str | None = None
    tools: tuple[tuple[str, bool], ...] = ()


class SimRun(NamedTuple):
    """A run, whole: what it is now and how it will end.

    `completed_ns` None is a run that never ends. `cost` is the JSON number's own text, so that its
    digits reach the wire as they stand. `status` is the final one and may be any text.
    `ahead_ns` is how far the times that are shown lie ahead of the true ones.
    """

    id: str
    agent_id: str
    created_ns: int
    completed_ns: int | None
    running_ns: int | None = None
    status: str = "completed"
    backend_run_id: str = "run_9f3a1c7e"
    disposition: str | None = "resolved"
    error: str | None = None
    duration_ns: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: str | None = None
    trace_id: str | None = None
    contact_id: str | None = None
    conversation_id: str | None = None
    trigger_id: str | None = None
    ahead_ns: int = 0

    @property
    def shown_created_ns(self) -> int:
        """`created_at` as answers show it, which orders the list."""
        return self.created_ns + self.ahead_ns

    def ended(self, now_ns: int) -> bool:
        """Whether the run is over at this time."""
        return self.completed_ns is not None and self.completed_ns <= now_ns

    def status_at(self, now_ns: int) -> str:
        """The status that an answer shows at this time."""
        if self.ended(now_ns):
            return self.status
        return "running" if self.running_ns is None or self.running_ns <= now_ns else "accepted"

    def changes_after(self, now_ns: int) -> int:
        """Until when an answer given now stays true."""
        moments = (self.running_ns, self.completed_ns)
        return min((at for at in moments if at is not None and at > now_ns), default=FAR_FUTURE_NS)


def summary_fields(run: SimRun, *, workspace_id: str, now_ns: int) -> dict[str, str]:
    """A run as a list page shows it, each field as JSON text; null what only its end decides."""
    ended, status = run.ended(now_ns), run.status_at(now_ns)
    tokens = None
    if ended and run.input_tokens is not None and run.output_tokens is not None:
        tokens = f'{{"input":{run.input_tokens},"output":{run.output_tokens}}}'
    completed = json_time(run.completed_ns + run.ahead_ns) if ended and run.completed_ns else "null"
    return {
        "id": json_text(run.id),
        "run_id": json_text(run.backend_run_id),
        "agent_id": json_text(run.agent_id),
        "workspace_id": json_text(workspace_id),
        "status": json_text(status),
        "disposition": json_text(run.disposition if ended else None),
        "contact_id": json_text(run.contact_id),
        "conversation_id": json_text(run.conversation_id),
        "trigger_id": json_text(run.trigger_id),
        "error": json_text(run.error if ended else None),
        "duration_ms": _milliseconds(run.duration_ns if ended else None),
        "token_usage": tokens or "null",
        "total_cost": (run.cost if ended else None) or "null",
        "trace_id": json_text(None if status == "accepted" else run.trace_id),
        "created_at": json_time(run.shown_created_ns),
        "completed_at": completed,
    }


def content_fields(content: RunContent) -> dict[str, str]:
    """What get-run adds to a summary."""
    return {
        "session_id": json_text(content.session_id),
        "disposition_reason": json_text(content.disposition_reason),
        "trigger_event_id": json_text(content.trigger_event_id),
        "response": json_text(content.response),
        "reflection": json_text(content.reflection),
        "tool_trace": content.tool_trace or "null",
    }


def json_object(fields: Mapping[str, str]) -> bytes:
    """The fields as a JSON object; a lone surrogate leaves as its escape."""
    text = ",".join(f'"{name}":{value}' for name, value in fields.items())
    return f"{{{text}}}".encode(errors="backslashreplace")


def json_text(text: str | None) -> str:
    """A string or null as JSON, characters as themselves."""
    return json.dumps(text, ensure_ascii=False)


def json_time(at_ns: int) -> str:
    """ISO 8601 with milliseconds and Z, as in the documented example, in quotes."""
    at = _EPOCH + timedelta(milliseconds=at_ns // MS_NS)
    return f'"{at.strftime("%Y-%m-%dT%H:%M:%S")}.{at.microsecond // 1000:03d}Z"'


def _milliseconds(duration_ns: int | None) -> str:
    if duration_ns is None:
        return "null"
    whole, rest = divmod(duration_ns, MS_NS)
    return f"{whole}.{rest:06d}".rstrip("0") if rest else str(whole)
