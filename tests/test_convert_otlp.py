"""The bytes of traces, with OpenTelemetry's own encoder and protobuf's own JSON as oracles."""

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from exporter.convert.otlp import (
    CONVERSION_VERSION,
    SCHEMA_URL,
    SCOPE_NAME,
    TraceEncoder,
    merge_requests,
    payload_to_otlp_json,
    payload_to_spans,
)
from exporter.convert.spans import Span, Trace
from exporter.convert.trace import ConvertOptions
from tests.convert_support import ANY_JSON, CONTENT, OPTIONS, convert_json, example, trace_of
from tests.factories import make_run

RESOURCE = (("deployment.environment.name", "production"), ("team", "night\u2011shift"))


def documented() -> Trace:
    return convert_json({"data": example()}, agent_name="Front desk")


def encoded(trace: Trace, options: ConvertOptions = OPTIONS) -> bytes:
    return TraceEncoder(options).encode(trace)


def by_the_sdk(trace: Trace, options: ConvertOptions = OPTIONS) -> ExportTraceServiceRequest:
    """The same trace, encoded by OpenTelemetry's own exporter."""
    resource = Resource(
        dict(sorted((*options.resource_attributes, ("service.name", options.service_name))))
    )
    scope = InstrumentationScope(SCOPE_NAME, CONVERSION_VERSION, SCHEMA_URL)
    return encode_spans([_readable(span, resource, scope) for span in trace.spans])


def _readable(span: Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    parent = _context(span.trace_id, span.parent_span_id) if span.parent_span_id else None
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=parent,
        resource=resource,
        attributes=dict(span.attributes),
        kind=SpanKind[span.kind.name],
        status=Status(StatusCode[span.status.name], span.description or None),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=scope,
    )


def _context(trace_id: bytes, span_id: bytes) -> SpanContext:
    return SpanContext(
        trace_id=int.from_bytes(trace_id, "big"),
        span_id=int.from_bytes(span_id, "big"),
        is_remote=False,
        trace_flags=TraceFlags(0),
    )


TRACES = {
    "documented": (documented(), OPTIONS),
    "with content": (convert_json({"data": example()}, CONTENT), CONTENT),
    "failed": (
        trace_of(
            {"name": "pay", "error": "declined", "started_at": "2026-04-03T03:04:16Z"},
            {"name": "pay", "status": "ok"},
            run=make_run(status="failed", error="The model did not answer\nat all"),
        ),
        OPTIONS,
    ),
    "bent": (trace_of(run=make_run(time_adjusted=True, duration_ns=1_500)), OPTIONS),
    "bare": (trace_of(run=make_run(input_tokens=None, output_tokens=None)), OPTIONS),
    "resource": (
        documented(),
        ConvertOptions(service_name="hotels", resource_attributes=RESOURCE, server_port=8443),
    ),
}


@pytest.mark.parametrize(("trace", "options"), TRACES.values(), ids=TRACES)
def test_the_sdk_encodes_the_same_message(trace: Trace, options: ConvertOptions) -> None:
    """Field for field, flags and empty status included."""
    ours = ExportTraceServiceRequest.FromString(encoded(trace, options))

    assert ours == by_the_sdk(trace, options)


@pytest.mark.parametrize(("trace", "options"), TRACES.values(), ids=TRACES)
def test_the_bytes_are_those_of_the_official_protobuf(
    trace: Trace, options: ConvertOptions
) -> None:
    """Serialized by its own library the message is the same bytes, and so it is parsed again."""
    payload = encoded(trace, options)

    assert by_the_sdk(trace, options).SerializeToString() == payload
    assert ExportTraceServiceRequest.FromString(payload).SerializeToString() == payload


def test_equal_traces_are_equal_bytes_whoever_encodes() -> None:
    """No moment, machine or order of settings is in them."""
    swapped = ConvertOptions(resource_attributes=RESOURCE[::-1])

    assert encoded(documented()) == encoded(documented())
    assert encoded(documented(), ConvertOptions(resource_attributes=RESOURCE)) == encoded(
        documented(), swapped
    )


