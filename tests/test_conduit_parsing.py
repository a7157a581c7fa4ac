"""Decoded JSON as runs, agents, workspaces and pages."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.conduit import parsing
from exporter.conduit.decoding import decode_json
from exporter.conduit.parsing import (
    REASONS,
    parse_agent,
    parse_id,
    parse_page,
    parse_run,
    parse_run_detail,
    parse_workspace,
)
from exporter.errors import SourceMalformed
from exporter.models import Agent, Page, Run, RunDetail, Unreadable, Workspace
from tests.conduit_support import AGENT, RUN, WORKSPACE, as_json, documented_run, page_of

CREATED_NS = 1_775_186_055_000_000_000


def _run(**over: Any) -> Run | Unreadable:
    row = decode_json(as_json(documented_run() | over))
    return parse_run(row, workspace_id="ws_asked", agent_id="ag_asked")


def _written(field: str, number: str) -> Run | Unreadable:
    """The run with a number as it stands in the JSON text, which Python could not write."""
    row = documented_run() | {field: "@"}
    text = json.dumps(row).replace('"@"', number)
    return parse_run(decode_json(text.encode()), workspace_id="ws", agent_id="ag")


def _understood(run: Run | Unreadable) -> Run:
    assert isinstance(run, Run)
    return run


def test_the_documented_run_is_read_whole() -> None:
    """The published example, field by field."""
    detail = parse_run_detail(
        decode_json(as_json({"data": documented_run()})), workspace_id="ws", agent_id="ag"
    )
    assert detail == RunDetail(
        run=Run(
            id=RUN,
            backend_run_id="run_9f3a1c7e",
            agent_id=AGENT,
            workspace_id=WORKSPACE,
            status="completed",
            disposition="resolved",
            contact_id="co77c0dy0mgdpzmqz6tesry8w184002s",
            conversation_id="cv77c0dy0mgdpzmqz6tesry8w184002s",
            trigger_id="tr77c0dy0mgdpzmqz6tesry8w184002s",
            error=None,
            duration_ns=4_213_000_000,
            input_tokens=1820,
            output_tokens=342,
            cost_usd=Decimal("0.0121"),
            trace_id="0f9c2b1d8a7e4f36",
            created_ns=CREATED_NS,
            completed_ns=CREATED_NS + 4_213_000_000,
        ),
        session_id="sess_4b21e9",
        disposition_reason="answered_from_knowledge",
        trigger_event_id="te77c0dy0mgdpzmqz6tesry8w184002s",
        response="You're all set, your reservation is confirmed for April 5th.",
        reflection="Contact asked to confirm their booking.",
        tool_trace=(
            {
                "name": "get_reservation",
                "input": {"reservation_id": "res_123"},
                "output": {"status": "confirmed", "check_in": "2026-04-05"},
            },
        ),
    )


def test_a_run_of_its_essentials_alone_is_read() -> None:
    """What is missing is unknown, and the request's ids stand in."""
    row = {"id": "ar1", "status": "running", "created_at": "2026-04-03T03:14:15.000Z"}
    assert parse_run(row, workspace_id="ws", agent_id="ag") == Run(
        id="ar1",
        backend_run_id="",
        agent_id="ag",
        workspace_id="ws",
        status="running",
        created_ns=CREATED_NS,
    )


@pytest.mark.parametrize("wrong", [None, [], {}, False, 7, Decimal("0.5")])
@pytest.mark.parametrize(
    "field",
    ["disposition", "contact_id", "conversation_id", "trigger_id", "error", "trace_id"],
)
def test_a_text_of_another_type_is_unknown(field: str, wrong: Any) -> None:
    """Fields that are not essential do not cost the run."""
    row = documented_run() | {field: wrong}
    run = _understood(parse_run(row, workspace_id="ws", agent_id="ag"))
    assert getattr(run, field) is None


