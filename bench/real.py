"""Memory, processor time, speed and disk of the real daemon.

Processor time is what the kernel charges the daemon's process, user and system, all threads. A busy
machine inflates it.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.deployment import WAIT_S, Conduit, Daemon, Sink
from bench.ledgers import multiply, used_bytes
from bench.table import Figure

# Six agents, a hundred runs a minute.
_BUSY: Final = ("--agents=6", "--per-hour=1000")
_LIMIT: Final = {"CONDUIT_REQUESTS_PER_MINUTE": "120"}
_FAST: Final = {"CONDUIT_REQUESTS_PER_MINUTE": "100000"}
# Requests of which few are under way together, as at every real budget.
_PACE: Final = 1_800
_PACED: Final = {"CONDUIT_REQUESTS_PER_MINUTE": str(_PACE)}
_METRICS_ALONE: Final = {"OTEL_TRACES_EXPORTER": "none"}
_PAGES: Final = ("/", "/runs", "/runs?status=failed", "/runs?disposition=proactive")  # none has it
_TIMES: Final = 15
_MANY: Final = 20


def measure_run() -> Iterator[Figure]:
    """Processor time and disk of a run of five tool calls."""
    with tempfile.TemporaryDirectory() as name, Sink(Path(name)) as sink:
        folder = Path(name)
        ids = folder / "ids"
        spent = []
        for history in ("--history=180", "--history=1080"):  # about 300 and 1,800 runs
            with Conduit(folder, *_BUSY, history, f"--ids={ids}") as conduit:
                runs = len(ids.read_text().split())
                traced, counted = folder / f"traced{runs}.db", folder / f"counted{runs}.db"
                spent.append((_export(conduit, sink, traced, runs), runs))
                if len(spent) == 1:
                    continue
                plain_s = _script(conduit, sink, ids, per_minute=_PACE, runs=1_000)
                slow_s = _script(conduit, sink, ids, per_minute=120, runs=90)
                with Daemon(conduit, sink, counted, **_FAST, **_METRICS_ALONE) as exporter:
                    exporter.wait_runs(runs)
        empty = folder / "empty.db"
        with Conduit(folder) as conduit, Daemon(conduit, sink, empty) as exporter:
            exporter.wait_ready()
        (few_s, few), (many_s, many) = spent
        # What a start costs falls out of the difference.
        run_s = (many_s - few_s) / (many - few)
        yield Figure(
            what="processor time of a run of 5 tool calls", measured=1000 * run_s, unit="ms"
        )
        yield Figure(
            what="... / plain script on the SDK's tracer, batch processor and exporter",
            measured=run_s / plain_s,
            bound=1.3,
        )
        yield Figure(
            what="... share of a core that this script takes for 120 runs a minute",
            measured=100 * slow_s * 120 / 60,
            unit="%",
        )
        bare = used_bytes(empty)
        for what, ledger in (("traced", traced), ("counted alone", counted)):
            yield Figure(
                what=f"ledger bytes a run of 5 tool calls, {what}",
                measured=round((used_bytes(ledger) - bare) / runs),
                unit="B",
            )


def measure_limit() -> Iterator[Figure]:
    """One workspace at the documented limit, with ten thousand and a million runs in the ledger."""
    with tempfile.TemporaryDirectory() as name, Sink(Path(name)) as sink:
        folder = Path(name)
        own, few, many = (folder / f"{one}.db" for one in ("own", "few", "many"))
        with Conduit(folder, *_BUSY, "--history=1800") as conduit:
            with Daemon(conduit, sink, own, **_FAST) as exporter:
                exporter.wait_ready()
                exporter.wait_settled()
            multiply(own, few, runs=10_000)
            multiply(own, many, runs=1_000_000)
            with Daemon(conduit, sink, few, **_LIMIT) as exporter:
                yield from _at_the_limit(exporter, "10 thousand runs", bound=66)
                small = exporter.rss_mib()
                yield Figure(
                    what="SIGTERM to the end, at the limit",
                    measured=exporter.stop(),
                    unit="s",
                    bound=10,
                )
            with Daemon(conduit, sink, many, **_LIMIT) as exporter:
                yield Figure(
                    what="start to the first /metrics, 1 million runs",
                    measured=exporter.first_metrics(),
                    unit="s",
                    bound=2,
                )
                yield from _at_the_limit(exporter, "1 million runs", bound=small + 4)
                for page in _PAGES:
                    yield Figure(
                        what=f"{page} with 1 million runs, median of {_TIMES}",
                        measured=exporter.milliseconds(page, times=_TIMES),
                        unit="ms",
                        bound=50,
                    )
                yield Figure(
                    what="RSS, one workspace, 1 million runs, after its pages",
                    measured=exporter.rss_mib(),
                    unit="MiB",
                    bound=70,
                )
                sink.process.signal(signal.SIGSTOP)
                time.sleep(5)  # its requests hang by then
                yield Figure(
                    what="SIGTERM to the end, trace backend hung",
                    measured=exporter.stop(),
                    unit="s",
                    bound=10,
                )


def measure_many() -> Iterator[Figure]:
    """Many workspaces, each at the documented limit."""
    with (
        tempfile.TemporaryDirectory() as name,
        Sink(Path(name)) as sink,
        Conduit(
            Path(name), f"--workspaces={_MANY}", f"--agents={6 * _MANY}", "--per-hour=1000"
        ) as conduit,
        Daemon(conduit, sink, Path(name) / "ledger.db", **_LIMIT) as exporter,
    ):
        exporter.wait_ready()
        time.sleep(60)
        what = f"share of a core, {_MANY} workspaces at 120 requests a minute each"
        yield from _core_share(exporter, what)


def measure_idle() -> Iterator[Figure]:
    """One agent that does nothing, and a thousand in fifty workspaces."""
    with tempfile.TemporaryDirectory() as name, Sink(Path(name)) as sink:
        folder = Path(name)
        with (
            Conduit(folder, "--agents=1") as conduit,
            Daemon(conduit, sink, folder / "quiet.db") as exporter,
        ):
            exporter.wait_ready()
            time.sleep(60)
            yield Figure(
                what="share of a core, one idle agent",
                measured=exporter.core_percent(seconds=60),
                unit="%",
            )
        with (
            Conduit(folder, "--agents=1000", "--workspaces=50") as conduit,
            Daemon(conduit, sink, folder / "ledger.db") as exporter,
        ):
            exporter.wait_ready()
            time.sleep(120)  # until agents without news are polled as rarely as they will be
            yield Figure(
                what="share of a core, 1,000 idle agents in 50 workspaces",
                measured=exporter.core_percent(seconds=120),
                unit="%",
                bound=8,
            )
            yield Figure(
                what="/metrics with 1,000 agents, median of 15",
                measured=exporter.milliseconds("/metrics", times=_TIMES),
                unit="ms",
            )
            yield Figure(
                what="RSS, 1,000 agents in 50 workspaces",
                measured=exporter.rss_mib(),
                unit="MiB",
                bound=135,
            )


def measure_packages() -> Iterator[Figure]:
    """What an installation brings along."""
    pins = Path("requirements.txt").read_text().splitlines()
    yield Figure(
        what="packages installed at run time",
        measured=sum("==" in pin and not pin.startswith(("#", " ")) for pin in pins),
        bound=37,
    )


def _at_the_limit(exporter: Daemon, ledger: str, *, bound: float) -> Iterator[Figure]:
    exporter.wait_ready()
    exporter.wait_settled_readings()
    what = f"share of a core, one workspace at 120 requests a minute, {ledger}"
    yield from _core_share(exporter, what, bound=1)
    yield Figure(
        what=f"RSS, one workspace, {ledger}", measured=exporter.rss_mib(), unit="MiB", bound=bound
    )


def _core_share(exporter: Daemon, what: str, *, bound: float | None = None) -> Iterator[Figure]:
    spent = "conduit_exporter_budget_requests_total"
    before = exporter.metric(spent)
    yield Figure(what=what, measured=exporter.core_percent(seconds=60), unit="%", bound=bound)
    yield Figure(what="... requests in that minute", measured=exporter.metric(spent) - before)


def _export(conduit: Conduit, sink: Sink, ledger: Path, runs: int) -> float:
    """Processor time of the daemon from its start until so many runs are delivered."""
    before = sink.traces()
    with Daemon(conduit, sink, ledger, **_PACED) as exporter:
        sink.wait_traces(before + runs)
        exporter.wait_settled()
        return exporter.processor_s()


def _script(conduit: Conduit, sink: Sink, ids: Path, *, per_minute: float, runs: int) -> float:
    """Processor time a run of the plain script."""
    argv = [sys.executable, "-m", "bench.sdk_script"]
    options = [f"--base-url={conduit.url}", f"--ids={ids}", f"--otlp={sink.url}"]
    pace = [f"--per-minute={per_minute}", f"--runs={runs}"]
    ended = subprocess.run(
        [*argv, *options, *pace], check=True, stdout=subprocess.PIPE, timeout=WAIT_S
    )
    seconds, measured = json.loads(ended.stdout)
    return float(seconds / measured)
