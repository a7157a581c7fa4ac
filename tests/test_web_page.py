"""The status page: everything that it shows, and that no name on it can do anything."""

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from exporter.web import page
from exporter.web.view import Readiness, StatusView
from tests.fakes import START_NS
from tests.web_support import SECOND_NS, make_status

HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{ 7*7 }}{% raw %}&amp;"""
# The elements that the page is made of; there is nothing in it that runs, loads or sends.
ELEMENTS = re.compile(
    "html|head|meta|title|link|style|body|header|h1|nav|a|main|section|h2|ul|li|bdi|dl|div|dt|dd|"
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
        if "style" not in self.open:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def shown(view: StatusView) -> Seen:
    return Seen(page.render(view).decode())


def with_names(text: str) -> StatusView:
    """A status in which every text from outside is this one."""
    view = make_status()
    workspace = view.workspaces[0]
    agent = replace(workspace.agents[0], id=text, name=text)
    return replace(
        view,
        version=text,
        revision=text,
        readiness=Readiness((text,)),
        workspaces=(
            replace(workspace, id=text, name=text, problem=text, agents=(agent,), up=False),
        ),
        delivery=replace(view.delivery, endpoint=text, problem=text),
        ledger=replace(view.ledger, location=text, problem=text),
    )


def test_every_value_is_shown() -> None:
    """In words and units that a person reads without a calculator."""
    text = shown(make_status()).text
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
        assert part in text


def test_what_has_not_happened_is_said_in_words() -> None:
    """A fresh start shows no zero time and no nothing."""
    view = make_status()
    workspace = view.workspaces[0]
    agent = replace(workspace.agents[0], last_poll_ns=None)
    fresh = replace(
        view,
        workspaces=(
            replace(workspace, up=None, last_contact_ns=None, agents=(agent,)),
            replace(workspace, id="ws_2", name="", agents=()),
        ),
        delivery=replace(view.delivery, endpoint=None, last_delivered_ns=None),
        outbox=replace(view.outbox, oldest_ns=None),
    )
    text = shown(fresh).text
    for part in (
        "Conduit API not asked yet Last contact none yet",
        "Concierge not yet 1,234,567 37 ag_1",
        "ws_2 ws_2 Conduit API",
        "No agents are known yet.",
        "Go to nowhere: traces are not exported Last delivered none since the start",
        "Oldest of them none waits",
    ):
        assert part in text
    assert "None is known yet." in shown(make_status(workspaces=())).text


def test_who_is_unready_is_told_why() -> None:
    """First of all, and in the title of the window."""
    seen = shown(make_status(readiness=Readiness(("The first reason", "The second reason"))))
    assert seen.text.startswith("Not ready - conduit-exporter")
    assert "Not ready The first reason The second reason Harbor Hotels" in seen.text
    assert "banner bad" in seen.classes


def test_problems_stand_at_the_top() -> None:
    """What an operator should look at although the exporter is ready."""
    view = make_status()
    troubled = replace(
        view,
        workspaces=(replace(view.workspaces[0], up=False, problem="the token has no access"),),
        delivery=replace(view.delivery, problem="no connection"),
        outbox=replace(view.outbox, traces_parked=1_002, stored_bytes=1024**3),
        ledger=replace(view.ledger, problem="the disk is full"),
    )
    seen = shown(troubled)
    assert "banner warn" in seen.classes
    assert (
        "Ready, but needs attention Workspace ws_1: the token has no access "
        "Delivery: no connection "
        "The outbox is full: no details are fetched until traces are delivered "
        "1,002 traces are parked: the backend refused them "
        "Ledger: the disk is full Harbor Hotels"
    ) in seen.text
    assert "Conduit API fails" in seen.text
    assert list(page.problems_of(view)) == []
    assert "banner good" in shown(view).classes


def test_a_hostile_name_is_text() -> None:
    """Whatever it holds, the page is made of the same elements and shows it as it is."""
    html = page.render(with_names(HOSTILE)).decode()
    seen = Seen(html)
    assert all(map(ELEMENTS.fullmatch, seen.elements))
    assert all(map(ATTRIBUTES.fullmatch, seen.attributes))
    assert "<script" not in html
    assert "<img" not in html
    assert HOSTILE in seen.text
    assert seen.links == ["data:,", "metrics", "-/healthy", "-/ready"]


@pytest.mark.parametrize("text", ["\ud800", "\x00\x1b[31m", "\u202e\u2066", "\u00e9\U0001f600"])
def test_an_odd_character_breaks_nothing(text: str) -> None:
    """Half a character becomes a question mark; a direction ends with its name."""
    html = page.render(with_names(text)).decode()
    assert html.rstrip().endswith("</html>")
    assert f"<bdi>{text.replace(chr(0xD800), '?')}</bdi>" in html


def test_a_long_name_is_cut() -> None:
    """One name cannot bury the rest of the page."""
    assert len(page.render(with_names("x" * 1_000_000))) < 20_000
    assert page.brief("x" * 300) == "x" * 300
    assert page.brief("x" * 301) == "x" * 299 + "\N{HORIZONTAL ELLIPSIS}"


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """Its policy allows its own style, by the hash of what it really holds, and no more."""
    html = page.render(make_status()).decode()
    (style,) = re.findall("<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert page.security_policy() == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in html.replace("http://collector:4318", "").replace("http-equiv", "")


def test_both_light_and_dark_have_every_colour() -> None:
    """A colour that only one of them names would be unreadable in the other."""
    html = page.render(make_status()).decode()
    light, dark = re.findall(r":root \{(.*?)\}", html, re.DOTALL)
    names = re.compile(r"--[a-z-]+(?=:)")
    assert names.findall(light) == names.findall(dark)


def test_a_thousand_agents_fit_on_the_page() -> None:
    """A row each."""
    view = make_status()
    workspace = view.workspaces[0]
    agents = tuple(replace(workspace.agents[0], id=f"ag_{number}") for number in range(1000))
    text = shown(replace(view, workspaces=(replace(workspace, agents=agents),))).text
    assert "37 ag_0 Concierge" in text
    assert "37 ag_999 Traces" in text


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (7290, "2 h 1 min"),
        (86_400, "1 d"),
        (90_000, "1 d 1 h"),
        (8_640_000, "100 d"),
    ],
)
def test_a_duration_has_two_units(duration_s: float, text: str) -> None:
    """A clock that was set back makes none of it negative."""
    assert page.span(round(duration_s * SECOND_NS)) == text


@pytest.mark.parametrize(
    ("stored_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_572_864, "1.5 MiB"),
        (1024**3, "1.0 GiB"),
        (5 * 1024**5, "5120.0 TiB"),
    ],
)
def test_a_size_has_a_unit(stored_bytes: int, text: str) -> None:
    """Of 1024, as the settings have it."""
    assert page.size(stored_bytes) == text


def test_numbers_are_grouped() -> None:
    """Fractions only where there are any."""
    assert [page.count(number) for number in (0, 1234567, 90.0, 0.5)] == [
        "0",
        "1,234,567",
        "90",
        "0.5",
    ]


def test_a_moment_is_utc() -> None:
    """To the second, in the form that sorts."""
    assert page.moment(START_NS) == "2026-04-03T03:04:15Z"


def test_the_template_engine_is_loaded_with_the_first_page() -> None:
    """Who only scrapes does not pay for it."""
    code = (
        "import sys; import exporter.web.site, exporter.web.server, exporter.web.guard; "
        "print(sorted({'jinja2', 'bcrypt'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout == "[]\n"
