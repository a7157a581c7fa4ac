"""The pages as a browser gets them: what they say, and that no text in them can do anything."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

import exporter.web
from exporter.app.status import recent_runs
from exporter.errors import LedgerUnavailable
from exporter.ledger.records import RunSummary, TraceState
from exporter.metrics.catalogue import CATALOGUE
from exporter.sync.requests import Purpose
from exporter.web import pages
from tests.alert_rules import alerts
from tests.fakes import START_NS
from tests.pages_support import (
    HOSTILE,
    HOUR_NS,
    RTL,
    SECOND_NS,
    STATES,
    TOKEN,
    Deployment,
    named,
    one_run,
    timed,
    tool,
)
from tests.web_support import Served, serving

VOID = {"meta", "link", "input"}
# There is nothing on a page that runs, loads, or is drawn by a style of its own.
ELEMENTS = re.compile(
    "html|head|meta|title|link|body|header|nav|main|footer|section|h[123]|p|a|ul|li|dl|div|dt|dd|"
    "table|caption|thead|tbody|tr|th|td|bdi|code|time|span|small|strong|details|summary|"
    "form|label|select|option|button|input|svg|rect|defs|pattern"
)
ATTRIBUTES = re.compile(
    "lang|charset|name|content|rel|href|class|id|aria-[a-z]+|role|tabindex|datetime|title|scope|"
    "method|action|value|selected|type|x|width|height|fill|transform|patternunits|patterntransform"
)

Serve = Callable[[Deployment], Served]
SiteOf = Callable[[str], Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves deployments until the test has ended, and closes their ledgers."""
    with ExitStack() as stack:

        def start(deployment: Deployment) -> Served:
            stack.callback(deployment.close)
            return stack.enter_context(serving(deployment.site()))

        yield start


@pytest.fixture(scope="module")
def site_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteOf]:
    """Serves the exporter in a state of this name; each is made once."""
    with ExitStack() as stack:

        @cache
        def site(state: str) -> Served:
            deployment = STATES[state](tmp_path_factory.mktemp(state))
            stack.callback(deployment.close)
            return stack.enter_context(serving(deployment.site()))

        yield site