@pytest.mark.parametrize("wrong", [None, "1820", [], "NaN"])
def test_a_number_of_another_type_is_unknown(wrong: Any) -> None:
    """Unknown is not zero."""
    run = _understood(_run(duration_ms=wrong, token_usage=wrong, total_cost=wrong))
    assert (run.duration_ns, run.input_tokens, run.output_tokens, run.cost_usd) == (None,) * 4
    assert run.time_adjusted is False
    half = _understood(_run(token_usage={"input": wrong, "output": 3}))
    assert (half.input_tokens, half.output_tokens) == (None, 3)


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"status": None}, parsing.BAD_STATUS),
        ({"status": ""}, parsing.BAD_STATUS),
        ({"status": 3}, parsing.BAD_STATUS),
        ({"status": "x" * 65}, parsing.BAD_STATUS),
        ({"created_at": None}, parsing.BAD_CREATED_AT),
        ({"created_at": "soon"}, parsing.BAD_CREATED_AT),
        ({"created_at": "10000-01-01T00:00:00Z"}, parsing.BAD_CREATED_AT),
        ({"created_at": "1969-12-31T23:59:59Z"}, parsing.BAD_CREATED_AT),
        ({"created_at": True}, parsing.BAD_CREATED_AT),
        ({"total_cost": -0.01}, parsing.BAD_COST),
        ({"total_cost": 1_000_000.01}, parsing.BAD_COST),
        ({"total_cost": True}, parsing.BAD_COST),
        ({"token_usage": {"input": -1, "output": 0}}, parsing.BAD_TOKENS),
        ({"token_usage": {"input": 0, "output": 1.5}}, parsing.BAD_TOKENS),
        ({"token_usage": {"input": 10**12 + 1, "output": 0}}, parsing.BAD_TOKENS),
        ({"token_usage": {"input": False, "output": 0}}, parsing.BAD_TOKENS),
        ({"duration_ms": True}, parsing.BAD_DURATION),
    ],
)
def test_a_hostile_field_makes_its_run_unreadable(over: dict[str, Any], reason: str) -> None:
    """With one of the fixed reasons, and the run's id to find it by."""
    run = _run(**over)
    assert isinstance(run, Unreadable)
    assert (run.run_id, run.reason) == (RUN, reason)
    assert reason in REASONS


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5_000])
@pytest.mark.parametrize(
    ("field", "reason"),
    [("total_cost", parsing.BAD_COST), ("duration_ms", parsing.BAD_DURATION)],
)
def test_what_json_forbids_as_a_number_is_quarantined(field: str, reason: str, number: str) -> None:
    """`json.loads` would have taken most of them."""
    run = _written(field, number)
    assert isinstance(run, Unreadable)
    assert run.reason == reason
    assert number not in run.detail


@pytest.mark.parametrize(
    ("written", "cost"),
    [
        ("0", "0"),
        ("-0.0", "0.0"),
        ("1e-9", "0.000000001"),
        ("0.1", "0.1"),
        ("1000000", "1000000"),
        ("0." + "0" * 39 + "1", "1e-40"),
        ("12345.678901234567890123456789012345", "12345.678901234567890123456789012345"),
    ],
)
def test_a_cost_is_exact(written: str, cost: str) -> None:
    """To the last digit that Conduit wrote; a negative zero is zero."""
    run = _understood(_written("total_cost", written))
    assert run.cost_usd == Decimal(cost)
    assert run.cost_usd is not None
    assert not run.cost_usd.is_signed()


def test_a_cost_of_endless_places_is_hostile() -> None:
    """Forty decimal places are more than any price list has."""
    run = _written("total_cost", "0." + "0" * 40 + "1")
    assert isinstance(run, Unreadable)
    assert run.reason == parsing.BAD_COST


@pytest.mark.parametrize(("written", "tokens"), [("1820.0", 1820), ("0", 0), ("1e12", 10**12)])
def test_integral_tokens_are_whole_numbers(written: str, tokens: int) -> None:
    """However JSON wrote them."""
    run = _understood(_written("token_usage", f'{{"input": {written}, "output": 1}}'))
    assert run.input_tokens == tokens
    assert type(run.input_tokens) is int


@pytest.mark.parametrize(
    ("duration_ms", "duration_ns", "adjusted"),
    [
        (0, 0, False),
        (4213.5, 4_213_500_000, False),
        (0.0000004, 0, False),
        (-1, None, True),
        (1e300, None, True),
        (10**11, None, True),
    ],
)
def test_an_impossible_duration_is_unknown(
    duration_ms: float,
    duration_ns: int | None,
    adjusted: bool,  # noqa: FBT001 - a table
) -> None:
    """Times of the run may still tell it; the run is marked."""
    run = _understood(_run(duration_ms=duration_ms))
    assert (run.duration_ns, run.time_adjusted) == (duration_ns, adjusted)


