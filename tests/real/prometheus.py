"""A real Prometheus that scrapes every second, and promtool."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.real import parts
from tests.real.processes import NotInTime, Process, Server, eventually, free_port, loopback_client

JOB = "test"


@dataclass(frozen=True)
class Sample:
    """One element of an instant vector."""

    labels: Mapping[str, str]
    value: float


class Prometheus(Server):
    """Scrapes `targets` (host:port) each second under the job name `test`.

    `scrape_options` are added to the scrape configuration (`basic_auth`, `scheme`,
    `metrics_path`...); `rule_files` are evaluated each second, and their alerts sent to
    `alertmanagers` (host:port).
    """

    def __init__(
        self,
        folder: Path,
        *,
        targets: Sequence[str],
        rule_files: Sequence[Path] = (),
        scrape_options: Mapping[str, Any] | None = None,
        alertmanagers: Sequence[str] = (),
    ) -> None:
        super().__init__(folder)
        self.url = f"http://127.0.0.1:{free_port()}"
        self._targets = list(targets)
        self._rule_files = [str(path.resolve()) for path in rule_files]
        self._scrape_options = dict(scrape_options or {})
        self._alertmanagers = list(alertmanagers)
        self._client = loopback_client(self.url)

    def start(self) -> None:
        """Start and wait until queries are answered; a second start keeps the data."""
        program = parts.require("prometheus")
        config = self.folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(self._config()))
        self._process = Process(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--enable-feature=exemplar-storage",
                "--scrape.discovery-reload-interval=100ms",  # 5 s to the first scrape otherwise
            ],
            log=self.folder / "prometheus.log",
        )
        self.process.wait_http(
            f"{self.url}/-/ready", ready=lambda response: response.status_code == 200
        )

    def query(self, promql: str) -> list[Sample]:
        """The expression's value now, an instant vector or a scalar."""
        data = self.api("query", query=promql)
        if data["resultType"] == "scalar":
            return [Sample(labels={}, value=float(data["result"][1]))]
        return [
            Sample(labels=item["metric"], value=float(item["value"][1])) for item in data["result"]
        ]

    def wait_for(
        self,
        promql: str,
        *,
        until: Callable[[list[Sample]], bool] = bool,
        timeout_s: float = 20.0,
    ) -> list[Sample]:
        """The expression's samples as soon as they are as wanted; by default, not empty."""
        seen: list[Sample] = []

        def wanted() -> list[Sample] | None:
            seen[:] = self.query(promql)
            return seen if until(seen) else None

        try:
            return eventually(wanted, what=promql, timeout_s=timeout_s)
        except NotInTime as error:
            error.add_note(f"last seen: {seen}\ntargets: {self.targets()}")
            raise

    def exemplars(self, metric: str, *, at_least: int) -> list[Mapping[str, Any]]:
        """The metric's exemplars of the last hour, as soon as there are so many."""

        def enough() -> list[Mapping[str, Any]] | None:
            now = time.time()
            series = self.api("query_exemplars", query=metric, start=now - 3600, end=now + 60)
            found = [exemplar for one in series for exemplar in one["exemplars"]]
            return found if len(found) >= at_least else None

        return eventually(enough, what="exemplars in Prometheus", timeout_s=20.0)

    def targets(self) -> list[Mapping[str, Any]]:
        """The active targets with `health` and `lastError`."""
        return list(self.api("targets")["activeTargets"])

    def api(self, path: str, **params: str | float) -> Any:
        """The `data` of any GET of the HTTP API, `/api/v1/` understood."""
        response = self._client.get(f"/api/v1/{path}", params=params)
        body = response.json()
        assert body["status"] == "success", body
        return body["data"]

    def _config(self) -> Mapping[str, Any]:
        return {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
            },
            "rule_files": self._rule_files,
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": self._alertmanagers}]}]},
            "scrape_configs": [
                {
                    "job_name": JOB,
                    "static_configs": [{"targets": self._targets}],
                    **self._scrape_options,
                }
            ],
        }


def promtool(
    *args: str | Path, stdin: str = "", timeout_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run promtool; a failure is the caller's to judge by `returncode`."""
    return subprocess.run(
        [parts.require("promtool"), *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
