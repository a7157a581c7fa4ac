"""The status page: a StatusView as HTML that needs no script and nothing from elsewhere.

Every name on it may come from outside and is escaped; whatever is shown was handed in.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exporter.web.view import StatusView

if TYPE_CHECKING:
    from jinja2 import Template

CONTENT_TYPE: Final = "text/html; charset=utf-8"

_FOLDER: Final = Path(__file__).parent
_LONGEST_TEXT: Final = 300
_NANO: Final = 1_000_000_000
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_KIBI: Final = 1024
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")


def render(view: StatusView) -> bytes:
    """The page; halves of characters become question marks."""
    text = _template().render(
        view=view, problems=tuple(problems_of(view)), css=_stylesheet(), now_ns=view.now_ns
    )
    return text.encode(errors="replace")


@lru_cache(maxsize=1)
def security_policy() -> str:
    """What the page may load: its own style, known by its hash, and an empty icon."""
    digest = base64.b64encode(hashlib.sha256(_stylesheet().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def problems_of(view: StatusView) -> Iterator[str]:
    """What an operator should look at although the exporter may be ready."""
    for workspace in view.workspaces:
        if workspace.problem is not None:
            yield f"Workspace {workspace.id}: {workspace.problem}"
    if view.delivery.problem is not None:
        yield f"Delivery: {view.delivery.problem}"
    if view.outbox.traces_pending and view.outbox.stored_bytes >= view.outbox.limit_bytes:
        yield "The outbox is full: no details are fetched until traces are delivered"
    if view.outbox.traces_parked:
        yield f"{count(view.outbox.traces_parked)} traces are parked: the backend refused them"
    if view.ledger.problem is not None:
        yield f"Ledger: {view.ledger.problem}"


def count(number: float) -> str:
    """A number for people: `12,345`, `0.5`."""
    return f"{number:,.0f}" if number == int(number) else f"{number:,g}"


def size(stored_bytes: int) -> str:
    """A number of bytes in the largest unit that leaves at least one."""
    amount, name = float(stored_bytes), "B"
    for unit in _UNITS:
        if amount < _KIBI:
            break
        amount, name = amount / _KIBI, unit
    return f"{amount:.0f} {name}" if name == "B" else f"{amount:.1f} {name}"


def span(duration_ns: int) -> str:
    """A duration in its two largest units; what is negative, after a clock was set, is none."""
    seconds = max(0, duration_ns) // _NANO
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return _two(seconds, _MINUTE, "min", 1, "s")
    if seconds < _DAY:
        return _two(seconds, _HOUR, "h", _MINUTE, "min")
    return _two(seconds, _DAY, "d", _HOUR, "h")


def moment(at_ns: int) -> str:
    """A time as ISO 8601 in UTC, to the second."""
    return f"{datetime.fromtimestamp(at_ns // _NANO, UTC):%Y-%m-%dT%H:%M:%SZ}"


def brief(text: str) -> str:
    """The text cut to what a table can bear."""
    return (
        text
        if len(text) <= _LONGEST_TEXT
        else f"{text[: _LONGEST_TEXT - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


def _two(seconds: int, large: int, large_name: str, small: int, small_name: str) -> str:
    rest = seconds % large // small
    whole = f"{seconds // large} {large_name}"
    return f"{whole} {rest} {small_name}" if rest else whole


@lru_cache(maxsize=1)
def _stylesheet() -> str:
    return (_FOLDER / "status.css").read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _template() -> "Template":
    import jinja2  # noqa: PLC0415 - costs memory, and only who opens the page needs it

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: tuple[Callable[..., str], ...] = (count, size, span, moment, brief)
    environment.filters.update({one.__name__: one for one in filters})
    return environment.from_string((_FOLDER / "status.html").read_text(encoding="utf-8"))
