"""The status page: everything that it shows, and that no name on it can do anything."""

import json
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

import exporter.web
from exporter.web import pages
from tests.fakes import START_NS
from tests.web_support import SECOND_NS, make_status

HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{ 7*7 }}{% raw %}&amp;"""
# The elements that the page is made of; there is nothing in it that runs, loads or sends.
ELEMENTS = re.compile(
    "html|head|meta|title|link|body|header|h1|nav|a|main|section|h2|ul|li|bdi|dl|div|dt|dd|"
    "span|time|code|p|table|thead|tbody|tr|th|td|footer"
)
ATTRIBUTES = re.compile(
    "lang|charset|name|content|http-equiv|rel|href|class|aria-label|datetime|title|scope"
)


class Seen(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.classes: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "href":
                self.links.append(value or "")
            if name == "class":
                self.classes.append(value or "")
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "every element is closed in its turn"

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def html_of(status: dict[str, Any], path: str = "/", query: str = "") -> str:
    request = Request({"type": "http", "path": path, "query_string": query.encode(), "headers": []})
    body = pages.render_page(request, "status.html", pages.status_page(status)).body
    return bytes(body).decode()


def with_names(text: str) -> dict[str, Any]:
    """A status in which every text from outside is this one."""
    status = make_status()
    status.update(version=text, revision=text, not_ready=(text,))
    workspace = status["workspaces"][0]
    workspace.update(id=text, name=text, problem=text, up=False)
    workspace["agents"][0].update(id=text, name=text)
    status["delivery"].update(endpoint=text, problem=text)
    status["ledger"].update(location=text, problem=text)
    return status


def test_every_value_is_shown() -> None:
    """In words and units that a person reads without a calculator."""
    seen = Seen(html_of(make_status()))
    for part in (
        "Ready Harbor Hotels ws_1 Conduit API answers Last contact 4 s ago",
        "Budget 90 requests a minute Runs awaiting detail 289",
        "Concierge 5 s ago 1,234,567 37 ag_1",
        "Go to http://collector:4318/v1/traces Last delivered 1 min 1 s ago",
        "Delivered 5,501 traces, 22,003 spans Rejected 41 traces, 173 spans",
        "In the outbox 68 to deliver, 0 parked Oldest of them 1 h 1 min ago",
        "Outbox size 4.9 KiB of 1.0 GiB",
        "Lies in sqlite:///ledger.db Size 1.6 MiB",
        "Version 9.8.7 , revision c0ffee ; started 1 d 2 h ago . As of 2026-04-03T03:04:15Z",
    ):
        assert part in seen.text
    assert "banner good" in seen.classes


def test_the_same_values_are_there_for_scripts() -> None:
    """`?format=json` gives what the page shows, whatever characters it has."""
    status = with_names("\ud800<b>")
    shown = json.loads(html_of(status, query="format=json"))
    assert shown["workspaces"][0]["agents"][0]["name"] == "\ud800<b>"
    assert shown["problems"][0] == "Workspace \ud800<b>: \ud800<b>"
    assert shown.keys() == {*status, "problems"}


def test_what_has_not_happened_is_said_in_words() -> None:
    """A fresh start shows no zero time and no nothing."""
    status = make_status()
    workspace = status["workspaces"][0]
    workspace.update(up=None, last_contact_ns=None)
    workspace["agents"][0]["last_poll_ns"] = None
    status["workspaces"] = (workspace, {**workspace, "id": "ws_2", "name": "", "agents": ()})
    status["delivery"].update(endpoint=None, last_delivered_ns=None)
    status["outbox"]["oldest_ns"] = None
    text = Seen(html_of(status)).text
    for part in (
        "Conduit API not asked yet Last contact none yet",
        "Concierge not yet 1,234,567 37 ag_1",
        "ws_2 ws_2 Conduit API",
        "No agents are known yet.",
        "Go to nowhere: traces are not exported Last delivered none since the start",
        "Oldest of them none waits",
    ):
        assert part in text
    assert "None is known yet." in Seen(html_of({**status, "workspaces": ()})).text


def test_who_is_unready_is_told_why() -> None:
    """First of all, and in the title of the window."""
    status = make_status()
    status["not_ready"] = ("The first reason", "The second reason")
    seen = Seen(html_of(status))
    assert seen.text.startswith("Not ready - conduit-exporter")
    assert "Not ready The first reason The second reason Harbor Hotels" in seen.text
    assert "banner bad" in seen.classes


def test_problems_stand_at_the_top() -> None:
    """What an operator should look at although the exporter is ready."""
    status = make_status()
    status["workspaces"][0].update(up=False, problem="the token has no access")
    status["delivery"]["problem"] = "no connection"
    status["outbox"].update(traces_parked=1_002, stored_bytes=1024**3)
    status["ledger"]["problem"] = "the disk is full"
    seen = Seen(html_of(status))
    assert "banner warn" in seen.classes
    assert (
        "Ready, but needs attention Workspace ws_1: the token has no access "
        "Delivery: no connection "
        "The outbox is full: no details are fetched until traces are delivered "
        "1,002 traces are parked: the backend refused them "
        "Ledger: the disk is full Harbor Hotels"
    ) in seen.text
    assert "Conduit API fails" in seen.text


def test_a_hostile_name_is_text() -> None:
    """Whatever it holds, the page is made of the same elements and shows it as it is."""
    html = html_of(with_names(HOSTILE))
    seen = Seen(html)
    assert all(map(ELEMENTS.fullmatch, seen.elements))
    assert all(map(ATTRIBUTES.fullmatch, seen.attributes))
    assert "<script" not in html
    assert "<img" not in html
    assert HOSTILE in seen.text
    assert seen.links == ["data:,", "./style.css", "./metrics", "./-/healthy", "./-/ready"]


@pytest.mark.parametrize("text", ["\ud800", "\x00\x1b[31m", "\u202e\u2066", "\u00e9\U0001f600"])
def test_an_odd_character_breaks_nothing(text: str) -> None:
    """Half a character becomes a question mark; a direction ends with its name."""
    html = html_of(with_names(text))
    assert html.rstrip().endswith("</html>")
    assert f"<bdi>{text.replace(chr(0xD800), '?')}</bdi>" in html


def test_a_long_name_is_cut() -> None:
    """One name cannot bury the rest of the page."""
    assert len(html_of(with_names("x" * 1_000_000))) < 20_000


def test_links_lead_to_the_root_from_everywhere() -> None:
    """Relative ones, so that a proxy may serve the pages below a path of its own."""
    assert '"../../metrics"' in html_of(make_status(), path="/runs/ag_1/run_1")


def test_the_style_has_every_colour_for_light_and_dark() -> None:
    """A colour that only one of them names would be unreadable in the other."""
    folder = Path(exporter.web.__file__).parent
    style = (folder / "style.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    names = re.compile(r"--[a-z-]+(?=:)")
    assert names.findall(light) == names.findall(dark)
    assert "url(" not in style
    assert "@import" not in style
    for template in (folder / "templates").iterdir():
        assert "style=" not in template.read_text(), "the policy forbids it"


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (7290, "2 h 1 min"),
        (90_000, "1 d 1 h"),
        (8_640_000, "100 d"),
    ],
)
def test_a_duration_has_two_units(duration_s: float, text: str) -> None:
    """A clock that was set back makes none of it negative."""
    assert pages.span(round(duration_s * SECOND_NS)) == text


@pytest.mark.parametrize(
    ("stored_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_572_864, "1.5 MiB"),
        (5 * 1024**5, "5120.0 TiB"),
    ],
)
def test_a_size_has_a_unit(stored_bytes: int, text: str) -> None:
    """Of 1024, as the settings have it."""
    assert pages.size(stored_bytes) == text


def test_numbers_and_moments_are_for_people() -> None:
    """Grouped digits, fractions only where there are any; times in UTC, in the form that sorts."""
    shown = [pages.count(number) for number in (0, 1234567, 90.0, 0.5)]
    assert shown == ["0", "1,234,567", "90", "0.5"]
    assert pages.moment(START_NS) == "2026-04-03T03:04:15Z"