@pytest.mark.parametrize("completed_at", ["whenever", "10000-01-01T00:00:00Z", 0, []])
def test_a_garbled_end_is_unknown(completed_at: Any) -> None:
    """The run is kept, without an end, and marked."""
    run = _understood(_run(completed_at=completed_at))
    assert run.completed_ns is None
    assert run.time_adjusted is True


def test_bent_times_mark_their_run() -> None:
    """A leap second at the start, a missing zone at the end."""
    start = _understood(_run(created_at="2026-04-03T03:13:60Z"))
    assert (start.created_ns, start.time_adjusted) == (CREATED_NS - 15_000_000_001, True)
    end = _understood(_run(completed_at="2026-04-03T03:14:16"))
    assert (end.completed_ns, end.time_adjusted) == (CREATED_NS + 1_000_000_000, True)


def test_an_unknown_status_is_in_flight() -> None:
    """It is kept as it is, and the run is not taken for ended."""
    run = _understood(_run(status="paused"))
    assert (run.status, run.terminal) == ("paused", False)


def test_unknown_fields_are_ignored() -> None:
    """Conduit may add to its answers."""
    assert _run(brand_new={"a": [1]}, version=3) == _run()


@pytest.mark.parametrize(
    ("value", "identity"),
    [
        ("ar1", "ar1"),
        ("a/b?c", "a/b?c"),
        (77, "77"),
        ("x" * 256, "x" * 256),
        ("x" * 257, None),
        (10**300, None),
        ("", None),
        ("  ", None),
        (".", None),
        ("..", None),
        ("a\ufffdb", None),
        (None, None),
        (True, None),
        (["ar1"], None),
        (Decimal(7), None),
    ],
)
def test_an_id_is_usable_or_none(value: Any, identity: str | None) -> None:
    """An id is text of sane length that can stand in a path."""
    assert parse_id(value) == identity


def test_a_row_without_an_id_is_unreadable() -> None:
    """Unless the request has named the run already."""
    row = documented_run() | {"id": None}
    nameless = parse_run(row, workspace_id="ws", agent_id="ag")
    assert isinstance(nameless, Unreadable)
    assert (nameless.run_id, nameless.reason) == (None, parsing.BAD_ID)
    named = parse_run(row, workspace_id="ws", agent_id="ag", run_id="ar7")
    assert _understood(named).id == "ar7"


@pytest.mark.parametrize(
    ("written", "items"),
    [
        ("null", ()),
        ("[]", ()),
        ("[null, 1, [2]]", (None, 1, [2])),
        ('{"name": "search"}', ({"name": "search"},)),
        ('"search"', ("search",)),
        ("0", (0,)),
        ("false", (False,)),
        ('[{"output": 1e999}]', ({"output": "1e999"},)),
    ],
)
def test_a_tool_trace_of_any_shape_is_kept(written: str, items: tuple[Any, ...]) -> None:
    """An item of a list, or one item where there is no list."""
    text = json.dumps(documented_run() | {"tool_trace": "@"}).replace('"@"', written)
    detail = parse_run_detail(decode_json(text.encode()), workspace_id="ws", agent_id="ag")
    assert isinstance(detail, RunDetail)
    assert detail.tool_trace == items


def test_a_tool_trace_that_nobody_can_walk_is_unreadable() -> None:
    """At a fixed depth, not wherever the interpreter happens to give up."""
    trace: Any = []
    for _ in range(99):
        trace = [trace]
    row = documented_run() | {"tool_trace": trace}
    assert isinstance(parse_run_detail(row, workspace_id="w", agent_id="a"), RunDetail)
    row["tool_trace"] = [trace]
    detail = parse_run_detail(row, workspace_id="w", agent_id="a")
    assert isinstance(detail, Unreadable)
    assert (detail.run_id, detail.reason) == (RUN, parsing.TOO_DEEP)


