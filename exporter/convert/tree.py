"""A trace as a tree to read, for `convert`: plain text, no colours, every value on its own line.

It decides nothing about a trace and sends nothing. What a terminal would obey (escapes, characters
that turn the line around) is shown, not obeyed.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from exporter.convert.spans import AttributeValue, Span, StatusCode, Trace
from exporter.convert.timeline import SYNTHETIC

_SECOND_NS: Final = 1_000_000_000
_DAY_CHARS: Final = len("2026-04-03 ")
_TIMINGS: Final = ("conduit.timing", "conduit.tool.timing")
_BRANCH: Final = "├─ "
_LAST_BRANCH: Final = "└─ "
_TRUNK: Final = "│  "
_NOTHING: Final = "   "


def render_tree(trace: Trace) -> str:
    """The trace as lines of text without an end of line; times are UTC, to the last known digit."""
    root, *children = trace.spans
    lines = [f"trace {trace.trace_id.hex()}", f"  {_origin(root)}"]
    lines += _span_lines(root, root, first="", rest=_TRUNK if children else _NOTHING)
    for child in children:
        last = child is children[-1]
        lines += _span_lines(
            child,
            root,
            first=_LAST_BRANCH if last else _BRANCH,
            rest=_NOTHING if last else _TRUNK,
        )
    return "\n".join(lines)


def _origin(root: Span) -> str:
    """Where the trace id comes from."""
    raw = str(dict(root.attributes).get("conduit.trace.id", ""))
    given, used = raw.replace("-", "").lower(), root.trace_id.hex()
    if given == used:
        return "id as Conduit gives it"
    if raw and given.rjust(len(used), "0") == used:
        return f"id from Conduit's {_shown(raw)}, padded"
    reason = f"Conduit's {_shown(raw)} is none" if raw else "Conduit gives none"
    return f"id derived from workspace and run: {reason}"


def _span_lines(span: Span, root: Span, *, first: str, rest: str) -> list[str]:
    """A span's name and what is known of it; `first` and `rest` lead its lines."""
    facts = [
        ("time", _time(span, root)),
        ("kind", span.kind.name.lower()),
        ("status", _status(span)),
        *((name, _value(value)) for name, value in span.attributes),
    ]
    width = max(len(name) for name, _ in facts)
    return [
        f"{first}{_shown(span.name)}",
        *(f"{rest}  {name:<{width}}  {text}" for name, text in facts),
    ]


def _time(span: Span, root: Span) -> str:
    """From when to when, and whether that was measured."""
    attributes = dict(span.attributes)
    timing = next((str(attributes[name]) for name in _TIMINGS if name in attributes), "")
    start, end = _instant(span.start_ns), _instant(span.end_ns)
    day = _instant(root.start_ns)[:_DAY_CHARS]
    if span is not root:
        # A tool call is read against its run: the day is on the run's line.
        start = start.removeprefix(day)
    end = end.removeprefix(day)
    if span.start_ns == span.end_ns:
        text = f"{start} UTC, an instant"
    else:
        text = f"{start} to {end} UTC, {_seconds(span.end_ns - span.start_ns)} s"
    mark = f"{timing}: drawn, not measured" if timing == SYNTHETIC else timing
    return f"{text} ({mark})" if mark else text


def _status(span: Span) -> str:
    name = span.status.name.lower()
    if span.status is StatusCode.ERROR and span.description:
        return f"{name}: {_shown(span.description)}"
    return name


def _instant(instant_ns: int) -> str:
    seconds, fraction_ns = divmod(instant_ns, _SECOND_NS)
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{_fraction(fraction_ns)}"


def _seconds(length_ns: int) -> str:
    seconds, fraction_ns = divmod(length_ns, _SECOND_NS)
    return f"{seconds}.{_fraction(fraction_ns)}"


def _fraction(fraction_ns: int) -> str:
    """Milliseconds, or as many digits more, by threes, as say something."""
    digits = f"{fraction_ns:09d}"
    while len(digits) > len("000") and digits.endswith("000"):
        digits = digits[:-3]
    return digits


def _value(value: AttributeValue) -> str:
    if isinstance(value, str):
        return _shown(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    # Never 1e-05: a cost is read by people.
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else str(value)


def _shown(text: str) -> str:
    """The text on one line, with whatever does not print spelt out."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
