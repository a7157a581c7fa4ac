"""What the exporter's processor time is compared with: a plain script on the SDK's own pipeline.

Reads the same runs with httpx and makes traces of them with a tracer, the batch processor and the
OTLP exporter, at a pace; no ledger, no budget, no acknowledgement. Prints the processor seconds of
the whole process, all threads, from the twentieth run on, and for how many runs.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final

import click
import httpx
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Tracer, set_span_in_context

from bench.conduit_server import TOKEN

_WARM: Final = 20
_QUEUE: Final = 1 << 20
_ATTRIBUTES: Final = {
    "gen_ai.agent.id": "agent_id",
    "gen_ai.conversation.id": "conversation_id",
    "conduit.run.id": "id",
    "conduit.run.status": "status",
    "conduit.run.disposition": "disposition",
    "conduit.run.cost_usd": "total_cost",
    "conduit.workspace.id": "workspace_id",
    "conduit.trace.id": "trace_id",
    "session.id": "session_id",
}


@click.command()
@click.option("--base-url", required=True)
@click.option("--ids", type=click.Path(path_type=Path), required=True)
@click.option("--otlp", required=True)
@click.option("--per-minute", type=float, required=True)
@click.option("--runs", type=int, required=True)
def main(base_url: str, *, ids: Path, otlp: str, per_minute: float, runs: int) -> None:
    """Read and trace so many runs of the file."""
    provider = TracerProvider(resource=Resource({"service.name": "conduit"}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{otlp}/v1/traces"), max_queue_size=_QUEUE)
    )
    names = ids.read_text().split()[:runs]
    seconds = asyncio.run(_read(base_url, names, provider, every_s=60 / per_minute))
    print(json.dumps([seconds, len(names) - _WARM]))


async def _read(
    base_url: str, names: list[str], provider: TracerProvider, *, every_s: float
) -> float:
    tracer = provider.get_tracer("script")
    start_s = 0.0
    headers = {"Authorization": f"Bearer {TOKEN}"}
    due_s = time.monotonic()
    async with httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False) as client:
        for at, name in enumerate(names):
            if at == _WARM:
                start_s = time.process_time()
            due_s += every_s
            await asyncio.sleep(due_s - time.monotonic())
            agent_id, _, run_id = name.partition("/")
            response = await client.get(f"/v1/agents/{agent_id}/runs/{run_id}")
            response.raise_for_status()
            _trace(tracer, response.json()["data"])
        provider.shutdown()
    return time.process_time() - start_s


def _trace(tracer: Tracer, run: dict[str, Any]) -> None:
    """Make a trace of a run, the way an application would."""
    usage = run["token_usage"] or {}
    attributes = {name: run[key] for name, key in _ATTRIBUTES.items() if run[key] is not None}
    root = tracer.start_span(
        "invoke_agent",
        kind=SpanKind.CLIENT,
        attributes={
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": "conduit",
            "gen_ai.usage.input_tokens": usage.get("input", 0),
            "gen_ai.usage.output_tokens": usage.get("output", 0),
            **attributes,
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


if __name__ == "__main__":
    main()
