"""The tool calls of a run, whatever shape the items of its tool trace have.

The API documents `name`, `input` and `output` and types nothing; the other shapes are those of
common agent frameworks. What is not understood is left out, never guessed: a text that is no
tool's name is content, and so are all values but name, call id, times and success.
"""

import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from exporter.convert import shapes
from exporter.convert.content import parsed
from exporter.convert.redaction import is_tag
from exporter.convert.spans import ToolCall
from exporter.convert.timeline import duration_ns, instant_ns

UNKNOWN: Final = "unknown"
OTHER_ERROR: Final = "_OTHER"
MAX_SPANS: Final = 1_000

_HTTP_ERRORS: Final = range(400, 600)
_HTTP_ERROR_TEXT: Final = re.compile(r"[45]\d\d", re.ASCII)
# A bare text is a tool's name only where it is spelt like a function's.
_FUNCTION_NAME: Final = re.compile(r"(?=.{1,64}$)[a-z][a-z0-9]*(?:_[a-z0-9]+){1,8}", re.ASCII)
_CALL_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}", re.ASCII)
_MAX_STEP_PARTS: Final = 3
_PAIR: Final = 2
# An answer of a model holds candidates, these a message, this its parts.
_MAX_HOLDERS: Final = 4
_HOLDERS: Final = ("call", "answer", "request", "message")
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("name", "called", "type", "role", "method"), str),
    **dict.fromkeys(_HOLDERS, Mapping),
    **dict.fromkeys(("calls", "answers", "parts"), (list, tuple)),
}

_TELLING: Final = (
    *("error", "error_code", "failed", "succeeded", "status", "http_status", "output"),
)
# What a result does not change of the call that it completes.
_OF_THE_CALL: Final = frozenset({"name", "called", "input", "id", "call_id", "item", "start"})

# What an item says, by the names of `SHAPES`; `item` is the item itself, `result` marks a result.
Said = dict[str, Any]


