"""Traces as serialized OTLP export requests, and back into what people and tools read.

Nothing of this machine, release or moment is in the bytes: no exporter version, no host name, no
time of export. It never sends anything.
"""

import base64
from typing import Any, Final

from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from exporter.convert.spans import CONTENT_ATTRIBUTES, Trace

_CONTENT: Final = tuple(name.encode() for name in sorted(CONTENT_ATTRIBUTES))
_JSON_IDS: Final = ("traceId", "spanId", "parentSpanId")


def encode_trace(trace: Trace) -> bytes:
    """A serialized ExportTraceServiceRequest that holds exactly this trace."""
    return encode_spans(trace.spans).SerializeToString()


def without_content(payload: bytes) -> bytes:
    """A serialized export request without the attributes that hold content; the same each time.

    Raises DecodeError where the payload is none.
    """
    if not any(name in payload for name in _CONTENT):
        return payload
    request = ExportTraceServiceRequest.FromString(payload)
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                kept = [one for one in span.attributes if one.key not in CONTENT_ATTRIBUTES]
                del span.attributes[:]
                span.attributes.extend(kept)
    return request.SerializeToString()


def payload_to_spans(payload: bytes) -> tuple[Span, ...]:
    """The OTLP spans of a serialized export request; raises DecodeError where it is none."""
    request = ExportTraceServiceRequest.FromString(payload)
    return tuple(
        span
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    )


def attributes_of(span: Span) -> dict[str, Any]:
    """The attributes of an OTLP span as plain values: text, number or boolean."""
    return {
        one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes
    }


def payload_to_otlp_json(payload: bytes) -> dict[str, Any]:
    """A serialized export request in OTLP's JSON: ids in hex, enums and flags as numbers.

    Raises DecodeError where the payload is none.
    """
    request = ExportTraceServiceRequest.FromString(payload)
    document: dict[str, Any] = json_format.MessageToDict(request, use_integers_for_enums=True)
    for resource_spans in document.get("resourceSpans", ()):
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                for name in _JSON_IDS:
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    return document