class Seen(HTMLParser):
    """What a browser would see of a page; fails where its HTML is not well-formed."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.refers: list[str] = []
        self.tags: list[str] = []
        self.classes: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        self.feed(answer.text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))
        assert set(self.refers) <= {*self.ids}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert ELEMENTS.fullmatch(tag), tag
        self.tags.append(tag)
        for name, value in attrs:
            assert ATTRIBUTES.fullmatch(name), name
            if name == "href":
                self.links.append(value or "")
            elif name == "id":
                self.ids.append(value or "")
            elif name == "aria-labelledby":
                self.refers.append(value or "")
            elif name == "class":
                self.classes.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "every element is closed in its turn"

    def handle_data(self, data: str) -> None:
        self.words += data.replace("\xa0", " ").split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def see(served: Served, path: str) -> Seen:
    return Seen(served.ask(path))


def values(served: Served, path: str, **query: str) -> Any:
    """The values of a page."""
    return served.ask(path, params={**query, "format": "json"}).json()


def run_path(served: Served, **query: str) -> str:
    """Where the page of the newest run is."""
    return "/" + pages.run_path(values(served, "/runs", **query)["runs"][0])


# --- all pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["empty", "one_run", "busy", "failing"])
def test_every_page_is_whole_and_names_its_parts(state: str, site_of: SiteOf) -> None:
    """Well-formed, one heading, landmarks, tables with captions, links of its own site."""
    served = site_of(state)
    paths = ["/", "/runs", "/runs?status=failed&since=24h", "/runs/ag1/nothing"]
    if state != "empty":
        paths.append(run_path(served))
    for path in paths:
        seen = see(served, path)
        assert [seen.tags.count(tag) for tag in ("h1", "main", "title")] == [1, 1, 1]
        assert seen.tags.count("caption") == seen.tags.count("table")
        assert seen.links[2] == "#main", "the first link skips to the content"
        for link in seen.links:
            assert link.startswith(
                ("./", "../", "#", "data:,", "http://jaeger:16686/trace/", "https://github.com/")
            )


@pytest.mark.parametrize("text", [HOSTILE, RTL, "\x1b[31m"], ids=["html", "rtl", "control"])
def test_no_name_can_do_anything(text: str, tmp_path: Path, serve: Serve) -> None:
    """What comes from outside is text, in a direction of its own, whatever it holds."""
    served = serve(named(tmp_path, text))
    for path in ("/", "/runs", run_path(served, status="failed"), f"/runs?agent={HOSTILE}"):
        html = served.ask(path).text
        Seen(httpx.Response(200, html=html))
        assert "<script" not in html
    shown = values(served, "/")
    assert {agent["name"] for agent in shown["agents"]} == {text}


def test_no_page_shows_a_secret(tmp_path: Path, serve: Serve) -> None:
    """Settings are shown by their names, secrets as set."""
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/?key=k3y"}
    proxy = {"CONDUIT_PROXY": "http://me:passw0rd@proxy:3128"}
    deployment = Deployment(tmp_path, **otlp, **proxy, EXPORTER_REDACT="secret-[0-9]+")
    deployment.run(deployment.agent())
    served = serve(deployment)
    settings = {one["name"]: one for one in values(served, "/")["settings"]}
    assert settings["CONDUIT_API_TOKEN"]["value"] == "set, not shown"
    assert settings["EXPORTER_LOOKBACK"]["value"] == "86400 s"
    assert (settings["EXPORTER_RETENTION"]["is_set"], settings["EXPORTER_LEDGER"]["is_set"]) == (
        False,
        True,
    )
    assert settings["OTEL_EXPORTER_OTLP_HEADERS"]["value"] == "x-key=..."
    for path in ("/", "/?format=json", "/runs", run_path(served)):
        text = served.ask(path).text
        for secret in (TOKEN, "h3ader", "passw0rd", "k3y", "secret-["):
            assert secret not in text


def test_only_the_status_page_loads_again_and_can_be_told_not_to(site_of: SiteOf) -> None:
    """A page that is read does not run away."""
    served = site_of("one_run")
    assert served.ask("/").headers["refresh"] == "30"
    assert "Stop that" in see(served, "/").text
    for path in ("/?refresh=0", "/runs", run_path(served)):
        assert "refresh" not in served.ask(path).headers


# --- the status page -----------------------------------------------------------------------------


def test_all_is_well_is_said_first(site_of: SiteOf) -> None:
    """Then today's numbers, agents, recent runs, and how every stage stands."""
    seen = see(site_of("one_run"), "/")
    assert "banner good" in seen.classes
    for part in (
        "✓ Ready Runs today 1 Failed today 0 Cost today $0.0100 $0.0100 this month",
        "Oldest trace waiting none",
        "Concierge 1 0 0 $0.0100 0 - 4 s ago",
        "2026-04-03 03:03:15 Concierge Concierge ✓ completed ● resolved 4.0 s 100 / 10 $0.0100 3",
        "State ✓ answers Workspace ws1",
        "Go to http://collector:4318/v1/traces",
        "Counters since 2026-04-03 03:04:15",
    ):
        assert part in seen.text


def test_a_first_start_says_what_is_not_known_yet(site_of: SiteOf) -> None:
    """It is no alarm, and no zero time is shown."""
    seen = see(site_of("empty"), "/")
    assert "banner warn" in seen.classes
    assert "! Not ready yet ! warning No workspace is known yet" in seen.text
    for part in ("No agent is known yet.", "No run has ended yet.", "No workspace is known yet."):
        assert part in seen.text


def test_what_is_wrong_names_its_alert_and_its_metric(site_of: SiteOf) -> None:
    """Critical first; each alert is one of the rules, in its severity, with its runbook."""
    served = site_of("failing")
    shown = values(served, "/")
    assert shown["state"] == "bad"
    found = {(one["alert"], one["metric"]) for one in shown["reasons"]}
    assert found == {
        ("ConduitTokenRefused", "conduit_up"),
        ("ConduitBudgetUsed", "conduit_period_cost_usd"),
        ("ConduitFailureRatioRaised", "conduit_runs_total"),
        ("ConduitRunsStale", "conduit_exporter_last_poll_success_timestamp_seconds"),
        ("ConduitTracesParked", "conduit_exporter_traces_parked"),
        ("ConduitTracesStuck", "conduit_exporter_trace_backend_up"),
    }
    rules = alerts()
    seen = see(served, "/")
    for reason in shown["reasons"]:
        rule = rules[reason["alert"]]
        severity = "critical" if reason["level"] == "bad" else "warning"
        assert rule["labels"]["severity"] == severity
        assert rule["annotations"]["runbook_url"] in seen.links
        assert reason["metric"] in {metric.name for metric in CATALOGUE}
    assert seen.text.index("✗ critical") < seen.text.index("! warning")
    assert "./runs?agent=ag_0&status=failed" in seen.links


