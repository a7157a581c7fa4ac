"""The rig itself: every part starts, answers and ends."""

import secrets
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from tests.real import parts, processes
from tests.real.collector import Collector
from tests.real.jaeger import Jaeger
from tests.real.processes import NotInTime, Process, alive, free_port
from tests.real.prometheus import Prometheus, promtool

START_NS = 1_775_185_455_123_456_789
METRICS = b"""\
# HELP rig_runs Runs.
# TYPE rig_runs counter
rig_runs_total{agent="a"} 3.0 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 1.0
# EOF
"""


@pytest.fixture
def metrics_target() -> Iterator[str]:
    """The host:port of a tiny server of one counter with an exemplar."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0")
            self.end_headers()
            self.wfile.write(METRICS)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_jaeger_shows_a_trace_sent_over_http(jaeger: Jaeger) -> None:
    """A trace sent as http/protobuf comes back from Jaeger to the nanosecond."""
    request, trace_id = make_request(service="rig-http")
    response = httpx.post(
        f"{jaeger.otlp_http}/v1/traces",
        content=request.SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
        trust_env=False,
    )

    assert response.status_code == 200
    assert ExportTraceServiceResponse.FromString(response.content).partial_success.ByteSize() == 0
    root, tool = jaeger.trace(trace_id, spans=2)
    assert (root.name, root.parent_span_id) == ("root", "")
    assert (root.start_ns, root.end_ns) == (START_NS, START_NS + 1_000_000_001)
    assert root.attributes == {"text": "a", "count": 3, "cost": 0.25, "ok": True}
    assert (root.status_code, root.status_message) == (Status.STATUS_CODE_ERROR, "broken")
    assert root.resource["service.name"] == "rig-http"
    assert root.scope == "rig"
    assert (tool.name, tool.parent_span_id) == ("tool", root.span_id)
    assert "rig-http" in jaeger.services()
    assert len(jaeger.trace_json(trace_id)["spans"]) == 2


def test_jaeger_shows_a_trace_sent_twice_once(jaeger: Jaeger) -> None:
    """A byte-identical resend leaves one copy of every span in the answer."""
    request, trace_id = make_request(service="rig-resend")
    for _ in range(2):
        send_grpc(jaeger.otlp_grpc, request)

    assert len(jaeger.trace(trace_id, spans=2)) == 2
    assert len(jaeger.trace_json(trace_id)["spans"]) == 2


def test_collector_passes_a_trace_from_grpc_to_jaeger(
    jaeger: Jaeger, start_collector: Callable[..., Collector]
) -> None:
    """A trace sent over gRPC goes through the Collector into Jaeger and into the debug log."""
    collector = start_collector(forward_to=jaeger.otlp_grpc)
    request, trace_id = make_request(service="rig-grpc")
    send_grpc(collector.otlp_grpc, request)

    spans = jaeger.trace(trace_id, spans=2)
    assert [span.name for span in spans] == ["root", "tool"]
    assert sorted(collector.printed_span_ids()) == sorted(span.span_id for span in spans)


def test_collector_passes_a_trace_from_http_to_jaeger(
    jaeger: Jaeger, start_collector: Callable[..., Collector]
) -> None:
    """The Collector's own HTTP exporter reaches Jaeger too."""
    collector = start_collector(forward_to=jaeger.otlp_http, protocol="http/protobuf", debug=False)
    request, trace_id = make_request(service="rig-http-http")
    httpx.post(
        f"{collector.otlp_http}/v1/traces",
        content=request.SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
        trust_env=False,
    ).raise_for_status()

    assert len(jaeger.trace(trace_id, spans=2)) == 2


def test_collector_without_queue_answers_with_the_backend_s_outage(
    start_collector: Callable[..., Collector],
) -> None:
    """Without a queue a sender learns from the Collector that the backend is away."""
    collector = start_collector(forward_to=f"127.0.0.1:{free_port()}", debug=False)
    request, _ = make_request(service="rig-outage")

    with pytest.raises(grpc.RpcError) as caught:
        send_grpc(collector.otlp_grpc, request)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_jaeger_comes_back_empty_on_the_same_ports(start_jaeger: Callable[[], Jaeger]) -> None:
    """A Jaeger that is stopped leaves no process, and starts again without its traces."""
    jaeger = start_jaeger()
    request, trace_id = make_request(service="rig-restart")
    send_grpc(jaeger.otlp_grpc, request)
    jaeger.trace(trace_id, spans=2)
    pid = jaeger.process.pid
    jaeger.stop()

    assert not alive(pid)
    jaeger.start()
    assert jaeger.spans(trace_id) == []


def test_prometheus_answers_from_its_scrapes(
    start_prometheus: Callable[..., Prometheus], metrics_target: str
) -> None:
    """Prometheus scrapes the test's own server and answers queries of value and exemplar."""
    prometheus = start_prometheus(targets=[metrics_target])

    (sample,) = prometheus.wait_for("rig_runs_total")
    assert (sample.labels["agent"], sample.value) == ("a", 3.0)
    assert prometheus.query("vector(1) + 1")[0].value == 2.0
    (series,) = prometheus.query_exemplars("rig_runs_total")
    trace_id = series["exemplars"][0]["labels"]["trace_id"]
    assert trace_id == "0af7651916cd43dd8448eb211c80319c"


