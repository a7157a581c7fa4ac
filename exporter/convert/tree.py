"""A trace as a tree to read, for `convert`: plain text, no colours, every value on its own line.

It decides nothing about a trace and sends nothing. What a terminal would obey (escapes, characters
that turn the line around) is shown, not obeyed.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan

from exporter.convert.spans import Trace
from exporter.convert.timeline import INSTANT_NS, SYNTHETIC

_SECOND_NS: Final = 1_000_000_000
_DAY_CHARS: Final = len("2026-04-03 ")
_TIMINGS: Final = ("conduit.timing", "conduit.tool.timing")


def render_tree(trace: Trace) -> str:
    """The trace as lines of text without an end of line; times are UTC, to the last known digit."""
    root, *children = trace.spans
    lines = [f"trace {trace.trace_id.hex()}", f"  {_origin(trace)}"]
    lines += _span_lines(root, root, first="", rest="│  " if children else "   ")
    for child in children:
        last = child is children[-1]
        first, rest = ("└─ ", "   ") if last else ("├─ ", "│  ")
        lines += _span_lines(child, root, first=first, rest=rest)
    return "\n".join(lines)


def _origin(trace: Trace) -> str:
    """Where the trace id comes from."""
    raw = str(_attributes(trace.spans[0]).get("conduit.trace.id", ""))
    given, used = raw.replace("-", "").lower(), trace.trace_id.hex()
    if given == used:
        return "id as Conduit gives it"
    if raw and given.rjust(len(used), "0") == used:
        return f"id from Conduit's {_shown(raw)}, padded"
    reason = f"Conduit's {_shown(raw)} is none" if raw else "Conduit gives none"
    return f"id derived from workspace and run: {reason}"


def _span_lines(span: ReadableSpan, root: ReadableSpan, *, first: str, rest: str) -> list[str]:
    """A span's name and what is known of it; `first` and `rest` lead its lines."""
    status = span.status.status_code.name.lower()
    description = span.status.description
    facts = {
        "time": _time(span, root),
        "kind": span.kind.name.lower(),
        "status": f"{status}: {description}" if description else status,
        **{name: _value(value) for name, value in _attributes(span).items()},
    }
    width = max(map(len, facts))
    return [
        f"{first}{_shown(span.name)}",
        *(f"{rest}  {name:<{width}}  {_shown(text)}" for name, text in facts.items()),
    ]


def _attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def _time(span: ReadableSpan, root: ReadableSpan) -> str:
    """From when to when, and whether that was measured."""
    attributes = _attributes(span)
    timing = next(str(attributes[name]) for name in _TIMINGS if name in attributes)
    start_ns, end_ns = span.start_time or 0, span.end_time or 0
    start, end = _instant(start_ns), _instant(end_ns)
    day = _instant(root.start_time or 0)[:_DAY_CHARS]
    if span is not root:
        # A tool call is read against its run: the day is on the run's line.
        start = start.removeprefix(day)
    if end_ns - start_ns <= INSTANT_NS:
        text = f"{start} UTC, an instant"
    else:
        length = _fixed(Decimal(end_ns - start_ns).scaleb(-9))
        text = f"{start} to {end.removeprefix(day)} UTC, {length} s"
    return (
        f"{text} ({timing}: drawn, not measured)" if timing == SYNTHETIC else f"{text} ({timing})"
    )


def _instant(instant_ns: int) -> str:
    seconds, fraction_ns = divmod(instant_ns, _SECOND_NS)
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}{_fixed(Decimal(fraction_ns).scaleb(-9))[1:]}"


def _fixed(seconds: Decimal) -> str:
    """With milliseconds, or as many digits more, by threes, as say something."""
    text = f"{seconds:.9f}"
    while text.endswith("000") and not text.endswith(".000"):
        text = text[:-3]
    return text


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # Never 1e-05: a cost is read by people.
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else str(value)


def _shown(text: str) -> str:
    """The text on one line, with whatever does not print spelt out."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
