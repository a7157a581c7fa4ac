"""What the exporter's processor time is compared with: plain scripts that read the same runs.

`bytes` and `json` only GET each run over one connection; `sdk` also makes spans of it with the
OpenTelemetry SDK's tracer, batch processor and OTLP exporter. Prints the seconds of processor time
of the whole process, all threads, from the fiftieth run on.
"""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import httpx

from bench.worlds import TOKEN

_WARM: Final = 50


@click.command()
@click.argument("what", type=click.Choice(["bytes", "json", "sdk"]))
@click.option("--base-url", required=True)
@click.option("--ids", type=click.Path(path_type=Path), required=True)
@click.option("--otlp", help="Where the SDK's exporter sends to.")
@click.option("--every", "every_s", default=0.0, help="Seconds between two requests.")
def main(
    what: str,
    *,
    base_url: str,
    ids: Path,
    otlp: str | None,
    every_s: float,
) -> None:
    """Read every run of the file once."""
    take: Callable[[bytes], object] = len
    finish: Callable[[], object] = bool
    if what == "json":
        take = json.loads
    if what == "sdk":
        take, finish = _tracer(f"{otlp}/v1/traces")
    names = ids.read_text().split()
    reading = _read(base_url, names, take, finish, transport=_httpx_transport, every_s=every_s)
    print(json.dumps(asyncio.run(reading)))


def _httpx_transport() -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1), trust_env=False)


async def _read(
    base_url: str,
    names: list[str],
    take: Callable[[bytes], object],
    finish: Callable[[], object],
    *,
    transport: Callable[[], httpx.AsyncBaseTransport],
    every_s: float,
) -> dict[str, float]:
    start_s = 0.0
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        base_url=base_url, headers=headers, transport=transport()
    ) as client:
        due_s = time.monotonic()
        for at, name in enumerate(names):
            if at == _WARM:
                start_s = time.process_time()
            if every_s:
                due_s += every_s
                await asyncio.sleep(due_s - time.monotonic())
            agent_id, _, run_id = name.partition("/")
            response = await client.get(f"/v1/agents/{agent_id}/runs/{run_id}")
            response.raise_for_status()
            take(response.content)
        finish()
    return {"processor_s": time.process_time() - start_s, "runs": len(names) - _WARM}


def _tracer(endpoint: str) -> tuple[Callable[[bytes], object], Callable[[], object]]:
    """Makes a trace of a run's JSON, the way an application would; and what sends the rest."""
    # Only this script pays for the SDK.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415

    provider = TracerProvider(resource=Resource({"service.name": "conduit"}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint), max_queue_size=1 << 20)
    )
    tracer = provider.get_tracer("script")

    def take(body: bytes) -> None:
        run: dict[str, Any] = json.loads(body)["data"]
        usage = run["token_usage"] or {}
        root = tracer.start_span(
            "invoke_agent",
            kind=SpanKind.CLIENT,
            attributes={
                key: value
                for key, value in (
                    ("gen_ai.operation.name", "invoke_agent"),
                    ("gen_ai.provider.name", "conduit"),
                    ("gen_ai.agent.id", run["agent_id"]),
                    ("gen_ai.conversation.id", run["conversation_id"]),
                    ("gen_ai.usage.input_tokens", usage.get("input")),
                    ("gen_ai.usage.output_tokens", usage.get("output")),
                    ("conduit.run.id", run["id"]),
                    ("conduit.run.status", run["status"]),
                    ("conduit.run.disposition", run["disposition"]),
                    ("conduit.run.cost_usd", run["total_cost"]),
                    ("conduit.workspace.id", run["workspace_id"]),
                    ("conduit.trace.id", run["trace_id"]),
                    ("session.id", run["session_id"]),
                )
                if value is not None
            },
        )
        context = set_span_in_context(root)
        for at, item in enumerate(run["tool_trace"]):
            tracer.start_span(
                f"execute_tool {item['name']}",
                context=context,
                attributes={
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": item["name"],
                    "gen_ai.agent.id": run["agent_id"],
                    "gen_ai.conversation.id": run["conversation_id"] or "",
                    "conduit.tool.index": at,
                    "conduit.tool.timing": "synthetic",
                },
            ).end()
        root.end()

    return take, provider.shutdown


if __name__ == "__main__":
    main()