def test_prometheus_evaluates_rules(
    start_prometheus: Callable[..., Prometheus], metrics_target: str, tmp_path: Path
) -> None:
    """A rule file given to Prometheus fires its alert."""
    rules = tmp_path / "rules.yml"
    rules.write_text(
        "groups: [{name: g, rules: [{alert: Rig, expr: 'rig_runs_total > 2'}]}]", encoding="utf-8"
    )
    prometheus = start_prometheus(targets=[metrics_target], rule_files=[rules])

    (alert,) = prometheus.wait_for('ALERTS{alertname="Rig", alertstate="firing"}')
    assert alert.labels["agent"] == "a"


def test_promtool_judges_metrics() -> None:
    """`promtool check metrics` passes a good exposition and names what is wrong in a bad one."""
    good = "# HELP rig_runs_total Runs.\n# TYPE rig_runs_total counter\nrig_runs_total 3\n"
    bad = "# TYPE rig_runs counter\nrig_runs 3\n"

    assert promtool("check", "metrics", stdin=good).returncode == 0
    judged = promtool("check", "metrics", stdin=bad)
    assert judged.returncode != 0
    assert 'counter metrics should have "_total" suffix' in judged.stderr


@pytest.mark.parametrize("name", ["jaeger", "otelcol", "prometheus"])
def test_stopped_part_leaves_no_process(name: str, tmp_path: Path) -> None:
    """Every part ends by itself upon SIGTERM, with success and without a remaining process."""
    part: Jaeger | Collector | Prometheus
    match name:
        case "jaeger":
            part = Jaeger(tmp_path)
        case "otelcol":
            part = Collector(tmp_path)
        case _:
            part = Prometheus(tmp_path, targets=[])
    part.start()
    pid = part.process.pid

    assert alive(pid)
    part.stop()
    assert part.process.returncode == 0
    assert not alive(pid)
    assert part.process not in processes.running


def test_process_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    """Waiting for a process that has ended fails at once, with the log's tail."""
    with (
        Process(["sh", "-c", "echo no such port; exit 3"], log=tmp_path / "sh.log") as process,
        pytest.raises(NotInTime, match=r"sh ended with 3\nno such port"),
    ):
        process.wait_http(f"http://127.0.0.1:{free_port()}/")


def test_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """A process that does not end in time is killed together with its children."""
    script = "trap '' TERM; sleep 60 & echo child $!; while :; do wait; done"
    process = Process(["sh", "-c", script], log=tmp_path / "sh.log")
    child = int(process.wait_log("child ").split()[1])

    assert process.stop(timeout_s=0.2) == -9
    assert not alive(process.pid)
    processes.eventually(
        lambda: None if alive(child) else True, what="the child is gone", timeout_s=5.0
    )


def test_process_does_not_inherit_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process sees the settings that the test gives it and none of the developer's shell."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shell")
    with Process(["env"], log=tmp_path / "env.log", env={"EXPORTER_LEDGER": "mine"}) as process:
        process.wait()

    assert "EXPORTER_LEDGER=mine" in process.log_text()
    assert "OTEL_SERVICE_NAME" not in process.log_text()


@pytest.mark.parametrize(
    ("required", "outcome"), [(False, pytest.skip.Exception), (True, pytest.fail.Exception)]
)
def test_missing_part_skips_unless_required(
    required: bool,  # noqa: FBT001
    outcome: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A missing part skips the test, and fails it where real parts are compulsory."""
    monkeypatch.setattr(parts, "REQUIRED", required)

    with pytest.raises(outcome, match=r"no-such-part is neither in .* `make real-parts` builds it"):
        parts.require("no-such-part")


def make_request(*, service: str) -> tuple[ExportTraceServiceRequest, str]:
    """A trace of a root and one tool span, and its id in hex."""
    trace_id, root_id, tool_id = secrets.token_bytes(16), secrets.token_bytes(8), b"\x01" * 8
    root = Span(
        trace_id=trace_id,
        span_id=root_id,
        name="root",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=START_NS,
        end_time_unix_nano=START_NS + 1_000_000_001,
        attributes=[
            KeyValue(key="text", value=AnyValue(string_value="a")),
            KeyValue(key="count", value=AnyValue(int_value=3)),
            KeyValue(key="cost", value=AnyValue(double_value=0.25)),
            KeyValue(key="ok", value=AnyValue(bool_value=True)),
        ],
        status=Status(code=Status.STATUS_CODE_ERROR, message="broken"),
    )
    tool = Span(
        trace_id=trace_id,
        span_id=tool_id,
        parent_span_id=root_id,
        name="tool",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=START_NS + 1,
        end_time_unix_nano=START_NS + 1,
    )
    resource = Resource(
        attributes=[KeyValue(key="service.name", value=AnyValue(string_value=service))]
    )
    scope_spans = ScopeSpans(scope=InstrumentationScope(name="rig"), spans=[root, tool])
    spans = ResourceSpans(resource=resource, scope_spans=[scope_spans])
    return ExportTraceServiceRequest(resource_spans=[spans]), trace_id.hex()


def send_grpc(endpoint: str, request: ExportTraceServiceRequest) -> None:
    """Export over plain gRPC, waiting for the answer."""
    with grpc.insecure_channel(endpoint) as channel:
        stub = trace_service_pb2_grpc.TraceServiceStub(channel)  # type: ignore[no-untyped-call]
        stub.Export(request, timeout=10)
