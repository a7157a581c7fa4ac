"""A trace as a tree to read, for `convert`: plain text, no colours, every value on its own line.

It decides nothing about a trace and sends nothing. What a terminal would obey (escapes, characters
that turn the line around) is shown, not obeyed.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from exporter.convert.spans import Trace
from exporter.logs import escape

_SECOND_NS: Final = 1_000_000_000


def render_tree(trace: Trace) -> str:
    """The trace as lines of text without an end of line."""
    root, *children = trace.spans
    lines = [f"trace {trace.trace_id.hex()}"]
    lines += _span_lines(root, first="", rest="│  " if children else "   ")
    for child in children:
        last = child is children[-1]
        first, rest = ("└─ ", "   ") if last else ("├─ ", "│  ")
        lines += _span_lines(child, first=first, rest=rest)
    return "\n".join(lines)


def _span_lines(span: ReadableSpan, *, first: str, rest: str) -> list[str]:
    """A span's name and what is known of it; `first` and `rest` lead its lines."""
    status = span.status.status_code.name.lower()
    description = span.status.description
    facts = {
        "time": _time(span),
        "kind": span.kind.name.lower(),
        "status": f"{status}: {description}" if description else status,
        **{name: _value(value) for name, value in (span.attributes or {}).items()},
    }
    width = max(map(len, facts))
    return [
        f"{first}{escape(span.name)}",
        *(f"{rest}  {name:<{width}}  {escape(text)}" for name, text in facts.items()),
    ]


def _time(span: ReadableSpan) -> str:
    """From when on and how long; the attributes say how that is known."""
    start_ns, end_ns = span.start_time or 0, span.end_time or 0
    seconds, fraction_ns = divmod(start_ns, _SECOND_NS)
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    length = Decimal(end_ns - start_ns).scaleb(-9)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{fraction_ns:09d} UTC, {length:.9f} s"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # Never 1e-05: a cost is read by people.
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else str(value)
