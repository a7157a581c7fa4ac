"""One item of a tool trace, whatever its shape, as what a span needs of it.

The API documents `name`, `input` and `output` and types nothing; the other spellings are those of
common agent frameworks. What is not understood is left out, never guessed: a text that is no
tool's name is content, and so are all values but name, call id, times and success.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from exporter.convert.bounds import is_tag
from exporter.convert.times import duration_ns, instant_ns
from exporter.times import SECOND_NS

UNKNOWN: Final = "unknown"
OTHER_ERROR: Final = "_OTHER"

# What stands under which key; of several spellings in one item the first listed counts.
_SPELLINGS: Final = {
    "name": ("name", "tool_name", "function_name"),
    "callee": ("tool", "function", "tool_call", "action"),
    "call_id": ("tool_call_id", "call_id", "tool_use_id"),
    "id": ("id",),
    "input": ("input", "tool_input", "arguments", "args", "parameters", "params"),
    "output": ("output", "tool_output", "result", "response", "observation", "content"),
    "error": ("error", "error_message", "exception"),
    "error_code": ("error_type", "error_code", "status_code"),
    "status": ("status", "state", "outcome"),
    "succeeded": ("success", "succeeded", "ok"),
    "failed": ("is_error", "failed", "errored"),
    "start": ("started_at", "start_time", "started", "start", "start_ts"),
    "end": (
        *("ended_at", "end_time", "ended", "end", "end_ts"),
        *("finished_at", "finish_time", "finished", "completed_at"),
    ),
    "duration_ns": ("duration_ns",),
    "duration_us": ("duration_us",),
    "duration_ms": ("duration_ms", "latency_ms", "elapsed_ms"),
    "duration_s": ("duration_s", "duration_seconds", "elapsed_s", "elapsed_seconds", "latency_s"),
}
_DURATION_UNITS_NS: Final = {
    "duration_ns": 1,
    "duration_us": 1_000,
    "duration_ms": 1_000_000,
    "duration_s": SECOND_NS,
}


def _camel(snake: str) -> str:
    head, *tail = snake.split("_")
    return head + "".join(word.capitalize() for word in tail)


_ROLES: Final = {
    form: (role, rank)
    for role, spellings in _SPELLINGS.items()
    for rank, spelling in enumerate(spellings)
    for form in (spelling, _camel(spelling))
}
_FAILED_STATUSES: Final = frozenset(
    {"error", "errored", "failed", "failure", "exception", "timeout", "timed_out"}
)
_NEGATIONS: Final = frozenset({"", "0", "false", "no", "none", "null"})
# A code is shown only if it is one of these or an HTTP status: anything else may be prose.
_ERROR_TYPES: Final = frozenset(
    {
        *("timeout", "cancelled", "not_found", "rate_limited", "unauthorized", "forbidden"),
        *("unavailable", "conflict", "validation_error", "invalid_arguments", "internal_error"),
    }
)
_HTTP_ERRORS: Final = range(400, 600)
# A bare text is a tool's name only where it is spelt like a function's.
_FUNCTION_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+){1,8}", re.ASCII)
_LONGEST_BARE_NAME: Final = 64
_CALL_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}", re.ASCII)
# A plain `id` may be anybody's; with these prefixes model providers mark a call.
_CALL_ID_PREFIXES: Final = ("call_", "toolu_", "fc_")
_MOST_STEP_PARTS: Final = 3


@dataclass(slots=True)
class ToolItem:
    """What an item says; `whole` is the item itself where it is not understood."""

    name: str = UNKNOWN
    call_id: str | None = None
    failed: bool = False
    error_type: str = OTHER_ERROR
    input: Any = None
    output: Any = None
    error: Any = None
    start_ns: int | None = None
    end_ns: int | None = None
    whole: Any = None


def read_tool_item(item: Any) -> ToolItem:
    """What an item of any JSON type says of a tool call."""
    if isinstance(item, Mapping):
        return _read_object(item)
    if isinstance(item, str):
        return ToolItem(name=item) if _is_function_name(item) else ToolItem(whole=item)
    if (
        isinstance(item, list | tuple)
        and 0 < len(item) <= _MOST_STEP_PARTS
        and _is_function_name(item[0])
    ):
        # The documented step written as a list: name, input, output.
        _, given, result = (*item, None, None)[:_MOST_STEP_PARTS]
        return ToolItem(name=item[0], input=given, output=result)
    return ToolItem(whole=item)


def _read_object(item: Mapping[Any, Any]) -> ToolItem:
    said = _by_role(item)
    name = said.get("name")
    if name is None:
        name = said.get("callee")
        if isinstance(name, str) and not is_tag(name):
            name = None  # an action told in words
    if isinstance(name, Mapping):
        inner = _by_role(name)
        said = {**inner, **said}
        name = inner.get("name")
    read = ToolItem(
        call_id=_call_id(said),
        input=said.get("input"),
        output=said.get("output"),
        error=said.get("error"),
    )
    if isinstance(name, str) and not name.isspace():
        read.name = name or UNKNOWN
    if read.name == UNKNOWN or (read.input is None and read.output is None):
        read.whole = item
    _read_failure(read, said)
    if "start" in said or "end" in said:
        _read_times(read, said)
    return read


def _by_role(item: Mapping[Any, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    for key, value in item.items():
        found = _ROLES.get(key)
        if found is None or value is None:
            continue
        role, rank = found
        if rank < ranks.get(role, len(_ROLES)):
            said[role] = value
            ranks[role] = rank
    return said


def _is_function_name(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= _LONGEST_BARE_NAME
        and _FUNCTION_NAME.fullmatch(value) is not None
    )


def _call_id(said: Mapping[str, Any]) -> str | None:
    call_id = said.get("call_id")
    if call_id is None:
        call_id = said.get("id")
        if not isinstance(call_id, str) or not call_id.startswith(_CALL_ID_PREFIXES):
            return None
    return call_id if isinstance(call_id, str) and _CALL_ID.fullmatch(call_id) else None


def _read_failure(read: ToolItem, said: Mapping[str, Any]) -> None:
    """Whether the item says that the call failed; only what it says of the call itself counts."""
    status = said.get("status")
    read.failed = (
        _affirmed(said.get("error"))
        or _affirmed(said.get("failed"))
        or ("succeeded" in said and not _affirmed(said["succeeded"]))
        or (isinstance(status, str) and _spelt(status) in _FAILED_STATUSES)
        or _http_error(status) is not None
    )
    if not read.failed:
        read.error = None
        return
    candidates = [said.get("error_code"), status]
    if isinstance(said.get("error"), Mapping):
        error = said["error"]
        candidates[:0] = [error.get("type"), error.get("code"), error.get("status")]
    for candidate in candidates:
        if (error_type := _error_type(candidate)) is not None:
            read.error_type = error_type
            return


def _affirmed(value: Any) -> bool:
    """Whether a value of any type says yes; a text does unless it says no."""
    if isinstance(value, str):
        return value.strip().casefold() not in _NEGATIONS
    return bool(value)


def _http_error(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and value in _HTTP_ERRORS:
        return str(value)
    return None


def _spelt(word: str) -> str:
    """A word as the tables spell it."""
    return word.strip().casefold().replace(" ", "_").replace("-", "_")


def _error_type(candidate: Any) -> str | None:
    if isinstance(candidate, str):
        spelt = _spelt(candidate)
        spelt = "timeout" if spelt == "timed_out" else spelt
        return spelt if spelt in _ERROR_TYPES else None
    return _http_error(candidate)


def _read_times(read: ToolItem, said: Mapping[str, Any]) -> None:
    start, end = instant_ns(said.get("start")), instant_ns(said.get("end"))
    if start is None or end is None:
        length = None
        for role, unit_ns in _DURATION_UNITS_NS.items():
            if role in said and length is None:
                length = duration_ns(said[role], unit_ns=unit_ns)
        if length is None:
            return
        if start is not None:
            end = start + length
        elif end is not None:
            start = end - length
    read.start_ns, read.end_ns = start, end