@pytest.mark.parametrize("body", [None, [], "x", {"data": None}, {"data": [1]}, {"data": "x"}])
def test_an_item_must_be_an_object(body: Any) -> None:
    """An answer without one is malformed, not an empty run."""
    with pytest.raises(SourceMalformed):
        parse_run_detail(body, workspace_id="ws", agent_id="ag")


def test_a_page_goes_on_past_an_unreadable_row() -> None:
    """One bad run costs itself alone."""
    good = {"id": "ws1", "name": "Hotel"}
    page = parse_page(page_of(good, None, {"name": "?"}, {"id": "ws2"}), parse_workspace)
    assert page.rows == (Workspace("ws1", "Hotel"), Workspace("ws2", "ws2"))
    assert [one.reason for one in page.unreadable] == [parsing.NOT_AN_OBJECT, parsing.BAD_ID]
    assert page.next_cursor is None


@pytest.mark.parametrize(
    ("paging", "cursor"),
    [
        ({"next_cursor": "c2", "has_more": True}, "c2"),
        ({"next_cursor": "c2"}, "c2"),
        ({"next_cursor": "c2", "has_more": "yes"}, "c2"),
        ({"next_cursor": "c2", "has_more": False}, None),
        ({"next_cursor": 17, "has_more": True}, "17"),
        ({"next_cursor": None, "has_more": False}, None),
        ({"next_cursor": ""}, None),
        ({}, None),
    ],
)
def test_a_cursor_leads_on_while_there_is_more(paging: dict[str, Any], cursor: str | None) -> None:
    """The cursor is opaque; `has_more: false` ends the list."""
    page: Page[Workspace] = parse_page({"data": []} | paging, parse_workspace)
    assert page.next_cursor == cursor


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"error": "no"},
        {"data": None},
        {"data": {}},
        {"data": "rows"},
        {"data": [], "has_more": True},
        {"data": [], "has_more": True, "next_cursor": ""},
        {"data": [], "next_cursor": []},
        {"data": [], "next_cursor": "c" * 4_097},
    ],
)
def test_what_is_no_page_is_malformed(body: Any) -> None:
    """It is never taken for an empty list, nor a list for ended that goes on."""
    with pytest.raises(SourceMalformed):
        parse_page(body, parse_workspace)


def test_an_agent_falls_back_on_the_request() -> None:
    """Its workspace is the one asked for, its name its id."""
    assert parse_agent({"id": "ag1"}, workspace_id="ws1") == Agent("ag1", "ws1", "ag1")
    row = {"id": "ag1", "workspace_id": "ws2", "name": "Concierge"}
    assert parse_agent(row, workspace_id="ws1") == Agent("ag1", "ws2", "Concierge")
    for bad in ({"id": "ag1"}, {"workspace_id": "ws1"}, "ag1"):
        assert isinstance(parse_agent(bad, workspace_id=None), Unreadable)


_scalar = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["2026-04-03T03:14:60Z", "NaN", "..", "\x00", 10**400])
)
_any_json = st.recursive(
    _scalar,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(documented_run())), _any_json))
def test_any_mutation_of_a_run_is_a_run_or_unreadable(changes: dict[str, Any]) -> None:
    """And what is read can be stored: whole numbers in 64 bits, no surrogates, no NUL."""
    row = decode_json(as_json(documented_run() | changes))
    detail = parse_run_detail({"data": row}, workspace_id="ws", agent_id="ag")
    if isinstance(detail, Unreadable):
        assert detail.reason in REASONS
        return
    run = detail.run
    for number in (run.created_ns, run.completed_ns, run.duration_ns, run.input_tokens):
        assert number is None or (type(number) is int and 0 <= number < 2**63)
    assert run.cost_usd is None or 0 <= run.cost_usd <= 10**6
    for text in (run.id, run.status, run.error, detail.response, detail.session_id):
        assert text is None or "\x00" not in text.encode().decode()


@given(_any_json)
def test_any_json_is_a_page_or_malformed(body: Any) -> None:
    """No shape of an answer raises anything but SourceMalformed."""
    decoded = decode_json(as_json(body))
    for data in (decoded, {"data": decoded}, {"data": [decoded]}):
        try:
            page = parse_page(data, lambda row: parse_run(row, workspace_id="w", agent_id="a"))
        except SourceMalformed:
            continue
        assert all(one.reason in REASONS for one in page.unreadable)
