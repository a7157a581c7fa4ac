"""The bytes of traces: pinned, the same everywhere, complete, and read back."""

import base64
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from exporter.convert.otlp import (
    attributes_of,
    encode_trace,
    payload_to_otlp_json,
    payload_to_spans,
    without_content,
)
from exporter.convert.redaction import CUT_MARK
from exporter.convert.trace import ConvertOptions
from tests.convert_support import (
    ANY_JSON,
    CONTENT,
    FIXTURES,
    GOLDEN,
    OPTIONS,
    golden,
    said,
    trace_of,
)
from tests.factories import make_run

RESOURCE = (("service.name", "other"), ("team", "a\udcff"), ("zone", "eu"))


def resource_of(options: ConvertOptions) -> dict[str, str]:
    request = ExportTraceServiceRequest.FromString(encode_trace(trace_of(options=options)))
    (resource_spans,) = request.resource_spans
    return {one.key: one.value.string_value for one in resource_spans.resource.attributes}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_bytes_are_those_that_are_pinned(name: str) -> None:
    """A run that was sent once is the same bytes in every release that keeps the version."""
    assert encode_trace(golden(name)) == (FIXTURES / f"{name}.binpb").read_bytes()


def test_no_machine_moment_or_hash_seed_is_in_the_bytes(tmp_path: Path) -> None:
    """Another process, zone, folder, host and environment of OpenTelemetry make the same bytes."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(FIXTURES.parents[1]),
        "PYTHONHASHSEED": "4711",
        "TZ": "Pacific/Auckland",
        "HOSTNAME": "host-4711",
        "OTEL_SERVICE_NAME": "not this way",
        "OTEL_RESOURCE_ATTRIBUTES": "host.name=host-4711,malformed",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3",
    }
    script = (
        "import sys; from exporter.convert.otlp import encode_trace;"
        "from tests.convert_support import GOLDEN, golden;"
        "sys.stdout.buffer.write(b''.join(encode_trace(golden(name)) for name in GOLDEN))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environ, capture_output=True, check=False
    )

    assert done.stderr == b""
    assert done.stdout == b"".join((FIXTURES / f"{name}.binpb").read_bytes() for name in GOLDEN)


def test_the_resource_is_what_the_settings_say_and_nothing_else() -> None:
    """In any order, without a name of the SDK, a host or a random id, and all of it storable."""
    options = ConvertOptions(service_name="hotels", resource_attributes=RESOURCE)
    swapped = ConvertOptions(service_name="hotels", resource_attributes=RESOURCE[::-1])

    assert resource_of(OPTIONS) == {"service.name": "conduit"}
    assert resource_of(options) == {"team": "a\ufffd", "zone": "eu", "service.name": "hotels"}
    assert encode_trace(trace_of(options=options)) == encode_trace(trace_of(options=swapped))


def test_what_is_no_request_is_not_read() -> None:
    """A damaged payload is an error, not an empty trace."""
    with pytest.raises(DecodeError):
        payload_to_spans(b"\xff\xff\xff")
    with pytest.raises(DecodeError):
        payload_to_otlp_json(b"\xff\xff\xff")


@pytest.mark.parametrize("name", GOLDEN)
def test_otlp_json_is_protobufs_own_but_for_the_ids(name: str) -> None:
    """OTLP writes ids in hex and enums as numbers, everything else as protobuf's JSON does."""
    payload = (FIXTURES / f"{name}.binpb").read_bytes()
    document = payload_to_otlp_json(payload)
    spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"]

    assert spans[0]["traceId"] == golden(name).trace_id.hex()
    assert spans[0]["kind"] == 3
    assert isinstance(spans[0]["startTimeUnixNano"], str)
    for span in spans:
        for key in ("traceId", "spanId", "parentSpanId"):
            if key in span:
                span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    parsed = json_format.Parse(json.dumps(document), ExportTraceServiceRequest())
    assert parsed.SerializeToString() == payload
    assert payload_to_otlp_json(b"") == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(ANY_JSON, max_size=4), error=st.text(max_size=30))
def test_any_run_is_encoded_whole(
    caplog: pytest.LogCaptureFixture, items: list[Any], error: str
) -> None:
    """The encoder drops no attribute, with content and without; the bytes are repeatable."""
    run = make_run(status="failed", error=error, conversation_id=error)
    for options in (OPTIONS, CONTENT):
        trace = trace_of(*items, options=options, run=run, response=error)
        payload = encode_trace(trace)
        assert encode_trace(trace_of(*items, options=options, run=run, response=error)) == payload
        assert [attributes_of(span) for span in payload_to_spans(payload)] == [
            said(span) for span in trace.spans
        ]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_without_its_content_a_trace_is_what_it_is_with_capture_off() -> None:
    """To the byte: what was captured can be taken back, and a backend sees the same trace."""
    item = {"name": "t", "input": {"q": "Mia"}, "output": "Room 12"}
    captured, bare = (
        encode_trace(trace_of(item, response="Hello Mia", options=one))
        for one in (CONTENT, OPTIONS)
    )
    assert captured != bare
    assert without_content(captured) == bare
    assert without_content(bare) is bare


def test_a_trace_with_all_its_content_is_one_that_receivers_take() -> None:
    """A thousand calls full of words stay below gRPC's 4 MiB; what has no room is marked."""
    items = [{"name": "t", "input": "x" * 3000, "output": "y" * 3000} for _ in range(1000)]
    trace = trace_of(*items, options=CONTENT)
    assert 2_500_000 < len(encode_trace(trace)) < 3_500_000
    first, last = said(trace.spans[1]), said(trace.spans[-1])
    assert first["gen_ai.tool.call.result"].startswith('"yyy')
    assert last["gen_ai.tool.call.result"] == CUT_MARK
