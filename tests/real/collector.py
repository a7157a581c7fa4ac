"""A real OpenTelemetry Collector that takes OTLP and passes it on or prints it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from tests.real import parts
from tests.real.processes import Process, free_port

Protocol = Literal["grpc", "http/protobuf"]


class Collector:
    """OTLP in over gRPC and HTTP; out to `forward_to`, and into its log with `debug`.

    `forward_to` is host:port for grpc, a base URL for http/protobuf. Unless `queue` is set,
    what the next backend answers is what the sender gets. `processors` are named and set as in
    a Collector's file and run in that order.
    """

    def __init__(
        self,
        folder: Path,
        *,
        forward_to: str | None = None,
        protocol: Protocol = "grpc",
        debug: bool = True,
        queue: bool = False,
        processors: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.otlp_grpc = f"127.0.0.1:{free_port()}"
        self.otlp_http = f"http://127.0.0.1:{free_port()}"
        self._processors = dict(processors or {})
        self._exporters: dict[str, Any] = {}
        if forward_to is not None:
            name = "otlp_grpc" if protocol == "grpc" else "otlp_http"
            self._exporters[name] = {
                "endpoint": forward_to,
                "tls": {"insecure": True},
                "sending_queue": {"enabled": queue},
                "retry_on_failure": {"enabled": queue},
            }
        if debug:
            self._exporters["debug"] = {"verbosity": "detailed"}
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        assert self._process is not None, "not started"
        return self._process

    def start(self) -> None:
        """Start and wait until the receivers answer."""
        program = parts.require("otelcol")
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "otelcol.yaml"
        config.write_text(yaml.safe_dump(self._config(), sort_keys=False))
        self._process = Process(
            [program, "--config", f"file:{config}"], log=self.folder / "otelcol.log"
        )
        # A GET is refused with 405, but only once the receiver is there.
        self.process.wait_http(f"{self.otlp_http}/v1/traces")
        # Earlier it does not listen for signals yet: a SIGTERM would kill it.
        self.process.wait_log("Everything is ready")

    def stop(self) -> None:
        if self._process is not None:
            self.process.stop()

    def printed_span_ids(self) -> list[str]:
        """Ids of the spans in the log so far, in order, repeats included; needs `debug`."""
        return re.findall(r"^    ID\s+: ([0-9a-f]{16})$", self.process.log_text(), re.MULTILINE)

    def _config(self) -> Mapping[str, Any]:
        protocols = {
            "grpc": {"endpoint": self.otlp_grpc},
            "http": {"endpoint": self.otlp_http.removeprefix("http://")},
        }
        return {
            "receivers": {"otlp": {"protocols": protocols}},
            "processors": self._processors,
            "exporters": self._exporters,
            "service": {
                "pipelines": {
                    "traces": {
                        "receivers": ["otlp"],
                        "processors": list(self._processors),
                        "exporters": list(self._exporters),
                    }
                },
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
