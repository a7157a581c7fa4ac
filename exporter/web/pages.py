"""Renders every page, as HTML or, with `?format=json`, as the values that it shows.

A page is a mapping of plain values; times are nanoseconds since the Unix epoch, None where
something has not happened yet. Any text in it may come from outside and is escaped. A page has no
script and loads nothing but its own style.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES: Final = Path(__file__).parent / "templates"
# Where the pages and the alerts send whoever asks what to do.
RUNBOOKS: Final = "https://github.com/conduit-exporter/conduit-exporter/blob/main/docs/RUNBOOKS.md"
_REFRESH_S: Final = 30
_MAX_TEXT: Final = 300
_MILLI: Final = 1_000_000
_NANO: Final = 1_000_000_000
# The larger unit of a duration in seconds, and the smaller one beside it.
_SPANS: Final = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
_SMALLEST_USD: Final = Decimal("0.0001")


def render_page(
    request: Request, template: str, page: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK
) -> Response:
    """The answer to a request for a page; `template` is a file of the folder of templates."""
    if request.query_params.get("format") == "json":
        return Response(json.dumps(page, default=str), status, media_type="application/json")
    # Links are relative, so that the pages can be served below a path by a proxy.
    root = "../" * (request.scope["raw_path"].count(b"/") - 1) or "./"
    refresh_s = 0 if request.query_params.get("refresh") == "0" else _REFRESH_S
    html = _environment().get_template(template).render(page=page, root=root, refresh_s=refresh_s)
    # In a header: a page that refreshes by an element of its own cannot be told not to.
    headers = {"refresh": str(refresh_s)} if template == "status.html" and refresh_s else {}
    return HTMLResponse(html.encode(errors="replace"), status, headers)


def render_refusal(request: Request, status: HTTPStatus, text: str) -> Response:
    """The answer where there is nothing to show: why."""
    return render_page(request, "refusal.html", {"title": status.phrase, "error": text}, status)


def count(number: float) -> str:
    """A number for people: `12,345`, `0.5`."""
    return f"{number:,.0f}" if number == int(number) else f"{number:,g}"


def usd(amount: Decimal | str) -> str:
    """US dollars: cents from a dollar on, hundredths of a cent below."""
    value = Decimal(amount)
    if 0 < value < _SMALLEST_USD:
        return f"< ${_SMALLEST_USD}"
    return f"${value:,.4f}" if 0 < value < 1 else f"${value:,.2f}"


def span(duration_ns: int) -> str:
    """An age in its two largest units; a negative one (a clock was set) is zero."""
    seconds = max(0, duration_ns) // _NANO
    for large, large_name, small, small_name in _SPANS:
        if seconds >= large:
            rest = seconds % large // small
            return f"{seconds // large} {large_name}" + (f" {rest} {small_name}" if rest else "")
    return f"{seconds} s"


def took(duration_ns: int) -> str:
    """How long something took: to the millisecond below a second, to a tenth below a minute."""
    if duration_ns < _NANO:
        return f"{duration_ns / _MILLI:.0f} ms"
    if duration_ns < 60 * _NANO:
        return f"{duration_ns / _NANO:.1f} s"
    return span(duration_ns)


def moment(at_ns: int) -> str:
    """A time as ISO 8601 in UTC, to the second."""
    return f"{datetime.fromtimestamp(at_ns // _NANO, UTC):%Y-%m-%dT%H:%M:%SZ}"


def brief(text: str) -> str:
    """The text, cut to what a table can bear."""
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}\N{HORIZONTAL ELLIPSIS}"


def share(part: float, whole: float) -> str:
    """A part of a whole in per cent, for drawings."""
    return f"{min(max(part / whole, 0), 1):.1%}" if whole else "0%"


def query(filters: Mapping[str, str], **changes: str | None) -> str:
    """The filters of a list as a URL's query; None and an empty text leave one out."""
    kept = {name: value for name, value in {**filters, **changes}.items() if value}
    return f"?{urlencode(kept, errors='replace')}" if kept else ""


def run_path(run: Mapping[str, Any]) -> str:
    """Where the page of a run is, below the root."""
    ids = (quote(run[name], safe="", errors="replace") for name in ("agent_id", "id"))
    return "runs/" + "/".join(ids)


def runbook(alert: str) -> str:
    """The address of what to do about an alert."""
    return f"{RUNBOOKS}#{alert.lower()}"


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
    filters: tuple[Callable[..., str], ...] = (
        *(count, usd, span, took, moment, brief),
        *(share, query, run_path, runbook),
    )
    environment.filters.update({one.__name__: one for one in filters})
    return environment