def test_every_alert_that_the_status_page_can_name_exists() -> None:
    """Whether or not a test has it named."""
    source = (Path(exporter.web.__file__).parent.parent / "app/status.py").read_text()
    assert set(re.findall(r'"(Conduit[A-Za-z]+)"', source)) <= set(alerts())


def test_today_is_the_day_of_the_configured_calendar(tmp_path: Path, serve: Serve) -> None:
    """Counted from its midnight on, to the nanosecond; costs agree with the runs."""
    deployment = Deployment(tmp_path, EXPORTER_TIMEZONE="Asia/Tokyo")
    agent = deployment.agent()
    midnight_ns = round(datetime(2026, 4, 2, 15, tzinfo=UTC).timestamp()) * SECOND_NS
    for name, end_ns in (("before", -1), ("first", 0), ("second", 1)):
        over: dict[str, Any] = {"disposition": "escalated"}
        if name == "first":
            over = {"status": "failed"}
        deployment.run(
            agent, name, created_ns=midnight_ns - 9, completed_ns=midnight_ns + end_ns, **over
        )
    served = serve(deployment)
    today = values(served, "/")["today"]
    assert (today["runs"], today["failed"], today["since_ns"]) == (2, 1, midnight_ns)
    assert Decimal(today["cost_usd"]) == Decimal("0.02")
    assert Decimal(today["month_cost_usd"]) == Decimal("0.03")
    (shown,) = values(served, "/")["agents"]
    assert (shown["runs"], shown["failed"], shown["escalated"]) == (2, 1, 1)
    listed = values(served, "/runs", since="2026-04-02T15:00:00Z")["runs"]
    assert [run["id"] for run in listed] == ["second", "first"]


def test_numbers_that_retention_cuts_short_are_said_to_be(tmp_path: Path, serve: Serve) -> None:
    """Where runs are kept for less than a day, those of today are not all there."""
    deployment = Deployment(tmp_path, EXPORTER_RETENTION="1h", EXPORTER_LOOKBACK="1h")
    assert "Runs are kept for less than a day" in see(serve(deployment), "/").text


@pytest.mark.parametrize(("back_ns", "said"), [(HOUR_NS, True), (7 * 24 * HOUR_NS, False)])
def test_costs_that_begin_within_the_month_are_said_to(
    tmp_path: Path, serve: Serve, back_ns: int, *, said: bool
) -> None:
    """A ledger knows no run from before its first look-back; no such sum passes for the month's."""
    deployment = Deployment(tmp_path)
    deployment.agent(counted_from_ns=START_NS - back_ns)
    seen = see(serve(deployment), "/").text
    assert ("Costs are those of runs created since 2026-04-03T02:04:15Z" in seen) is said


def test_a_budget_for_a_workspace_that_is_not_there_is_told(tmp_path: Path, serve: Serve) -> None:
    """Its alerts could never fire."""
    deployment = Deployment(tmp_path, EXPORTER_MONTHLY_BUDGET_USD="ws1=10,mistyped=10")
    deployment.agent()
    (reason,) = values(serve(deployment), "/")["reasons"]
    assert "EXPORTER_MONTHLY_BUDGET_USD names workspace mistyped" in reason["text"]


def test_failures_outlive_successes_among_the_recent_runs() -> None:
    """Twenty in all, ten of them failures however old, newest first."""

    def summary(no: int, status: str) -> RunSummary:
        fields = dict.fromkeys(RunSummary._fields)
        return RunSummary(**{**fields, "no": no, "ended_ns": no, "status": status})  # type: ignore[arg-type]

    newest = [summary(no, "completed") for no in range(100, 80, -1)]
    failed = [summary(no, "failed") for no in range(50, 40, -1)]
    recent = recent_runs(newest, failed)
    assert [run.no for run in recent] == [*range(100, 90, -1), *range(50, 40, -1)]
    assert recent_runs(newest, []) == newest
    assert len(recent_runs(newest[:3], newest[:2])) == 3


