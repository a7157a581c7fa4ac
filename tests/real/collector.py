"""A real OpenTelemetry Collector that takes OTLP, prints it and passes it on."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.real import parts
from tests.real.processes import Process, Server, free_port


class Collector(Server):
    """OTLP in over gRPC and HTTP; every span into its log, and to `forward_to` (host:port, gRPC).

    It has no queue: what the next backend answers is what the sender gets.
    """

    def __init__(self, folder: Path, *, forward_to: str | None = None) -> None:
        super().__init__(folder)
        self.otlp_grpc = f"127.0.0.1:{free_port()}"
        self.otlp_http = f"http://127.0.0.1:{free_port()}"
        self._forward_to = forward_to

    def start(self) -> None:
        """Start and wait until the receivers answer."""
        program = parts.require("otelcol")
        config = self.folder / "otelcol.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        self._process = Process(
            [program, "--config", f"file:{config}"], log=self.folder / "otelcol.log"
        )
        # A GET is refused with 405, but only once the receiver is there.
        self.process.wait_http(f"{self.otlp_http}/v1/traces")
        # Earlier it does not listen for signals yet: a SIGTERM would kill it.
        self.process.wait_log("Everything is ready")

    def printed_span_ids(self) -> list[str]:
        """Ids of the spans in the log so far, in order, repeats included."""
        return re.findall(r"^    ID\s+: ([0-9a-f]{16})$", self.process.log_text(), re.MULTILINE)

    def _config(self) -> dict[str, Any]:
        protocols = {
            "grpc": {"endpoint": self.otlp_grpc},
            "http": {"endpoint": self.otlp_http.removeprefix("http://")},
        }
        exporters: dict[str, Any] = {"debug": {"verbosity": "detailed"}}
        if self._forward_to is not None:
            exporters["otlp_grpc"] = {
                "endpoint": self._forward_to,
                "tls": {"insecure": True},
                "sending_queue": {"enabled": False},
                "retry_on_failure": {"enabled": False},
            }
        return {
            "receivers": {"otlp": {"protocols": protocols}},
            "exporters": exporters,
            "service": {
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": list(exporters)}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
