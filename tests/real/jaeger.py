"""A real Jaeger with memory storage, and what it shows of a trace.

Never interprets a trace: spans come back as Jaeger's OTLP answer has them.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.real import parts
from tests.real.processes import NotInTime, Process, Server, eventually, free_port, loopback_client

MOST_TRACES = 100_000
WARNINGS = "@jaeger@warnings"


@dataclass(frozen=True)
class Span:
    """One span of an OTLP document in JSON; ids in hex, an empty parent for a root."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status: Mapping[str, Any]
    attributes: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    resource: Mapping[str, Any]
    scope: Mapping[str, Any]
    warnings: tuple[str, ...] = ()  # what Jaeger has to say about it


Traces = Mapping[str, list[Span]]


def otlp_json_to_traces(document: Mapping[str, Any]) -> Traces:
    """The spans of a document by trace id, in the order of their starts."""
    found: defaultdict[str, list[Span]] = defaultdict(list)
    for span in sorted(_spans(document), key=lambda span: (span.start_ns, span.span_id)):
        found[span.trace_id].append(span)
    return found


class Jaeger(Server):
    """Its memory does not outlive a stop."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.otlp_grpc = f"127.0.0.1:{free_port()}"
        self.otlp_http = f"http://127.0.0.1:{free_port()}"
        self.query_url = f"http://127.0.0.1:{free_port()}"
        self._health = f"127.0.0.1:{free_port()}"
        self._query_grpc = f"127.0.0.1:{free_port()}"
        self._client = loopback_client(self.query_url)

    def start(self) -> None:
        """Start and wait until the pipeline and the query API answer."""
        program = parts.require("jaeger")
        config = self.folder / "jaeger.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        self._process = Process(
            [program, "--config", f"file:{config}"], log=self.folder / "jaeger.log"
        )
        self.process.wait_http(
            f"http://{self._health}/status", ready=lambda response: response.status_code == 200
        )
        self.process.wait_http(f"{self.query_url}/api/services")

    def trace(self, trace_id: str, *, spans: int = 1, timeout_s: float = 15.0) -> list[Span]:
        """The trace's spans by start time, as soon as there are at least so many."""
        seen: list[Span] = []

        def enough() -> list[Span] | None:
            seen[:] = self.spans(trace_id)
            return seen if len(seen) >= spans else None

        try:
            return eventually(enough, what=f"{spans} spans of {trace_id}", timeout_s=timeout_s)
        except NotInTime as error:
            error.add_note(f"seen: {[span.name for span in seen]}\n{self.process.tail()}")
            raise

    def spans(self, trace_id: str) -> list[Span]:
        """The trace's spans by start time as they are now, none for an unknown trace."""
        return self._ask(f"/api/v3/traces/{trace_id}").get(trace_id, [])

    def traces(self, service: str) -> Traces:
        """Every trace of a service, whenever it was."""
        return self._ask(
            "/api/v3/traces",
            **{
                "query.service_name": service,
                "query.start_time_min": "1970-01-01T00:00:00Z",
                "query.start_time_max": "2100-01-01T00:00:00Z",
                "query.num_traces": str(MOST_TRACES - 1),
            },
        )

    def _ask(self, path: str, **params: str) -> Traces:
        response = self._client.get(path, params=params)
        if response.status_code == httpx.codes.NOT_FOUND:
            return {}
        return otlp_json_to_traces(response.raise_for_status().json()["result"])

    def _config(self) -> Mapping[str, Any]:
        http = self.otlp_http.removeprefix("http://")
        return {
            "extensions": {
                "healthcheckv2": {"use_v2": True, "http": {"endpoint": self._health}},
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": MOST_TRACES}}}},
                "jaeger_query": {
                    "storage": {"traces": "memory"},
                    "enable_tracing": False,  # or each query sends spans of Jaeger itself
                    "http": {"endpoint": self.query_url.removeprefix("http://")},
                    "grpc": {"endpoint": self._query_grpc},
                },
            },
            "receivers": {
                "otlp": {
                    "protocols": {
                        "grpc": {"endpoint": self.otlp_grpc},
                        "http": {"endpoint": http},
                    }
                }
            },
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
                "pipelines": {
                    "traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}
                },
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            },
        }


def _spans(document: Mapping[str, Any]) -> Iterator[Span]:
    for resource_spans in document.get("resourceSpans", ()):
        resource = _attributes(resource_spans.get("resource", {}))
        # Where Jaeger dropped a resend's copies, it leaves their empty holders.
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                attributes = _attributes(span)
                yield Span(
                    trace_id=span["traceId"],
                    span_id=span["spanId"],
                    parent_span_id=span.get("parentSpanId", ""),
                    name=span["name"],
                    kind=span.get("kind", 0),
                    start_ns=int(span["startTimeUnixNano"]),
                    end_ns=int(span["endTimeUnixNano"]),
                    status=span.get("status", {}),
                    warnings=tuple(attributes.pop(WARNINGS, ())),
                    attributes=attributes,
                    events=tuple(span.get("events", ())),
                    resource=resource,
                    scope=scope_spans.get("scope", {}),
                )


def _attributes(holder: Mapping[str, Any]) -> dict[str, Any]:
    return {item["key"]: _value(item.get("value", {})) for item in holder.get("attributes", ())}


def _value(value: Mapping[str, Any]) -> Any:
    match dict(value):
        case {"intValue": number}:
            return int(number)
        case {"doubleValue": number}:
            return float(number)
        case {"arrayValue": array}:
            return [_value(item) for item in array.get("values", ())]
        case other:
            return next(iter(other.values()), None)