def test_the_requests_of_the_last_minute_are_shown_by_purpose(tmp_path: Path, serve: Serve) -> None:
    """What is older is forgotten; the last 429 and the last error keep their times."""
    deployment = one_run(tmp_path)
    state = deployment.exporter.workspaces()["ws1"]
    state.spend(Purpose.DETAIL, deployment.clock.monotonic_s())
    deployment.clock.advance(60)
    state.spend(Purpose.HEAD, deployment.clock.monotonic_s())
    state.last_error, state.last_error_ns = "504 Gateway Timeout", START_NS
    state.rate_limited_ns = START_NS
    seen = see(serve(deployment), "/")
    assert "Requests of the last minute: 1 of 90 head 1" in seen.text
    assert "Last 429 1 min ago" in seen.text
    assert "Last error, 1 min ago : 504 Gateway Timeout" in seen.text


def test_a_ledger_that_cannot_be_written_leaves_a_status_page(tmp_path: Path, serve: Serve) -> None:
    """Its reason first; what only the file knows is unknown, and the lists say why."""
    deployment = one_run(tmp_path)
    served = serve(deployment)
    path = run_path(served)
    deployment.exporter.gate.fault = LedgerUnavailable("The disk is full")
    text = see(served, "/").text
    assert "✗ critical The ledger cannot be written: The disk is full" in text
    assert "Runs today unknown" in text
    assert "The ledger cannot be read at present." in text
    assert values(served, "/")["recent"] is None
    for asked in ("/runs", path):
        answer = served.ask(asked)
        assert (answer.status_code, "The disk is full" in Seen(answer).text) == (503, True)


# --- the list of runs ----------------------------------------------------------------------------


def test_every_counted_run_is_listed_traced_or_not(tmp_path: Path, serve: Serve) -> None:
    """With its outcome in words, and what is unknown said to be."""
    deployment = Deployment(tmp_path)
    agent = deployment.agent()
    unknown: dict[str, Any] = {
        "duration_ns": None,
        "input_tokens": None,
        "cost_usd": None,
        "disposition": None,
    }
    deployment.run(agent, "plain", trace=None, status="failed", completed_ns=START_NS, **unknown)
    deployment.run(agent, "going", status="running", completed_ns=None)
    seen = see(serve(deployment), "/runs")
    assert "Concierge ✗ failed unknown - / 10 no price - not wanted Nothing older" in seen.text
    assert seen.text.count("2026-04-03") == 2, "the run, and the page's own time"


