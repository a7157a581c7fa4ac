"""Faults to order: when they strike, and what becomes of the answer."""

import gzip
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from exporter.demo import faults
from exporter.demo.answers import Endpoint, Failure, SimResponse
from exporter.demo.conduit import SimulatedConduit
from exporter.demo.faults import Fault, When
from exporter.demo.runs import SECOND_NS
from tests.demo_support import (
    AG1,
    AG2,
    WS1,
    ask,
    ids_of,
    parsed,
    runs_path,
    sim_run,
    small_conduit,
    walk,
)
from tests.fakes import START_NS, FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def conduit(clock: FakeClock) -> SimulatedConduit:
    return small_conduit(clock, *(sim_run(f"ar77{at}") for at in range(5)))


def struck(conduit: SimulatedConduit, fault: Fault, query: str = "") -> SimResponse:
    """The list of runs under a fault that strikes once."""
    conduit.faults.place(fault, when=faults.always, times=1)
    return ask(conduit, runs_path(), query)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (faults.always, {1, 2, 3, 4, 5}),
        (faults.nth(2), {2}),
        (faults.to(Endpoint.RUN), {4}),
        (faults.to(Endpoint.RUNS, Endpoint.WORKSPACES), {1, 2, 3}),
        (faults.to_agent(AG1), {2, 4}),
        (faults.of_run("ar771"), {4}),
        (faults.between(START_NS + SECOND_NS, START_NS + 3 * SECOND_NS), {2, 3}),
        (faults.both(faults.to_agent(AG1), faults.to(Endpoint.RUN)), {4}),
        (faults.chance(0.0, random.Random(1)), set()),
        (faults.chance(1.0, random.Random(1)), {1, 2, 3, 4, 5}),
    ],
)
def test_a_fault_strikes_the_requests_it_was_placed_for(
    clock: FakeClock, conduit: SimulatedConduit, when: When, expected: set[int]
) -> None:
    """Five requests, a second apart, to four endpoints."""
    conduit.faults.place(faults.refused(500), when=when)
    paths = ("/workspaces", runs_path(AG1), runs_path(AG2), f"{runs_path()}/ar771", "/nowhere")
    found = set()
    for number, path in enumerate(paths, 1):
        if ask(conduit, path).status == 500:
            found.add(number)
        clock.advance(1)
    assert found == expected
    assert conduit.faults.struck == len(expected)


def test_later_pages_are_those_with_a_cursor(conduit: SimulatedConduit) -> None:
    """The head of a list can be spared."""
    conduit.faults.place(faults.refused(410), when=faults.later_pages)
    first = ask(conduit, runs_path(), "limit=2")
    assert first.status == 200
    cursor = parsed(first)["next_cursor"]
    assert ask(conduit, runs_path(), f"cursor={cursor}").status == 410


def test_faults_are_used_up_in_the_order_in_which_they_were_placed(
    conduit: SimulatedConduit,
) -> None:
    """The first that matches strikes; the next when it has done so often enough."""
    conduit.faults.place(faults.refused(500), when=faults.always, times=2)
    conduit.faults.place(faults.refused(503), when=faults.always)
    statuses = [ask(conduit, runs_path()).status for _ in range(4)]
    assert statuses == [500, 500, 503, 503]
    conduit.faults.clear()
    assert ask(conduit, runs_path()).status == 200


@pytest.mark.parametrize(
    ("fault", "status", "headers", "body"),
    [
        (faults.rate_limited("7"), 429, {"retry-after": "7"}, b'{"error":"Rate limit exceeded"}'),
        (faults.rate_limited(None), 429, {}, b'{"error":"Rate limit exceeded"}'),
        (faults.refused(503, "down"), 503, {}, b'{"error":"down"}'),
        (faults.redirected("https://x.example/"), 302, {"location": "https://x.example/"}, b""),
        (faults.body_of(b"[1]"), 200, {"content-type": "application/json"}, b"[1]"),
        (faults.body_of(b"", "text/plain"), 200, {"content-type": "text/plain"}, b""),
    ],
)
def test_what_stands_in_for_an_answer_is_not_counted_against_the_limit(
    conduit: SimulatedConduit, fault: Fault, status: int, headers: dict[str, str], body: bytes
) -> None:
    """A proxy in between answers before the API has seen the request."""
    response = struck(conduit, fault)
    assert (response.status, response.body) == (status, body)
    assert headers.items() <= dict(response.headers).items()
    assert ("retry-after" in response.headers) == ("retry-after" in headers)
    assert conduit.asked.admitted == {}
    assert conduit.asked.answers == {(Endpoint.RUNS, status): 1}


@pytest.mark.parametrize("status", [200, 503])
def test_a_page_for_people_is_no_json(conduit: SimulatedConduit, status: int) -> None:
    """HTML, with a status that may say that all is well."""
    response = struck(conduit, faults.html(status))
    assert (response.status, response.headers["content-type"]) == (status, "text/html")
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(response.body)


def test_deep_nesting_is_beyond_a_parser(conduit: SimulatedConduit) -> None:
    """A hundred thousand brackets overflow the stack of a recursive reader."""
    response = struck(conduit, faults.deeply_nested())
    with pytest.raises(RecursionError):
        json.loads(response.body)


@pytest.mark.parametrize("size", [0, 1, 65_536, 200_001])
def test_huge_json_is_streamed_and_valid(conduit: SimulatedConduit, size: int) -> None:
    """As long as was asked for, in chunks, and JSON to the last byte."""
    response = struck(conduit, faults.huge_json(size))
    assert response.body == b""
    chunks = list(response.chunks())
    assert all(len(chunk) <= 65_536 + 100 for chunk in chunks)
    assert json.loads(b"".join(chunks))["padding"] == "x" * size


