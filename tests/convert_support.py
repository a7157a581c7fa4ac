"""What tests of the conversion share: the documented run, options, and any JSON.

`python -m tests.convert_support` pins the golden bytes anew, where the spans were meant to change.
"""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from exporter.app.offline import traces_of
from exporter.conduit.models import Run, RunDetail, Unreadable
from exporter.convert.otlp import encode_trace
from exporter.convert.spans import Trace
from exporter.convert.trace import ConvertOptions, run_to_trace
from tests.factories import make_run

FIXTURES = Path(__file__).parent / "fixtures"
EXAMPLE = FIXTURES / "run_example.json"
OPTIONS = ConvertOptions()
CONTENT = ConvertOptions(capture_content=True)
RICH = ConvertOptions(
    service_name="hotels",
    resource_attributes=(
        ("team", "night\u2011shift"),
        ("deployment.environment.name", "production"),
    ),
    tool_timing="slices",
    capture_content=True,
    server_port=8443,
)
# Runs whose bytes are pinned: the name of their files, how to convert them.
GOLDEN = {"run_example": OPTIONS, "rich_run": RICH}

# With lone surrogates, NUL and all else that a text of JSON may spell.
ANY_TEXT = st.text(st.characters(), max_size=40)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | ANY_TEXT
    | st.sampled_from(("jane@example.com", "4111 1111 1111 1111", "2026-04-03T03:14:16Z", "tool"))
)
# The keys that mean something, so that their values are tried as well.
_KEYS = ANY_TEXT | st.sampled_from(
    (
        *("name", "tool", "function", "input", "args", "output", "error", "status", "ok", "params"),
        *("started_at", "endedAt", "duration_ms", "tool_call_id", "id", "error_type", "type"),
        *("tool_calls", "content", "role", "toolResult", "functionCall", "data", "method", "parts"),
    )
)
ANY_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=12,
)


def example() -> dict[str, Any]:
    """The documented run, without the envelope."""
    run: dict[str, Any] = json.loads(EXAMPLE.read_bytes())["data"]
    return run


def convert_json(document: Any, options: ConvertOptions = OPTIONS, **over: Any) -> Trace:
    """The only trace of a document, as `convert` makes it."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    (trace,) = traces_of(text, agent_name=over.get("agent_name"), options=options)
    assert not isinstance(trace, Unreadable), trace
    return trace


def golden(name: str) -> Trace:
    """The trace of a run whose bytes are pinned."""
    return convert_json((FIXTURES / f"{name}.json").read_bytes(), GOLDEN[name], agent_name="Desk")


def trace_of(
    *items: Any,
    options: ConvertOptions = OPTIONS,
    run: Run | None = None,
    agent_name: str | None = None,
    **detail: Any,
) -> Trace:
    """The trace of a run with these tool items."""
    whole = RunDetail(run=run or make_run(), tool_trace=items, **detail)
    return run_to_trace(whole, agent_name=agent_name, options=options)


def said(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes by name."""
    return dict(span.attributes or {})


def status(span: ReadableSpan) -> tuple[StatusCode, str | None]:
    """A span's status and why."""
    return span.status.status_code, span.status.description


if __name__ == "__main__":
    for file_name in GOLDEN:
        (FIXTURES / f"{file_name}.binpb").write_bytes(encode_trace(golden(file_name)))
