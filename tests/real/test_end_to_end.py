"""The daemon as a process between a simulated Conduit and the real trace backends.

What Jaeger shows is compared with the conversion of the same JSON, span by span.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from exporter.convert.spans import SCHEMA_URL
from tests.real.collector import Collector
from tests.real.conduit import Conduit, hotel
from tests.real.expectation import as_sent, assert_traces, expected_series, expected_traces
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger
from tests.real.odd_runs import place_odd_runs

pytestmark = pytest.mark.real

EXAMPLE_TRACE = "00000000000000000f9c2b1d8a7e4f36"
# 2026-04-03T03:14:15.000Z and 2026-04-03T03:14:19.213Z
EXAMPLE_START_NS, EXAMPLE_END_NS = 1_775_186_055_000_000_000, 1_775_186_059_213_000_000


@pytest.fixture
def conduit() -> Iterator[Conduit]:
    """A busy hotel group with three minutes of history, and runs of every odd kind."""
    with Conduit(hotel(rate=2.0, history_s=180.0)) as simulated:
        simulated.call(place_odd_runs)
        yield simulated


@pytest.fixture
def collector(jaeger: Jaeger, tmp_path: Path) -> Iterator[Collector]:
    """A Collector in front of the Jaeger."""
    with Collector(tmp_path / "collector", forward_to=jaeger.otlp_grpc) as started:
        yield started


def settle(exporter: Exporter, conduit: Conduit) -> None:
    """Let it read what there is and what arrives, then stop time and the daemon."""
    exporter.start()
    conduit.freeze()
    runs = conduit.ended_runs()
    exporter.wait_settled(expected_series(conduit), traces=len(runs))
    assert exporter.stop() == 0


def test_jaeger_shows_every_run_as_it_was_converted(
    jaeger: Jaeger, conduit: Conduit, new_exporter: Callable[..., Exporter]
) -> None:
    """Every ended run arrives, equal in every field, and none is sent twice.

    The documented one has its trace id, times, tokens and cost, and the one tool call in it.
    """
    exporter = new_exporter(conduit, otlp_http=jaeger.otlp_http)
    settle(exporter, conduit)

    expected = expected_traces(conduit.ended_runs(), exporter.options)
    assert_traces(jaeger, expected, service="conduit")
    assert conduit.fetched_twice() == {}
    root, tool = map(as_sent, jaeger.spans(EXAMPLE_TRACE))
    assert (root.name, root.kind) == ("invoke_agent Front desk", Span.SPAN_KIND_CLIENT)
    assert (root.parent_span_id, root.status) == ("", {})
    assert (root.start_ns, root.end_ns) == (EXAMPLE_START_NS, EXAMPLE_END_NS)
    assert root.attributes["gen_ai.usage.input_tokens"] == 1820
    assert root.attributes["gen_ai.usage.output_tokens"] == 342
    assert root.attributes["conduit.run.cost_usd"] == 0.0121
    assert root.attributes["conduit.trace.id"] == "0f9c2b1d8a7e4f36"
    assert root.resource == {"service.name": "conduit"}
    assert (tool.name, tool.kind) == ("execute_tool get_reservation", Span.SPAN_KIND_INTERNAL)
    assert (tool.parent_span_id, tool.trace_id) == (root.span_id, EXAMPLE_TRACE)
    assert EXAMPLE_START_NS <= tool.start_ns == tool.end_ns - 1 <= EXAMPLE_END_NS
    assert tool.attributes["conduit.tool.timing"] == "synthetic"
    assert "res_123" not in str((root, tool))


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_collector_passes_on_every_run_as_it_was_converted(
    jaeger: Jaeger,
    conduit: Conduit,
    collector: Collector,
    new_exporter: Callable[..., Exporter],
    protocol: str,
) -> None:
    """Through a Collector, compressed, with content, every span arrives whole, and is sent once."""
    grpc = protocol == "grpc"
    exporter = new_exporter(
        conduit,
        otlp_http=f"http://{collector.otlp_grpc}" if grpc else collector.otlp_http,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_RESOURCE_ATTRIBUTES="service.name=hotel,deployment.environment.name=b%C3%BCro",
        EXPORTER_CAPTURE_CONTENT="true",
        EXPORTER_TOOL_TIMING="slices",
    )
    settle(exporter, conduit)

    options = replace(
        exporter.options,
        service_name="hotel",
        resource_attributes=(("deployment.environment.name", "büro"),),
        capture_content=True,
        tool_timing="slices",
    )
    expected = expected_traces(conduit.ended_runs(), options)
    assert_traces(jaeger, expected, service="hotel")
    sent = collector.printed_span_ids()
    assert f"ScopeSpans SchemaURL: {SCHEMA_URL}\n" in collector.process.log_text()
    assert sorted(sent) == sorted(span.span_id for spans in expected.values() for span in spans)