def test_a_resource_attribute_cannot_take_the_services_name() -> None:
    """The name has a setting of its own."""
    options = ConvertOptions(
        service_name="conduit", resource_attributes=(("service.name", "other"),)
    )
    (resource,) = ExportTraceServiceRequest.FromString(
        encoded(documented(), options)
    ).resource_spans

    assert [one.value.string_value for one in resource.resource.attributes] == ["conduit"]


def test_a_batch_is_its_traces_behind_one_another() -> None:
    """Concatenated requests are one request, each trace with a resource of its own."""
    payloads = [encoded(trace, options) for trace, options in TRACES.values()]
    merged = ExportTraceServiceRequest.FromString(merge_requests(payloads))

    expected = ExportTraceServiceRequest()
    for payload in payloads:
        expected.resource_spans.extend(ExportTraceServiceRequest.FromString(payload).resource_spans)
    assert merged == expected
    assert merge_requests([]) == b""
    assert payload_to_spans(merge_requests(payloads)) == tuple(
        span for trace, _ in TRACES.values() for span in trace.spans
    )


@pytest.mark.parametrize(("trace", "options"), TRACES.values(), ids=TRACES)
def test_spans_come_back_as_they_were(trace: Trace, options: ConvertOptions) -> None:
    """What the run view and the demo read from the ledger is what was converted."""
    assert payload_to_spans(encoded(trace, options)) == trace.spans


def test_what_is_no_request_is_not_read() -> None:
    """A damaged payload is an error, not an empty trace."""
    with pytest.raises(DecodeError):
        payload_to_spans(b"\xff\xff\xff")
    with pytest.raises(DecodeError):
        payload_to_otlp_json(b"\xff\xff\xff")


@pytest.mark.parametrize(("trace", "options"), TRACES.values(), ids=TRACES)
def test_otlp_json_is_protobufs_own_but_for_the_ids(trace: Trace, options: ConvertOptions) -> None:
    """OTLP writes ids in hex and enums as numbers, everything else as protobuf's JSON does."""
    payload = encoded(trace, options)
    document = payload_to_otlp_json(payload)
    (resource,) = document["resourceSpans"]
    spans = resource["scopeSpans"][0]["spans"]

    assert [one["traceId"] for one in spans] == [span.trace_id.hex() for span in trace.spans]
    assert [one["spanId"] for one in spans] == [span.span_id.hex() for span in trace.spans]
    assert [one["kind"] for one in spans] == [int(span.kind) for span in trace.spans]
    assert isinstance(spans[0]["startTimeUnixNano"], str)
    for one in spans:
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in one:
                one[name] = base64.b64encode(bytes.fromhex(one[name])).decode()
    parsed = json_format.Parse(json.dumps(document), ExportTraceServiceRequest())
    assert parsed.SerializeToString() == payload


def test_links_and_foreign_values_are_read_too() -> None:
    """A request that others wrote can be shown: links, lists, bytes."""
    request = ExportTraceServiceRequest.FromString(encoded(documented()))
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.links.add().trace_id = bytes(range(16))
    span.attributes.add(key="sure").value.bool_value = True
    span.attributes.add(key="share").value.double_value = 0.5
    span.attributes.add(key="list").value.array_value.values.add().int_value = 1
    payload = request.SerializeToString()

    shown = payload_to_otlp_json(payload)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert shown["links"][0]["traceId"] == bytes(range(16)).hex()
    read = dict(payload_to_spans(payload)[0].attributes)
    assert (read["sure"], read["share"]) == (True, 0.5)
    assert read["list"] == ("array_value {\n  values {\n    int_value: 1\n  }\n}")


@settings(deadline=None, max_examples=60)
@given(items=st.lists(ANY_JSON, max_size=4), error=st.text(max_size=30))
def test_any_run_can_be_encoded_and_read_back(items: list[Any], error: str) -> None:
    """Whatever a tool trace holds, with content and without."""
    for options in (OPTIONS, CONTENT):
        trace = trace_of(*items, options=options, run=make_run(status="failed", error=error))
        assert payload_to_spans(encoded(trace, options)) == trace.spans