@pytest.fixture(scope="module")
def four_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Runs a to d of two agents in turn, which ended an hour apart."""
    with closing(Deployment(tmp_path_factory.mktemp("four"))) as deployment:
        ag1, ag2 = deployment.agent("ag1"), deployment.agent("ag2")
        over: list[dict[str, Any]] = [
            {"conversation_id": "cv1"},
            {"conversation_id": "cv1", "disposition": "escalated"},
            {"disposition": "escalated"},
            {"disposition": None, "status": "failed"},
        ]
        for no, name in enumerate("abcd"):
            end_ns = START_NS - (3 - no) * HOUR_NS
            agent = ag2 if no % 2 else ag1
            deployment.run(agent, name, created_ns=end_ns - 9, completed_ns=end_ns, **over[no])
        with serving(deployment.site()) as served:
            yield served


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["d", "c", "b", "a"]),
        ({"agent": "ag2"}, ["d", "b"]),
        ({"status": "failed"}, ["d"]),
        ({"disposition": "escalated"}, ["c", "b"]),
        ({"agent": "ag1", "disposition": "escalated"}, ["c"]),
        ({"conversation": "cv1"}, ["b", "a"]),
        ({"since": "90m"}, ["d", "c"]),
        ({"since": "2026-04-03T01:04:15Z"}, ["d", "c", "b"]),
        ({"agent": "nobody"}, []),
        ({"agent": "", "status": "", "since": "", "before": ""}, ["d", "c", "b", "a"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_filters_are_those_of_the_url(
    query: dict[str, str], expected: list[str], four_runs: Served
) -> None:
    """Each narrows the list, and an empty one leaves it open."""
    assert [run["id"] for run in values(four_runs, "/runs", **query)["runs"]] == expected
    text = see(four_runs, f"/runs?{httpx.QueryParams(query)}").text
    assert ("No run matches these filters." in text) is (not expected)


def test_a_list_goes_on_where_the_page_before_ended(tmp_path: Path, serve: Serve) -> None:
    """Fifty a page, each run once though many ended at the same time, filters kept."""
    deployment = Deployment(tmp_path)
    agent = deployment.agent()
    for no in range(120):
        deployment.run(agent, f"ar{no}", trace=None, completed_ns=START_NS + no // 40)
    served = serve(deployment)
    query, sizes, ids = "?agent=ag1", [], []
    while query:
        page = values(served, "/runs", **dict(httpx.QueryParams(query)))
        sizes.append(len(page["runs"]))
        ids += [run["id"] for run in page["runs"]]
        links = [link for link in see(served, f"/runs{query}").links if "before=" in link]
        older = [link for link in links if "format=json" not in link]
        query = older[0].removeprefix("./runs") if older else ""
        assert all(link.startswith("./runs?agent=ag1&before=") for link in older)
    assert (sizes, len(set(ids))) == ([50, 50, 20], 120)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("since=yesterday", "since: neither a duration such as 24h nor a time"),
        ("before=1", "before: no cursor of this list"),
        (f"before={2**63}.1", "before: no cursor of this list"),
    ],
)
def test_a_filter_that_is_none_is_told(query: str, words: str, four_runs: Served) -> None:
    """As 400, in words and as JSON."""
    answer = four_runs.ask(f"/runs?{query}")
    assert (answer.status_code, words in Seen(answer).text) == (400, True)
    assert words in four_runs.ask(f"/runs?{query}&format=json").json()["error"]


# --- one run -------------------------------------------------------------------------------------


def test_a_run_says_where_its_trace_is(tmp_path: Path, serve: Serve) -> None:
    """And is a link to the trace backend once it is there."""
    said: dict[tuple[TraceState | None, str | None], str] = {
        (TraceState.DELIVERED, None): "✓ delivered at 2026-04-03 03:04:15 UTC",
        (TraceState.PENDING, None): "… pending It waits in the outbox",
        (TraceState.PENDING, "401: wrong key"): "refused it; it is sent again at "
        "2026-04-03T04:04:15Z . 401: wrong key",
        (TraceState.REJECTED, "too long"): "✗ rejected The trace backend rejected it for good at "
        "2026-04-03 03:04:15 UTC. too long",
        (TraceState.DEAD, "gone"): "✗ dead Its detail will never come. The run is counted all",
        (TraceState.AWAITING_DETAIL, None): "… awaiting detail Its detail is still to be fetched",
        (None, None): "not wanted The run was sampled out, or no traces are exported.",
    }
    deployment = Deployment(tmp_path)
    agent = deployment.agent()
    for number, (trace, reason) in enumerate(said):
        deployment.run(agent, f"ar{number}", trace=trace, reason=reason)
    served = serve(deployment)
    for number, ((trace, _), words) in enumerate(said.items()):
        seen = see(served, f"/runs/ag1/ar{number}")
        assert words in seen.text
        run = values(served, f"/runs/ag1/ar{number}")["run"]
        link = f"http://jaeger:16686/trace/{run['trace_id']}"
        assert (link in seen.links) is (trace is TraceState.DELIVERED)


@pytest.mark.parametrize("timing", ["instants", "slices"])
def test_times_that_nobody_measured_are_drawn_as_such(
    timing: str, tmp_path: Path, serve: Serve
) -> None:
    """Hatched, all of one width, with a legend, and no length is claimed."""
    deployment = Deployment(tmp_path, EXPORTER_TOOL_TIMING=timing)
    tools = (tool("first"), timed("second", 1.0, 2.5, error="timeout"))
    deployment.run(deployment.agent(), tools=tools)
    served = serve(deployment)
    root, first, second = values(served, "/runs/ag1/ar1")["spans"]
    assert (root["duration_ns"], first["duration_ns"]) == (4 * SECOND_NS, None)
    assert (second["duration_ns"], second["failed"]) == (2_500_000_000, True)
    html = served.ask("/runs/ag1/ar1").text
    drawn = re.findall(
        r'<rect class="(?:fill|drawn)"(?: transform="[^"]+")? x="[^"]+" width="([^"]+)"', html
    )
    assert drawn == ["100.0%", "2", "14", "62.5%", "2"]
    text = see(served, "/runs/ag1/ar1").text
    assert "Conduit told no time: the mark shows the order alone" in text
    assert "└ execute_tool first not told not told" in text
    assert "└ execute_tool second ✗ failed 1.0 s 2.5 s" in text


def test_a_run_without_times_has_an_order_alone(tmp_path: Path, serve: Serve) -> None:
    """No length of the whole is known either."""
    deployment = Deployment(tmp_path)
    times: dict[str, Any] = {"completed_ns": None, "duration_ns": None}
    deployment.run(deployment.agent(), tools=(tool(), tool()), **times)
    text = see(serve(deployment), "/runs/ag1/ar1").text
    assert "Span Order Began after Took" in text
    assert "Duration unknown" in text


def test_content_is_shown_only_while_it_is_captured(tmp_path: Path, serve: Serve) -> None:
    """Not without the setting, and not any more once it is off."""
    asked = {"EXPORTER_CAPTURE_CONTENT": "true"}
    deployment = Deployment(tmp_path, **asked)
    deployment.run(deployment.agent(), tools=(tool(),), response="Your room is ready")
    with serving(deployment.site()) as served:
        assert "Your room is ready" in see(served, "/runs/ag1/ar1").text
    deployment.close()
    served = serve(Deployment(tmp_path))
    for query in ("", "?format=json"):
        text = served.ask(f"/runs/ag1/ar1{query}").text
        assert "Your room is ready" not in text
        assert "jane doe" not in text
    assert "is not captured (EXPORTER_CAPTURE_CONTENT)" in see(served, "/runs/ag1/ar1").text


def test_a_run_leads_to_the_others_of_its_conversation(tmp_path: Path, serve: Serve) -> None:
    """Not where a mask stands for the conversation: it may stand for many."""
    deployment = Deployment(tmp_path)
    agent = deployment.agent()
    for no in range(3):
        deployment.run(agent, f"ar{no}", conversation_id="cv1")
        deployment.run(agent, f"masked{no}", conversation_id="jane.doe@example.com")
    served = serve(deployment)
    conversation = values(served, "/runs/ag1/ar0")["conversation"]
    assert [run["id"] for run in conversation] == ["ar2", "ar1"]
    assert "../../runs?conversation=cv1" in see(served, "/runs/ag1/ar0").links
    assert values(served, "/runs/ag1/masked0")["conversation"] == []
    assert "jane" not in served.ask("/runs/ag1/masked0").text


def test_a_run_that_is_not_kept_is_not_found(tmp_path: Path, serve: Serve) -> None:
    """In words, and as JSON."""
    deployment = Deployment(tmp_path)
    deployment.run(deployment.agent(), "going", status="running", completed_ns=None)
    served = serve(deployment)
    for path in ("/runs/ag1/going", "/runs/ag1/ar9", "/runs/ag9/ar1", "/runs/a/b/c"):
        answer = served.ask(path)
        assert (answer.status_code, "No such run" in Seen(answer).text) == (404, True)
        assert "No such run" in served.ask(f"{path}?format=json").json()["error"]


# --- words and numbers ---------------------------------------------------------------------------


def test_a_page_of_any_text_can_be_written(tmp_path: Path, serve: Serve) -> None:
    """Half a character becomes a question mark, in the page and in its links."""
    deployment = Deployment(tmp_path)
    deployment.workspace("ws1").name = "\ud800"
    served = serve(deployment)
    assert "Conduit API: ?" in see(served, "/").text
    assert json.loads(served.ask("/?format=json").text)["workspaces"][0]["name"] == "\ud800"
    assert pages.query({"agent": "\ud800"}) == "?agent=%3F"