def test_a_gzip_bomb_is_a_thousand_times_what_it_seems(conduit: SimulatedConduit) -> None:
    """A small body, a correct header, an enormous content."""
    response = struck(conduit, faults.gzip_bomb(4 << 20))
    assert response.headers["content-encoding"] == "gzip"
    assert len(response.body) < 8192
    assert len(gzip.decompress(response.body)) == 4 << 20


def test_gzip_as_a_cdn_does_it_keeps_the_answer(conduit: SimulatedConduit) -> None:
    """Only the encoding differs, and the run was served."""
    plain = ask(conduit, f"{runs_path()}/ar770")
    conduit.faults.place(faults.gzipped, when=faults.always)
    packed = ask(conduit, f"{runs_path()}/ar770")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert conduit.asked.runs_served == {"ar770": 2}


def test_a_delay_changes_nothing_but_the_time(conduit: SimulatedConduit) -> None:
    """The true answer, later."""
    plain = ask(conduit, runs_path())
    late = struck(conduit, faults.delayed(4.0))
    assert (late.body, late.latency_s, plain.latency_s) == (plain.body, 4.0, 0.0)


@pytest.mark.parametrize("failure", list(Failure))
def test_a_lost_answer_was_still_charged_for(conduit: SimulatedConduit, failure: Failure) -> None:
    """The API had done its work; nobody was served."""
    conduit.faults.place(faults.failing(failure), when=faults.always)
    response = ask(conduit, f"{runs_path()}/ar770")
    assert (response.failure, response.body, list(response.chunks())) == (failure, b"", [])
    assert conduit.asked.admitted == {WS1: 1}
    assert conduit.asked.runs_asked == {"ar770": 1}
    assert conduit.asked.runs_served == {}
    assert conduit.asked.answers == {}


def test_an_unreachable_conduit_charges_nothing(conduit: SimulatedConduit) -> None:
    """Nobody was there to count."""
    assert struck(conduit, faults.unreachable).failure is Failure.CONNECT_ERROR
    assert conduit.asked.admitted == {}
    assert conduit.asked.total == 1


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_answer_is_a_beginning(conduit: SimulatedConduit, keep: float) -> None:
    """The first part of the true body, and a failure after it."""
    whole = ask(conduit, runs_path()).body
    cut = struck(conduit, faults.truncated(keep))
    assert cut.body == whole[: int(len(whole) * keep)]
    assert cut.failure is Failure.DISCONNECT


@pytest.mark.parametrize("more", [5, -5, -(10**6)])
def test_a_wrong_length_is_claimed(conduit: SimulatedConduit, more: int) -> None:
    """The header is off by as much as was asked for, never below zero; the body is true."""
    response = struck(conduit, faults.wrong_content_length(more))
    assert response.headers["content-length"] == str(max(0, len(response.body) + more))
    assert json.loads(response.body)["data"]


def test_a_cursor_that_leads_to_itself(conduit: SimulatedConduit) -> None:
    """The page behind the cursor is the page that gave it."""
    conduit.faults.place(faults.cursor_to_itself, when=faults.always)
    first = ask(conduit, runs_path(), "limit=2")
    cursor = parsed(first)["next_cursor"]
    again = ask(conduit, runs_path(), f"limit=2&cursor={cursor}")
    assert ids_of(again) == ids_of(first)
    assert parsed(again)["next_cursor"] == cursor


def test_cursors_that_lead_round_in_a_circle(conduit: SimulatedConduit) -> None:
    """After the second page comes the first one again, for ever."""
    conduit.faults.place(faults.cursor_circle(), when=faults.always)
    pages = walk(conduit, runs_path(), limit=2)
    found = [next(pages) for _ in range(5)]
    assert found == [["ar774", "ar773"], ["ar772", "ar771"]] * 2 + [["ar774", "ar773"]]


def test_an_empty_page_leads_to_its_rows(conduit: SimulatedConduit) -> None:
    """Nothing is lost by going on."""
    conduit.faults.place(faults.empty_page, when=faults.nth(2))
    assert list(walk(conduit, runs_path(), limit=3)) == [
        ["ar774", "ar773", "ar772"],
        [],
        ["ar771", "ar770"],
    ]


@pytest.mark.parametrize(
    ("at", "expected"), [(0, [7, "ar774", "ar773"]), (1, ["ar774", 7, "ar773"])]
)
def test_a_row_of_any_kind_is_put_among_the_others(
    conduit: SimulatedConduit, at: int, expected: list[Any]
) -> None:
    """Sound rows stay as they are."""
    response = struck(conduit, faults.row_added(b"7", at), "limit=2")
    rows = parsed(response)["data"]
    assert [row["id"] if isinstance(row, dict) else row for row in rows] == expected


@pytest.mark.parametrize(
    "fault",
    [faults.cursor_to_itself, faults.cursor_circle(), faults.empty_page, faults.row_added(b"null")],
)
def test_faults_of_pages_leave_other_answers_alone(
    conduit: SimulatedConduit, fault: Callable[..., SimResponse]
) -> None:
    """A get-run and an error have no rows and no cursor."""
    plain = ask(conduit, f"{runs_path()}/ar770"), ask(conduit, "/nowhere")
    conduit.faults.place(fault, when=faults.always)
    assert (ask(conduit, f"{runs_path()}/ar770"), ask(conduit, "/nowhere")) == plain
