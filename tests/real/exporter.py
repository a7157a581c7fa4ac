"""The exporter as its operator starts it: a daemon or a command, on settings in its environment."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from exporter.convert.trace import ConvertOptions
from tests.real.conduit import Conduit
from tests.real.processes import (
    NotInTime,
    Process,
    Server,
    eventually,
    free_port,
    inherited_environment,
    loopback_client,
)

ROOT = Path(__file__).parent.parent.parent

Series = tuple[str, frozenset[tuple[str, str]]]


class Exporter(Server):
    """One ledger and the settings of those who work on it, one process at a time.

    `settings` are added to those that point at the Conduit and at the trace backend.
    """

    def __init__(
        self, folder: Path, conduit: Conduit, *, otlp_http: str = "", **settings: str
    ) -> None:
        super().__init__(folder)
        self.address = f"127.0.0.1:{free_port()}"
        self.conduit = conduit
        self.env: dict[str, str] = {
            "CONDUIT_API_TOKEN": conduit.token,
            "CONDUIT_BASE_URL": conduit.base_url,
            "CONDUIT_REQUESTS_PER_MINUTE": "60000",
            "EXPORTER_LEDGER": f"sqlite:///{folder / 'ledger.db'}",
            "EXPORTER_LISTEN": self.address,
            "EXPORTER_LOOKBACK": "3650d",
            "EXPORTER_POLL_INTERVAL": "500ms",
            **({"OTEL_EXPORTER_OTLP_ENDPOINT": otlp_http} if otlp_http else {}),
            **settings,
        }
        self._client = loopback_client(f"http://{self.address}")

    @property
    def options(self) -> ConvertOptions:
        """How it converts runs as long as nothing about traces is set."""
        return ConvertOptions(server_address="127.0.0.1", server_port=self.conduit.port)

    def launch(self, *, under: Sequence[str | Path] = (), **settings: str) -> Process:
        """Start the daemon, by way of another command perhaps, and return at once.

        `settings` are those of this life alone.
        """
        assert self._process is None or self._process.returncode is not None, "still running"
        self._process = Process(
            [*under, sys.executable, "-m", "exporter", "run"],
            log=self.folder / "exporter.log",
            env=self.env | settings,
            cwd=ROOT,
        )
        return self._process

    def start(self, **settings: str) -> Process:
        """Start the daemon and wait until its first scan is done."""
        process = self.launch(**settings)
        process.wait_http(
            f"http://{self.address}/-/ready",
            ready=lambda answer: answer.status_code == httpx.codes.OK,
        )
        return process

    def command(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; a failure is the caller's to judge."""
        return subprocess.run(
            [sys.executable, "-m", "exporter", *arguments],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=inherited_environment() | self.env,
            cwd=ROOT,
        )

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self._client.get(path, headers=headers)

    def series(self) -> dict[Series, float]:
        """Every series of a scrape whose value is not zero, by name and labels."""
        families = text_string_to_metric_families(self.get("/metrics").raise_for_status().text)
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
            if sample.value
        }

    def value(self, name: str) -> float:
        """The sum of a metric's series."""
        return sum(value for (found, _), value in self.series().items() if found == name)

    def wait_value(self, name: str, wanted: float, *, timeout_s: float = 30.0) -> None:
        """Wait until a metric's series add up to this."""
        eventually(
            lambda: True if self.value(name) == wanted else None,
            what=f"{name} is {wanted:g}",
            timeout_s=timeout_s,
        )

    def wait_settled(
        self,
        expected: Mapping[Series, float],
        *,
        traces: int | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        """Wait until the series of runs are exactly these and no trace is left to be delivered."""
        names = {name for name, _ in expected}
        difference: dict[Series, tuple[float, float]] = {}

        def settled() -> bool | None:
            series = self.series()
            shown = {key: value for key, value in series.items() if key[0] in names}
            difference.clear()
            difference.update(
                (key, (shown.get(key, 0.0), expected.get(key, 0.0)))
                for key in shown.keys() | expected.keys()
                if shown.get(key) != expected.get(key)
            )
            return True if not difference and not _left(series, traces) else None

        try:
            eventually(settled, what="all is counted and delivered", timeout_s=timeout_s)
        except NotInTime as error:
            error.add_note(f"(shown, expected): {dict(list(difference.items())[:8])}")
            error.add_note(f"left: {_left(self.series(), traces)}")
            raise


def _left(series: Mapping[Series, float], traces: int | None) -> dict[str, float]:
    left = {
        name: value
        for (name, _), value in series.items()
        if name in ("conduit_exporter_traces_pending", "conduit_exporter_runs_awaiting_detail")
    }
    delivered = series.get(("conduit_exporter_traces_delivered_total", frozenset()), 0.0)
    return left if traces is None or delivered == traces else left | {"delivered": delivered}
