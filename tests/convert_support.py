"""What tests of the conversion share: the documented run, options, and any JSON."""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from exporter.app.offline import traces_of
from exporter.convert.spans import AttributeValue, Span, Trace
from exporter.convert.trace import ConvertOptions, run_to_trace
from exporter.conduit.models import Run, RunDetail, Unreadable
from tests.factories import make_run

FIXTURES = Path(__file__).parent / "fixtures"
EXAMPLE = FIXTURES / "run_example.json"
OPTIONS = ConvertOptions()
CONTENT = ConvertOptions(capture_content=True)

# With lone surrogates, NUL and all else that a text of JSON may spell.
ANY_TEXT = st.text(st.characters(), max_size=40)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | ANY_TEXT
    | st.sampled_from(("jane@example.com", "4111 1111 1111 1111", "2026-04-03T03:14:16Z"))
)
# The keys that mean something, so that their values are tried as well.
_KEYS = ANY_TEXT | st.sampled_from(
    (
        *("name", "tool", "function", "input", "args", "output", "error", "status", "ok"),
        *("started_at", "endedAt", "duration_ms", "tool_call_id", "id", "error_type"),
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


def said(span: Span) -> dict[str, AttributeValue]:
    """A span's attributes by name, each there once."""
    attributes = dict(span.attributes)
    assert len(attributes) == len(span.attributes)
    return attributes
