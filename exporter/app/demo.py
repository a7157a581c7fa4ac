"""`demo`: the whole exporter, unchanged, against a simulated Conduit on a loopback port.

Nothing of it is left behind: the ledger lies in a folder that goes when the demo ends.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from exporter.app.daemon import serve
from exporter.clock import SystemClock
from exporter.convert.otlp import attributes_of, payload_to_spans
from exporter.delivery.outcome import Accepted, Outcome
from exporter.settings.loading import load
from exporter.settings.model import Settings
from exporter.settings.values import ListenAddress
from exporter.simulator.conduit import SimulatedConduit
from exporter.simulator.data import SimulatedData
from exporter.simulator.hotel import DEMO_TOKEN, hospitality
from exporter.simulator.server import serve as serve_conduit

_POLL_INTERVAL: Final = "5s"
# Conduit's documented limit, which the simulation keeps: here nobody else needs a part of it.
_REQUESTS_PER_MINUTE: Final = "118"
_DOCUMENTED_LIMIT: Final = 120
_SMALLEST_USD: Final = 0.0001
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_JAEGER: Final = "http://localhost:16686"

Print = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """A demonstration: the exporter against a simulated Conduit.

    `otlp` holds OTEL_EXPORTER_OTLP_ settings by name; where it is empty nobody named a trace
    backend, and traces are printed. `trace_link` is EXPORTER_TRACE_LINK; a backend on this machine
    is taken for a Jaeger where it is None. `rate` 1 is a new run every few seconds, `duration_s`
    None is until it is told to stop.
    """

    listen: ListenAddress
    otlp: Mapping[str, str] = field(default_factory=dict, repr=False)
    trace_link: str | None = None
    seed: int = 1
    rate: float = 1.0
    duration_s: float | None = None


async def run_demo(options: DemoOptions, *, write: Print, stop: asyncio.Event) -> int:
    """Run until `stop`, or for the options' duration; the exit code."""
    # Of a ledger that goes with the demo there is nothing to warn; the rest stands in the welcome.
    for name in ("exporter.app", "exporter.ledger"):
        logging.getLogger(name).setLevel(logging.ERROR)
    clock = SystemClock()
    scenario = hospitality(seed=options.seed, start_ns=clock.now_ns(), rate=options.rate)
    conduit = SimulatedConduit(
        SimulatedData(now_ns=clock.now_ns, scenario=scenario),
        requests_per_minute=_DOCUMENTED_LIMIT,
    )
    if options.duration_s is not None:
        asyncio.get_running_loop().call_later(options.duration_s, stop.set)
    with TemporaryDirectory(prefix="conduit-exporter-demo-") as folder:
        async with serve_conduit(conduit) as base_url:
            settings = _settings(options, base_url, Path(folder))
            return await serve(
                settings,
                stop=stop,
                sender=None if options.otlp else TraceLines(write),
                on_started=lambda url: write(_welcome(settings, url, otlp=bool(options.otlp))),
            )


def _settings(options: DemoOptions, base_url: str, folder: Path) -> Settings:
    return load(
        {
            "CONDUIT_API_TOKEN": DEMO_TOKEN,
            "CONDUIT_BASE_URL": base_url,
            "CONDUIT_REQUESTS_PER_MINUTE": _REQUESTS_PER_MINUTE,
            "EXPORTER_LISTEN": str(options.listen),
            "EXPORTER_LEDGER": f"sqlite:///{folder / 'demo.db'}",
            "EXPORTER_POLL_INTERVAL": _POLL_INTERVAL,
            "EXPORTER_TRACE_LINK": options.trace_link or _link_to_jaeger(options.otlp),
            **options.otlp,
        }
    )


def _link_to_jaeger(otlp: Mapping[str, str]) -> str:
    """The page of a trace in a Jaeger with its usual ports; empty for a backend elsewhere."""
    endpoint = otlp.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or otlp.get(
        "OTEL_EXPORTER_OTLP_ENDPOINT", ""
    )
    host = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").hostname
    return f"{_JAEGER}/trace/{{trace_id}}" if host in _LOOPBACK else ""


def _welcome(settings: Settings, url: str, *, otlp: bool) -> str:
    if otlp:
        traces = settings.otlp_target.destination
        if settings.trace_link is not None:
            link = urlsplit(settings.trace_link)
            traces += f", linked from the pages to {link.scheme}://{link.netloc}"
    else:
        traces = "printed here; --otlp-endpoint http://localhost:4318 sends them to a backend"
    return (
        "\n"
        "  A hotel group at work: 2 workspaces, 5 agents, "
        f"a simulated Conduit at {settings.base_url}\n"
        "\n"
        f"  Metrics   {url}/metrics\n"
        f"  Status    {url}/\n"
        f"  Traces    {traces}\n"
        "\n"
        "  Ctrl-C ends the demo.\n"
    )


class TraceLines:
    """Stands in for a trace backend where none is given: writes each trace as a line."""

    destination: Final = "this terminal"

    def __init__(self, write: Print) -> None:
        self._write = write

    async def send(self, payload: bytes) -> Outcome:
        """Write every trace of a request."""
        for _, spans in groupby(payload_to_spans(payload), key=lambda span: span.trace_id):
            # In a thread: a pipe that nobody reads stops delivery alone.
            await asyncio.to_thread(self._write, trace_line(spans))
        return Accepted()

    async def aclose(self) -> None:
        """There is nothing to close."""


def trace_line(spans: Iterable[Span]) -> str:
    """A trace on a line: who ran, how long, at what price, and the tools that were called."""
    root, *tools = spans
    said = attributes_of(root)
    seconds = (root.end_time_unix_nano - root.start_time_unix_nano) / 1e9
    tokens = (said.get("gen_ai.usage.input_tokens"), said.get("gen_ai.usage.output_tokens"))
    counted = "- tokens" if None in tokens else f"{tokens[0]} + {tokens[1]} tokens"
    cost = said.get("conduit.run.cost_usd")
    price = "unpriced" if cost is None else _price(float(cost))
    outcome = said.get("conduit.run.disposition") or said["conduit.run.status"]
    names = ", ".join(span.name.removeprefix("execute_tool ") for span in tools) or "no tools"
    agent = said.get("gen_ai.agent.name", "")
    return (
        f"trace {root.trace_id.hex()}  {agent:<21}  {seconds:6.1f} s  {counted:>21}  {price:>12}  "
        f"{outcome:<21}  {names}"
    )


def _price(usd: float) -> str:
    return "< 0.0001 USD" if 0 < usd < _SMALLEST_USD else f"{usd:.4f} USD"
