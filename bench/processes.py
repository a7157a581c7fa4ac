"""Memory, processor time and speed of the real daemon, between a simulated Conduit and a sink.

Processor time is what the kernel charges the exporter's process: user and system, all threads. It
depends less on what else the machine does than wall time; wall time is shown where it is meant.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.deployment import MIB, Answered, Deployment, ExporterProcess, deployed
from bench.figures import Figure, at_most
from bench.ledgers import LedgerPlan, write_ledger
from tests.real.processes import eventually

_FAST: Final = {"CONDUIT_REQUESTS_PER_MINUTE": "600000", "EXPORTER_LOG_LEVEL": "warning"}
# With requests that are seldom under way together, as at every real budget.
_PACE: Final = 6_000
_TIMEOUT_S: Final = 600.0
# About 500 series, and fresh runs that one page of each agent shows.
_AGENTS: Final = 6
_FRESH: Final = 80 * _AGENTS
_SCRAPES: Final = 100
# Scrapes that follow at once share a rendering; what is measured is the rendering.
_BETWEEN_SCRAPES_S: Final = 0.1


def measure_cpu(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - one shape for all
    """Processor time a run, of the exporter and of scripts that read the same runs."""
    runs = 1_500 if quick else 8_000
    with tempfile.TemporaryDirectory() as folder, deployed(Path(folder)) as deployment:
        own = _exporter_seconds(deployment, few=runs // 8, many=runs)
        # Around what is not the measure itself, so that a machine that changes its pace shows.
        before = _script(deployment, "bytes")
        transport = _script(deployment, "bytes", "--own-transport")
        parsed = _script(deployment, "json")
        sdk = _script(deployment, "sdk")
        after = _script(deployment, "bytes")
        deployment.stop_conduit()
        own_paced = _exporter_seconds(
            deployment, few=runs // 8, many=runs // 4, requests_per_minute=_PACE
        )
        bare_paced = _script(deployment, "bytes", "--every", str(60 / _PACE))
    bare = (before + after) / 2
    yield Figure(
        what="processor time a run of 5 tool calls / bare httpx GET of it (bytes only)",
        measured=own / bare,
        bound=at_most(1.6),
        limit="1.0",
        note=(
            f"exporter {1e6 * own:.0f} us, bare GET {1e6 * before:.0f} and {1e6 * after:.0f} us, "
            f"GET and json {1e6 * parsed:.0f} us, SDK script {1e6 * sdk:.0f} us a run; "
            f"paced {1e6 * own_paced:.0f} us, bare GET {1e6 * bare_paced:.0f} us"
        ),
    )
    yield Figure(
        what=f"... both paced at {_PACE // 60} requests a second",
        measured=own_paced / bare_paced,
        bound=at_most(1.6),
        limit="1.0",
    )
    yield Figure(what="... / httpx GET and json.loads of it", measured=own / parsed, limit="1.0")
    yield Figure(what="... / a plain script on the SDK's tracer pipeline", measured=own / sdk)
    yield Figure(
        what="a GET by httpx over the exporter's transport / over httpx's own",
        measured=transport / bare,
    )


def measure_memory(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - one shape for all
    """Memory, start and /metrics with many runs in the ledger."""
    many = 50_000 if quick else 1_000_000
    few = 10_000
    with tempfile.TemporaryDirectory() as folder, deployed(Path(folder)) as deployment:
        deployment.start_conduit(agents=_AGENTS, runs=_FRESH)
        seen = {}
        for runs in (few, many):
            ledger = Path(folder) / f"{runs}.db"
            write_ledger(ledger, _plan(deployment, runs))
            before = deployment.received()
            with deployment.exporter(ledger, **_FAST) as exporter:
                # What is measured has fetched, converted and delivered: an exporter that only
                # started has not loaded all that it needs.
                exporter.wait_ready()
                _until(deployment, before + _FRESH)
                _until_settled(exporter)
                scrapes = [_scraped(exporter) for _ in range(_SCRAPES)]
                memory = exporter.memory_bytes() / MIB
                peak = exporter.memory_bytes("VmHWM") / MIB
            starts = []
            for _ in range(1 if quick else 5):
                with deployment.exporter(ledger, **_FAST) as exporter:
                    seconds = exporter.first_metrics()
                    starts.append((seconds, exporter.processor_s()))
            seen[runs] = (memory, peak, scrapes, starts)
    (small, _, _, _), (large, peak, scrapes, starts) = seen[few], seen[many]
    yield Figure(
        what=f"memory with {many:,} runs in the ledger, http/protobuf (RSS)",
        measured=large,
        unit="MiB",
        bound=at_most(84),
        limit="61 MiB",
        note=f"{small:.1f} MiB with {few:,} runs; peak {peak:.1f} MiB",
    )
    yield Figure(
        what=f"... more than with {few:,} runs",
        measured=large - small,
        unit="MiB",
        bound=at_most(8),
    )
    series = sum(not line.startswith(b"#") for line in scrapes[-1].body.splitlines())
    yield Figure(
        what=f"/metrics with {many:,} runs, {series} series, median of {_SCRAPES}",
        measured=1000 * statistics.median(one.seconds for one in scrapes),
        unit="ms",
        bound=at_most(10),
    )
    yield Figure(
        what=f"start to first /metrics with {many:,} runs, median of {len(starts)}",
        measured=statistics.median(wall for wall, _ in starts),
        unit="s",
        bound=at_most(2),
        note=f"processor time {statistics.median(cpu for _, cpu in starts):.2f} s",
    )


def measure_drain(quick: bool) -> Iterator[Figure]:  # noqa: FBT001 - one shape for all
    """What an outage of the trace backend has left is sent from the ledger alone."""
    traces = 3_000 if quick else 30_000
    with tempfile.TemporaryDirectory() as folder, deployed(Path(folder)) as deployment:
        deployment.start_conduit(agents=_AGENTS)
        ledger = Path(folder) / "ledger.db"
        write_ledger(ledger, _plan(deployment, traces, delivered=False))
        with deployment.exporter(ledger) as exporter:
            exporter.first_metrics()
            _until(deployment, traces)
            seconds = time.monotonic() - exporter.started_s
            processor_s = exporter.processor_s()
        asked = deployment.stop_conduit()
    yield Figure(
        what=f"drain of {traces:,} pending traces to a local backend, from the start",
        measured=seconds,
        unit="s",
        bound=at_most(60),
        note=f"processor time {processor_s:.1f} s; Conduit was asked {asked}",
    )
    yield Figure(what="... get-runs for them", measured=asked["RUN"], bound=at_most(0))


def _scraped(exporter: ExporterProcess) -> Answered:
    time.sleep(_BETWEEN_SCRAPES_S)
    return exporter.get("/metrics")


def _plan(deployment: Deployment, runs: int, *, delivered: bool = True) -> LedgerPlan:
    return LedgerPlan(
        base_url=deployment.base_url,
        runs=runs,
        agents=_AGENTS,
        now_ns=time.time_ns(),
        delivered=delivered,
    )


def _exporter_seconds(
    deployment: Deployment, *, few: int, many: int, requests_per_minute: int = 600_000
) -> float:
    """Processor time a run, as the difference of two totals: what a start costs falls out.

    Not between two moments of one life: fetching runs ahead of delivery, so that at no moment
    before the end the work that is done is that of a known number of runs.
    """
    spent = []
    for runs in (few, many):
        deployment.start_conduit(runs=runs)
        before = deployment.received()
        ledger = deployment.folder / f"{runs}-{requests_per_minute}.db"
        pace = {"CONDUIT_REQUESTS_PER_MINUTE": str(requests_per_minute)}
        with deployment.exporter(ledger, **_FAST | pace) as exporter:
            _until(deployment, before + runs)
            _until_settled(exporter)
            spent.append(exporter.processor_s())
        if runs == few:
            deployment.stop_conduit()
    return (spent[1] - spent[0]) / (many - few)


def _until_settled(exporter: ExporterProcess) -> None:
    """Until what the sink has taken is noted as delivered."""
    eventually(
        lambda: True if not exporter.metric("conduit_exporter_traces_pending") else None,
        what="an empty outbox",
        timeout_s=_TIMEOUT_S,
    )


def _until(deployment: Deployment, traces: int) -> None:
    eventually(
        lambda: True if deployment.received() >= traces else None,
        what=f"{traces} traces",
        timeout_s=_TIMEOUT_S,
    )


def _script(deployment: Deployment, what: str, *options: str) -> float:
    """Processor time a run of a plain script."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "bench.clients", what),
            *("--base-url", deployment.base_url, "--ids", deployment.ids),
            *("--otlp", deployment.otlp),
            *options,
        ],
        check=True,
        stdout=subprocess.PIPE,
        timeout=_TIMEOUT_S,
    )
    told = json.loads(ended.stdout)
    return float(told["processor_s"] / told["runs"])
