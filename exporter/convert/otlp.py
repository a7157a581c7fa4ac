"""Traces as serialized OTLP export requests, and back into what people and tools read.

Nothing of this machine, release or moment is in the bytes: no exporter version, no host name, no
time of export. It never sends anything.
"""

import base64
from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as PbSpan
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags

from exporter.convert.bounds import storable
from exporter.convert.spans import AttributeValue, Span, SpanKind, StatusCode, Trace
from exporter.convert.trace import ConvertOptions

# The version of the conversion, not of the exporter: it changes when the spans of a run change.
CONVERSION_VERSION: Final = "1"
SCOPE_NAME: Final = "conduit-exporter"
# The GenAI conventions have no released schema yet; this is the one that their registry declares.
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"

# "Whether the parent is remote" is known, and it is not: what an SDK says of its own spans.
_FLAGS: Final = int(SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
_JSON_IDS: Final = ("traceId", "spanId", "parentSpanId")


class TraceEncoder:
    """Encodes traces one by one, each as a whole export request of its own."""

    def __init__(self, options: ConvertOptions) -> None:
        self._frame = ExportTraceServiceRequest()
        resource_spans = self._frame.resource_spans.add()
        resource = dict(options.resource_attributes) | {"service.name": options.service_name}
        for key, value in sorted(resource.items()):
            attribute = resource_spans.resource.attributes.add()
            attribute.key = storable(key)
            attribute.value.string_value = storable(value)
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = SCOPE_NAME
        scope_spans.scope.version = CONVERSION_VERSION
        scope_spans.schema_url = SCHEMA_URL

    def encode(self, trace: Trace) -> bytes:
        """A serialized ExportTraceServiceRequest that holds exactly this trace."""
        request = ExportTraceServiceRequest()
        request.CopyFrom(self._frame)
        add_span = request.resource_spans[0].scope_spans[0].spans.add
        for span in trace.spans:
            _fill_span(add_span(), span)
        return request.SerializeToString()


def merge_requests(bodies: Iterable[bytes]) -> bytes:
    """One export request of several: protobuf merges repeated fields when it reads on."""
    return b"".join(bodies)


def payload_to_spans(payload: bytes) -> tuple[Span, ...]:
    """The spans of a serialized export request; raises DecodeError where it is none."""
    request = ExportTraceServiceRequest.FromString(payload)
    return tuple(
        _read_span(span)
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    )


def payload_to_otlp_json(payload: bytes) -> dict[str, Any]:
    """A serialized export request in OTLP's JSON: ids in hex, enums and flags as numbers.

    Raises DecodeError where the payload is none.
    """
    # Only `convert` and the console need it: not for the daemon's memory.
    from google.protobuf import json_format  # noqa: PLC0415 - loaded where used, see above

    request = ExportTraceServiceRequest.FromString(payload)
    document: dict[str, Any] = json_format.MessageToDict(request, use_integers_for_enums=True)
    for resource_spans in document.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                for holder in (span, *span.get("links", ())):
                    _ids_to_hex(holder)
    return document


def _fill_span(message: PbSpan, span: Span) -> None:
    message.trace_id = span.trace_id
    message.span_id = span.span_id
    if span.parent_span_id:
        message.parent_span_id = span.parent_span_id
    message.flags = _FLAGS
    message.name = span.name
    message.kind = span.kind  # type: ignore[assignment]  # the stubs want their own enum type
    message.start_time_unix_nano = span.start_ns
    message.end_time_unix_nano = span.end_ns
    add_attribute = message.attributes.add
    for key, value in span.attributes:
        attribute = add_attribute()
        attribute.key = key
        holder = attribute.value
        kind = type(value)
        if kind is str:
            holder.string_value = value  # type: ignore[assignment]  # narrowed by `kind`
        elif kind is int:
            holder.int_value = value  # type: ignore[assignment]  # narrowed by `kind`
        elif kind is float:
            holder.double_value = value  # type: ignore[assignment]  # narrowed by `kind`
        else:
            holder.bool_value = value  # type: ignore[assignment]  # the only one left
    if span.status is StatusCode.UNSET:
        message.status.SetInParent()
    else:
        message.status.code = span.status  # type: ignore[assignment]  # the stubs' own enum type
        message.status.message = span.description


def _read_span(message: PbSpan) -> Span:
    return Span(
        trace_id=message.trace_id,
        span_id=message.span_id,
        parent_span_id=message.parent_span_id,
        name=message.name,
        kind=SpanKind(message.kind),
        start_ns=message.start_time_unix_nano,
        end_ns=message.end_time_unix_nano,
        attributes=tuple((one.key, _read_value(one.value)) for one in message.attributes),
        status=StatusCode(message.status.code),
        description=message.status.message,
    )


def _read_value(value: AnyValue) -> AttributeValue:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            return value.double_value
        case _:  # the exporter writes no others
            return str(value).strip()


def _ids_to_hex(holder: dict[str, Any]) -> None:
    for name in _JSON_IDS:
        if name in holder:
            holder[name] = base64.b64decode(holder[name]).hex()
