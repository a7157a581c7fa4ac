"""Renders every page, as HTML or, with `?format=json`, as the values that it shows.

A page is a mapping of plain values; times are nanoseconds since the Unix epoch, None where
something has not happened yet. Any text in it may come from outside and is escaped. A page has no
script and loads nothing but its own style.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES: Final = Path(__file__).parent / "templates"
_MAX_TEXT: Final = 300
_NANO: Final = 1_000_000_000
_KIBI: Final = 1024
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
# The larger unit of a duration in seconds, and the smaller one beside it.
_SPANS: Final = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def render_page(request: Request, template: str, page: Mapping[str, Any]) -> Response:
    """The answer to a request for a page; `template` is a file of the folder of templates."""
    if request.query_params.get("format") == "json":
        return Response(json.dumps(page, default=str), media_type="application/json")
    # Links are relative, so that the pages can be served below a path by a proxy.
    root = "../" * (request.url.path.count("/") - 1) or "./"
    html = _environment().get_template(template).render(page=page, root=root)
    return HTMLResponse(html.encode(errors="replace"))


def status_page(status: Mapping[str, Any]) -> dict[str, Any]:
    """The status page: `status` and what an operator should look at in it."""
    return {**status, "not_ready": list(status["not_ready"]), "problems": list(_problems(status))}


def count(number: float) -> str:
    """A number for people: `12,345`, `0.5`."""
    return f"{number:,.0f}" if number == int(number) else f"{number:,g}"


def size(stored_bytes: float) -> str:
    """A number of bytes in the largest unit that leaves at least one."""
    unit = 0
    while stored_bytes >= _KIBI and unit < len(_UNITS) - 1:
        stored_bytes, unit = stored_bytes / _KIBI, unit + 1
    return f"{stored_bytes:.{min(unit, 1)}f} {_UNITS[unit]}"


def span(duration_ns: int) -> str:
    """A duration in its two largest units; a negative one (a clock was set) is zero."""
    seconds = max(0, duration_ns) // _NANO
    for large, large_name, small, small_name in _SPANS:
        if seconds >= large:
            rest = seconds % large // small
            return f"{seconds // large} {large_name}" + (f" {rest} {small_name}" if rest else "")
    return f"{seconds} s"


def moment(at_ns: int) -> str:
    """A time as ISO 8601 in UTC, to the second."""
    return f"{datetime.fromtimestamp(at_ns // _NANO, UTC):%Y-%m-%dT%H:%M:%SZ}"


def brief(text: str) -> str:
    """The text, cut to what a table can bear."""
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}\N{HORIZONTAL ELLIPSIS}"


def _problems(status: Mapping[str, Any]) -> Iterator[str]:
    for workspace in status["workspaces"]:
        if workspace["problem"] is not None:
            yield f"Workspace {workspace['id']}: {workspace['problem']}"
    delivery, outbox = status["delivery"], status["outbox"]
    if delivery["problem"] is not None:
        yield f"Delivery: {delivery['problem']}"
    if outbox["traces_pending"] and outbox["stored_bytes"] >= outbox["limit_bytes"]:
        yield "The outbox is full: no details are fetched until traces are delivered"
    if outbox["traces_parked"]:
        yield f"{count(outbox['traces_parked'])} traces are parked: the backend refused them"
    if status["ledger"]["problem"] is not None:
        yield f"Ledger: {status['ledger']['problem']}"


@cache
def _environment() -> "Environment":
    import jinja2  # noqa: PLC0415 - 3 MiB that only who opens a page needs

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        auto_reload=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: tuple[Callable[..., str], ...] = (count, size, span, moment, brief)
    environment.filters.update({one.__name__: one for one in filters})
    return environment
