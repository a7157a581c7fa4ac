"""A trace as plain values, before it is bytes; the numbers are those of OTLP.

Times are nanoseconds since the Unix epoch. Nothing in here knows Conduit or protobuf.
"""

from dataclasses import dataclass
from enum import IntEnum

AttributeValue = str | bool | int | float


class SpanKind(IntEnum):
    """OTLP's span kinds."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class StatusCode(IntEnum):
    """OTLP's status codes; success is UNSET, as the conventions ask."""

    UNSET = 0
    OK = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that was called: its name, or `unknown`, and whether the item says that it failed."""

    name: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Span:
    """One span; a root has an empty `parent_span_id`."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    name: str
    kind: SpanKind
    start_ns: int
    end_ns: int
    attributes: tuple[tuple[str, AttributeValue], ...]
    status: StatusCode = StatusCode.UNSET
    description: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A converted run: its root span first, then its tools' spans in order."""

    trace_id: bytes
    spans: tuple[Span, ...]
    tools: tuple[ToolCall, ...]
