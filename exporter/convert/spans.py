"""The spans of a trace, by OpenTelemetry's SDK, and the allowlist of their attributes.

It fails closed: an attribute that is not listed here never leaves, and one that holds content
leaves only where the operator asked for content. docs/SPANS.md says what each one means.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from exporter.convert.redaction import storable

# The version of the conversion, not of the exporter: it changes when the spans of a run change.
CONVERSION_VERSION: Final = "1"
SCOPE_NAME: Final = "conduit-exporter"
# The GenAI conventions have no released schema yet; this is the one that their registry declares.
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"

ATTRIBUTES: Final = frozenset(
    (
        *("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.agent.id", "gen_ai.agent.name"),
        *("gen_ai.conversation.id", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
        *("gen_ai.tool.name", "gen_ai.tool.call.id", "server.address", "server.port"),
        *("session.id", "error.type", "conduit.workspace.id", "conduit.run.id"),
        *("conduit.run.backend_id", "conduit.run.status", "conduit.run.disposition"),
        *("conduit.run.disposition_reason", "conduit.run.cost_usd", "conduit.run.duration_ms"),
        *("conduit.run.tool_calls", "conduit.trigger.id", "conduit.trigger.event_id"),
        *("conduit.trace.id", "conduit.trace.detail", "conduit.timing", "conduit.time_adjusted"),
        *("conduit.tool.index", "conduit.tool.timing", "conduit.tool.time_clamped"),
    )
)
CONTENT_ATTRIBUTES: Final = frozenset(
    (
        *("gen_ai.output.messages", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
        *("conduit.contact.id", "conduit.reflection", "conduit.error.message"),
        "conduit.tool.item",
    )
)

_SCOPE: Final = InstrumentationScope(SCOPE_NAME, CONVERSION_VERSION, SCHEMA_URL)

Attributes = dict[str, str | bool | int | float | None]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that was called: its name, or `unknown`, and whether the item says that it failed."""

    name: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Trace:
    """A converted run: its root span first, then its tools' spans in order.

    `tools` counts every call of the run, those that have no span of their own included.
    """

    trace_id: bytes
    spans: tuple[ReadableSpan, ...]
    tools: Counter[ToolCall] = field(default_factory=Counter)


def make_resource(service_name: str, attributes: Iterable[tuple[str, str]]) -> Resource:
    """What all traces say of their service, in an order that no order of settings changes.

    Not by `Resource.create` or a detector: those add a random id and this machine, and see neither
    an env file nor the quotes that a container engine leaves around a value.
    """
    named = {**dict(attributes), "service.name": service_name}
    return Resource({storable(key): storable(value) for key, value in sorted(named.items())})


def make_span(
    *,
    name: str,
    kind: SpanKind,
    trace_id: bytes,
    span_id: bytes,
    parent_id: bytes | None,
    start_ns: int,
    end_ns: int,
    attributes: Attributes,
    content: bool,
    error: str | None,
    resource: Resource,
) -> ReadableSpan:
    """A finished span with the attributes that are known and may leave; `error` None: it is ok."""
    allowed = ATTRIBUTES | CONTENT_ATTRIBUTES if content else ATTRIBUTES
    leaving = {
        name: value for name, value in attributes.items() if value is not None and name in allowed
    }
    return ReadableSpan(
        name=name,
        context=_context(trace_id, span_id),
        parent=None if parent_id is None else _context(trace_id, parent_id),
        resource=resource,
        attributes=leaving,
        kind=kind,
        status=Status(StatusCode.UNSET if error is None else StatusCode.ERROR, error or None),
        start_time=start_ns,
        end_time=end_ns,
        instrumentation_scope=_SCOPE,
    )


def _context(trace_id: bytes, span_id: bytes) -> SpanContext:
    return SpanContext(
        int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), is_remote=False
    )
