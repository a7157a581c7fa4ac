"""A real Jaeger with memory storage, and what it shows of a trace.

Never interprets a trace: spans come back as Jaeger's OTLP answer has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.real import parts, processes
from tests.real.processes import Process, eventually, free_port, loopback_client

MOST_TRACES = 100_000
WARNINGS = "@jaeger@warnings"
FAR_FUTURE_US = 4_102_444_800_000_000  # 2100


@dataclass(frozen=True)
class Span:
    """One span as the backend gives it back; ids in hex, an empty parent for a root."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status_code: int
    status_message: str
    attributes: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    resource: Mapping[str, Any]
    scope: str
    scope_version: str = ""
    warnings: tuple[str, ...] = ()  # what Jaeger has to say about it


class Jaeger:
    """Its ports stay the same over stop and start, its memory does not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.otlp_grpc = f"127.0.0.1:{free_port()}"
        self.otlp_http = f"http://127.0.0.1:{free_port()}"
        self.query_url = f"http://127.0.0.1:{free_port()}"
        self._health = f"127.0.0.1:{free_port()}"
        self._query_grpc = f"127.0.0.1:{free_port()}"
        self._client = loopback_client(self.query_url)
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        assert self._process is not None, "not started"
        return self._process

    def start(self) -> None:
        """Start and wait until the pipeline and the query API answer."""
        program = parts.require("jaeger")
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "jaeger.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        self._process = Process(
            [program, "--config", f"file:{config}"], log=self.folder / "jaeger.log"
        )
        self.process.wait_http(
            f"http://{self._health}/status", ready=lambda response: response.status_code == 200
        )
        self.process.wait_http(f"{self.query_url}/api/services")

    def stop(self) -> None:
        if self._process is not None:
            self.process.stop()

    def services(self) -> list[str]:
        """Names of the services that sent spans, sorted."""
        return sorted(self._get("/api/services")["data"] or [])

    def trace(self, trace_id: str, *, spans: int = 1, timeout_s: float = 15.0) -> list[Span]:
        """The trace's spans by start time, as soon as there are at least so many."""
        seen: list[Span] = []

        def enough() -> list[Span] | None:
            seen[:] = self.spans(trace_id)
            return seen if len(seen) >= spans else None

        try:
            return eventually(enough, what=f"{spans} spans of {trace_id}", timeout_s=timeout_s)
        except processes.NotInTime as error:
            error.add_note(f"seen: {[span.name for span in seen]}\n{self.process.tail()}")
            raise

    def spans(self, trace_id: str) -> list[Span]:
        """The trace's spans by start time as they are now, none for an unknown trace."""
        response = self._client.get(f"/api/v3/traces/{trace_id}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return []
        response.raise_for_status()
        result = response.json()["result"]
        return sorted(
            (
                _span(span, scope=scope, resource=resource.get("resource", {}))
                # Where Jaeger dropped a resend's copies, it leaves their empty holders.
                for resource in result["resourceSpans"]
                for scope in resource.get("scopeSpans", ())
                for span in scope.get("spans", ())
            ),
            key=lambda span: (span.start_ns, span.span_id),
        )

    def trace_ids(self, service: str) -> list[str]:
        """Ids of every trace of a service, whenever it was; each once."""
        found = self._get(
            "/api/traces", service=service, start=0, end=FAR_FUTURE_US, limit=MOST_TRACES
        )["data"]
        assert len(found) < MOST_TRACES
        # This API leaves out the upper half of an id where it is zero.
        return [trace["traceID"].zfill(32) for trace in found]

    def _get(self, path: str, **params: str | int) -> Any:
        return self._client.get(path, params=params).raise_for_status().json()

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


def _span(
    span: Mapping[str, Any], *, scope: Mapping[str, Any], resource: Mapping[str, Any]
) -> Span:
    status = span.get("status", {})
    attributes = _attributes(span)
    return Span(
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_span_id=span.get("parentSpanId", ""),
        name=span["name"],
        kind=span.get("kind", 0),
        start_ns=int(span["startTimeUnixNano"]),
        end_ns=int(span["endTimeUnixNano"]),
        status_code=status.get("code", 0),
        status_message=status.get("message", ""),
        attributes=attributes,
        events=tuple(span.get("events", ())),
        resource=_attributes(resource),
        scope=scope.get("scope", {}).get("name", ""),
        scope_version=scope.get("scope", {}).get("version", ""),
        warnings=tuple(attributes.pop(WARNINGS, ())),
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
        case {"kvlistValue": pairs}:
            return {item["key"]: _value(item["value"]) for item in pairs.get("values", ())}
        case other:
            return next(iter(other.values()), None)