def _canonical(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()


def _by_key() -> dict[str, list[tuple[str, int]]]:
    """SHAPES the other way round: what a key may hold, and its rank among the keys of that."""
    roles: dict[str, list[tuple[str, int]]] = {}
    for role, keys in shapes.SHAPES.items():
        for rank, key in enumerate(keys):
            roles.setdefault(_canonical(key), []).append((role, rank))
    return roles


_ROLES: Final = _by_key()
_CALLS: Final = frozenset(map(_canonical, shapes.CALL_TYPES))
_RESULTS: Final = frozenset(map(_canonical, shapes.RESULT_TYPES))
_OTHERS: Final = frozenset(map(_canonical, shapes.OTHER_TYPES))


@dataclass(slots=True)
class Tool:
    """A tool call; `index` is its item's place, `part` its own among the calls of that item.

    `whole` is the item itself where it is not understood.
    """

    index: int
    part: int
    name: str
    call_id: str | None
    failed: bool
    error_type: str
    input: Any
    output: Any
    error: Any
    start_ns: int | None
    end_ns: int | None
    whole: Any


@dataclass(slots=True)
class ToolCalls:
    """The calls of a run: the first ones whole, and how many of each name and outcome there are."""

    shown: list[Tool] = field(default_factory=list)
    counted: Counter[ToolCall] = field(default_factory=Counter)


def read_tool_trace(items: Sequence[Any], *, name_of: Callable[[str], str]) -> ToolCalls:
    """The calls in a tool trace, a call and its result as one; null items are none.

    `name_of` makes a name fit to leave; it is asked once for each name.
    """
    calls = ToolCalls()
    names = {UNKNOWN: UNKNOWN}
    kept: list[tuple[int, int, Said]] = []
    open_calls = _OpenCalls()

    def count(said: Said) -> ToolCall:
        name = _name(said)
        if name not in names:
            names[name] = name_of(name) or UNKNOWN
        call = ToolCall(names[name], _failed(said))
        calls.counted[call] += 1
        return call

    for index, item in enumerate(items):
        part = 0
        for said in _read(item):
            if open_calls.complete(said):
                continue
            # What no later result can complete is only counted, so that a million cost no memory.
            if open_calls.add(said) or len(kept) < MAX_SPANS:
                kept.append((index, part, said))
            else:
                count(said)
            part += 1
    for index, part, said in kept:
        call = count(said)
        if len(calls.shown) < MAX_SPANS:
            calls.shown.append(_to_tool(index, part, call, said))
    return calls


class _OpenCalls:
    """The calls that a later item may complete: by id, or in the order of their name without."""

    def __init__(self) -> None:
        self._by_id: dict[str | int, Said] = {}
        self._by_name: defaultdict[str, deque[Said]] = defaultdict(deque)

    def add(self, said: Said) -> bool:
        """Whether a later item may complete this call."""
        call_id = _any_id(said)
        if call_id is not None:
            self._by_id[call_id] = said
            return True
        name = _name(said)
        if name == UNKNOWN or _has_outcome(said):
            return False
        self._by_name[name].append(said)
        return True

    def complete(self, said: Said) -> bool:
        """Whether this was an earlier call's result, which now is part of that call."""
        call_id, call = _any_id(said), None
        if call_id is not None:
            call = self._by_id.get(call_id)
        elif "result" in said and (waiting := self._by_name.get(_name(said))):
            call = waiting.popleft()
        if call is None or not _has_outcome(said) or not _belongs(said, call):
            return False
        for role, value in said.items():
            call[role] = call.get(role, value) if role in _OF_THE_CALL else value
        return True


def _belongs(said: Said, call: Said) -> bool:
    """Whether a result is that of a call with the same id; a plain `id` may be anybody's."""
    if "call_id" in said or "result" in said:
        return not (_has_outcome(call) and "input" in said)
    return not _has_outcome(call) and _name(said) in (UNKNOWN, _name(call))


def _any_id(said: Said) -> str | int | None:
    found = said.get("call_id", said.get("id"))
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def _has_outcome(said: Said) -> bool:
    return not said.keys().isdisjoint(("output", "error", "failed", "succeeded")) or _failed(said)


def _read(item: Any) -> Iterator[Said]:
    """What an item of any JSON type says of each call that it holds."""
    if isinstance(item, Mapping):
        yield from _read_object(item)
    elif isinstance(item, list | tuple):
        yield from _read_list(item)
    elif isinstance(item, str) and _FUNCTION_NAME.fullmatch(item):
        yield {"name": item, "item": item}
    elif item is not None:
        yield {"item": item}


def _read_list(items: Sequence[Any]) -> Iterator[Said]:
    first = items[0] if items else None
    if isinstance(first, str) and _FUNCTION_NAME.fullmatch(first) and len(items) <= _MAX_STEP_PARTS:
        # The documented step written as a list: name, input, output.
        yield {"item": items, **dict(zip(("name", "input", "output"), items, strict=False))}
    elif items and all(_is_call(one) or _is_named(one) for one in items):
        for one in items:
            yield from _read_object(one)
    elif isinstance(first, Mapping) and len(items) == _PAIR:
        # LangChain's step: an action and its observation.
        for said in _read_object(first):
            yield said if items[1] is None else {**said, "output": items[1]}
    else:
        yield {"item": items}


def _read_object(item: Mapping[Any, Any]) -> Iterator[Said]:
    fields = _fields(item)
    if not fields:
        yield {"item": item}
        return
    said = _said(item, fields)
    held = [] if "input" in said else list(_held(fields, 0))
    if held:
        for part in held:
            yield _said(part, _fields(part))
    elif "input" in said or "result" in said or not _is_message(fields):
        yield said


def _is_message(fields: Said) -> bool:
    """Whether an object is a message, or a part of one, that holds no call."""
    kinds = (_canonical(fields[role]) for role in ("type", "role") if role in fields)
    return not _OTHERS.isdisjoint(kinds) or ("calls" in fields and _name(fields) == UNKNOWN)


def _held(said: Said, depth: int) -> Iterator[Mapping[Any, Any]]:
    """The calls and results in a message's lists."""
    for role in ("calls", "answers"):
        yield from (part for part in said.get(role, ()) if isinstance(part, Mapping))
    for part in (*said.get("parts", ()), said.get("message")):
        if _is_call(part):
            yield part
        elif isinstance(part, Mapping) and depth < _MAX_HOLDERS:
            yield from _held(_fields(part), depth + 1)


def _is_call(part: Any) -> bool:
    """Whether a part of a message says that it is a call or a result."""
    if not isinstance(part, Mapping):
        return False
    said = _fields(part)
    kind, role = said.get("type", ""), said.get("role", "")
    return (
        not said.keys().isdisjoint(("call", "answer"))
        or kind.startswith(shapes.NAME_PREFIX_OF_TYPE)
        or _canonical(kind) in _CALLS | _RESULTS
        or _canonical(role) in _RESULTS
    )


def _is_named(item: Any) -> bool:
    return isinstance(item, Mapping) and {"name", "input"} <= _fields(item).keys()


def _said(item: Mapping[Any, Any], fields: Said) -> Said:
    """What an object says of one call, the keys of an object inside it included."""
    said = {**fields, "item": item}
    for role in filter(fields.__contains__, _HOLDERS):
        inner = _fields(fields[role])
        if role == "request":
            if "method" not in fields and "input" not in inner:
                continue  # parameters, among which a name may be a guest's
            if said["input"] is fields[role]:
                del said["input"]
        if role == "message" and "call_id" not in inner:
            continue
        said = {**inner, **said} if _name(said) != UNKNOWN else {**said, **inner}
    kind = fields.get("type", "")
    known = _canonical(kind) in _CALLS | _RESULTS
    if kind.startswith(shapes.NAME_PREFIX_OF_TYPE) and not known and _name(said) == UNKNOWN:
        said["name"] = kind.removeprefix(shapes.NAME_PREFIX_OF_TYPE)
    if (
        _canonical(kind) in _RESULTS - _CALLS
        or _canonical(fields.get("role", "")) in _RESULTS
        or ("answer" in fields and "call" not in fields)
    ):
        said["result"] = True
    return said


def _fields(item: Mapping[Any, Any]) -> Said:
    said: Said = {}
    ranks: dict[str, int] = {}
    for key, value in item.items():
        if value is None or not isinstance(key, str):
            continue
        for role, rank in _ROLES.get(_canonical(key), ()):
            if rank < ranks.get(role, len(_ROLES)) and isinstance(value, _TYPES.get(role, object)):
                said[role] = value
                ranks[role] = rank
    return said


def _name(said: Said) -> str:
    for role in ("name", "called"):
        name: str = said.get(role, "")
        if name and not name.isspace() and (role == "name" or is_tag(name)):
            return name
    return UNKNOWN


def _to_tool(index: int, part: int, call: ToolCall, said: Said) -> Tool:
    understood = call.name != UNKNOWN and ("input" in said or "output" in said)
    start_ns, end_ns = _times(said)
    return Tool(
        index=index,
        part=part,
        name=call.name,
        call_id=_call_id(said),
        failed=call.failed,
        error_type=_error_type(said) if call.failed else OTHER_ERROR,
        input=said.get("input"),
        output=said.get("output"),
        error=said.get("error") if call.failed else None,
        start_ns=start_ns,
        end_ns=end_ns,
        whole=None if understood else said["item"],
    )


def _call_id(said: Said) -> str | None:
    plain_id = said.get("id")
    is_marked = isinstance(plain_id, str) and plain_id.startswith(shapes.CALL_ID_PREFIXES)
    call_id = said.get("call_id", plain_id if is_marked else None)
    return call_id if isinstance(call_id, str) and _CALL_ID.fullmatch(call_id) else None


def _failed(said: Said) -> bool:
    """Whether the item says that the call failed; what an output says is the tool's business."""
    if said.keys().isdisjoint(_TELLING):
        return False
    status = said.get("status")
    return (
        any(_affirmed(said.get(role)) for role in ("error", "failed", "error_code"))
        or _denied(said.get("succeeded"))
        or _word(status) in shapes.FAILED_WORDS
        or _http_error(status) is not None
        or _http_error(said.get("http_status")) is not None
        or _is_error_output(said.get("output"))
    )


def _is_error_output(output: Any) -> bool:
    """Whether an output is marked as an error by the protocol that carried it (MCP, AI SDK)."""
    if isinstance(output, str) and "rror" in output:
        output = parsed(output)
    if not isinstance(output, Mapping):
        return False
    return _word(output.get("type")) in shapes.ERROR_OUTPUTS or any(
        _affirmed(value)
        for key, value in output.items()
        if isinstance(key, str) and _canonical(key) == "iserror"
    )


def _affirmed(value: Any) -> bool:
    """Whether a value of any type says yes; a text does unless it says no."""
    if isinstance(value, str):
        return value.strip().casefold() not in shapes.NOTHING
    if isinstance(value, Mapping):
        return any(one if isinstance(one, Mapping) else _affirmed(one) for one in value.values())
    return bool(value)


def _denied(value: Any) -> bool:
    """Whether a value of any type says no."""
    return _word(value) in shapes.NO or (isinstance(value, int | Decimal) and not value)


def _word(value: Any) -> str:
    """A word as the tables spell it; empty for what is none."""
    text = value if isinstance(value, str) else ""
    return text.strip().casefold().replace(" ", "_").replace("-", "_")


def _http_error(value: Any) -> str | None:
    if isinstance(value, int) and value in _HTTP_ERRORS:
        return str(value)
    return value if isinstance(value, str) and _HTTP_ERROR_TEXT.fullmatch(value) else None


def _error_type(said: Said) -> str:
    """A known word or an HTTP status that tells why, or `_OTHER`: never free text."""
    error = said.get("error")
    inside = (
        [error.get(key) for key in ("type", "code", "status")] if isinstance(error, Mapping) else []
    )
    for told in (*inside, *map(said.get, ("error_code", "http_status", "status"))):
        word = shapes.ERROR_SYNONYMS.get(_word(told), _word(told))
        if word in shapes.ERROR_TYPES:
            return word
        if (status := _http_error(told)) is not None:
            return status
    return OTHER_ERROR


def _times(said: Said) -> tuple[int, int] | tuple[None, None]:
    """Start and end, or start and duration; what tells less tells no time."""
    start_ns, end_ns = instant_ns(said.get("start")), instant_ns(said.get("end"))
    if start_ns is None:
        return None, None
    if end_ns is not None:
        return start_ns, end_ns
    for role, unit_ns in shapes.DURATION_UNITS_NS.items():
        length_ns = duration_ns(said.get(role), unit_ns=unit_ns)
        if length_ns is not None:
            return start_ns, start_ns + length_ns
    return None, None
