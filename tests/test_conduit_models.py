"""Bodies of answers as runs, agents, workspaces and pages."""

import json
import traceback
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.conduit.decoding import MAX_ELEMENTS, decode_json
from exporter.conduit.models import (
    Page,
    Reason,
    Run,
    RunDetail,
    Unreadable,
    Workspace,
    parse_id,
    parse_page,
    parse_run,
    parse_run_detail,
    parse_workspace,
)
from exporter.errors import SourceMalformed
from tests.conduit_support import AGENT, ANY_JSON, RUN, WORKSPACE, as_json
from tests.convert_support import FIXTURES, example

CREATED_NS = 1_775_186_055_000_000_000
MIB = 1024 * 1024


def _run(**over: Any) -> Run | Unreadable:
    row = decode_json(as_json(example() | over))
    return parse_run(row, workspace_id="ws_asked", agent_id="ag_asked")


def _written(field: str, json_text: str) -> RunDetail | Unreadable:
    """The run with a value as it stands in the JSON text, which Python could not write."""
    text = json.dumps(example() | {field: "@"}).replace('"@"', json_text)
    return parse_run_detail(decode_json(text.encode()), workspace_id="ws", agent_id="ag")


def _read(**over: Any) -> Run:
    run = _run(**over)
    assert isinstance(run, Run)
    return run


def test_the_published_example_is_read_exactly() -> None:
    """The example of the published OpenAPI document, field by field."""
    published = yaml.safe_load((FIXTURES / "get-run.openapi.yaml").read_text("utf-8"))
    operation = published["paths"]["/v1/agents/{id}/runs/{run_id}"]["get"]
    example = operation["responses"]["200"]["content"]["application/json"]["schema"]["example"]
    detail = parse_run_detail(decode_json(as_json(example)), workspace_id="ws", agent_id="ag")
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
        response=example["data"]["response"],
        reflection=example["data"]["reflection"],
        tool_trace=(
            {
                "name": "get_reservation",
                "input": {"reservation_id": "res_123"},
                "output": {"status": "confirmed", "check_in": "2026-04-05"},
            },
        ),
    )


def test_missing_null_renamed_and_extra_fields_are_tolerated() -> None:
    """What is not essential does not cost the run; an unknown status is in flight."""
    optional = ("disposition", "contact_id", "conversation_id", "trigger_id", "error", "trace_id")
    others: tuple[Any, ...] = (None, [], {}, False, 7)
    for wrong in others:
        run = _read(**dict.fromkeys(optional, wrong))
        assert [getattr(run, name) for name in optional] == [None] * len(optional)
    numbers = _read(duration_ms=None, token_usage=None, total_cost=None)
    assert (numbers.duration_ns, numbers.input_tokens, numbers.cost_usd) == (None, None, None)
    half = _read(token_usage={"input": None, "output": 3, "cached": "many"})
    assert (half.input_tokens, half.output_tokens) == (None, 3)
    assert _read(token_usage={}).input_tokens is None
    assert _run(brand_new={"a": [1]}, version=3) == _run()
    assert _read(status="paused").terminal is False


@pytest.mark.parametrize(
    ("field", "written", "value"),
    [
        *(
            ("total_cost", written, Decimal(cost))
            for written, cost in (
                ("0", "0"),
                ("-0.0", "0.0"),
                ("1e-9", "0.000000001"),
                ("1000000", "1000000"),
                ("0." + "0" * 39 + "1", "1e-40"),
                ("12345.678901234567890123456789012345", "12345.678901234567890123456789012345"),
                ('"0.0121"', "0.0121"),
                ('" 1e-9 "', "1e-9"),
            )
        ),
        *(
            ("token_usage", f'{{"input": {written}, "output": 1}}', tokens)
            for written, tokens in (("1820.0", 1820), ('"1820"', 1820), ("1e12", 10**12))
        ),
        ("token_usage", '{"input": null, "output": 1}', None),
    ],
)
def test_a_number_is_exact_also_as_text(field: str, written: str, value: Decimal | None) -> None:
    """Cost to the last digit that Conduit wrote, tokens whole; a negative zero is zero."""
    detail = _written(field, written)
    assert isinstance(detail, RunDetail)
    found = detail.run.cost_usd if field == "total_cost" else detail.run.input_tokens
    assert (found, type(found)) == (value, type(value))
    assert not str(found).startswith("-")


@pytest.mark.parametrize(
    ("field", "written", "reason"),
    [
        *(
            (field, written, reason)
            for field, reason in (("total_cost", Reason.COST), ("duration_ms", Reason.DURATION))
            for written in ("true", '"abc"', '""', "[]", '{"inputTokens": 1}', '"1_000"', '"+5"')
        ),
        *(
            (field, written, reason)
            for field, reason in (("total_cost", Reason.COST), ("duration_ms", Reason.DURATION))
            for written in ("NaN", "-Infinity", "1e999", "9" * 5_000, '"NaN"', '"1e999999999"')
        ),
        ("total_cost", "-0.01", Reason.COST),
        ("total_cost", '"-0.01"', Reason.COST),
        ("total_cost", "1000000.01", Reason.COST),
        ("total_cost", "0." + "0" * 40 + "1", Reason.COST),
        ("token_usage", '{"inputTokens": 1}', Reason.TOKENS),
        ("token_usage", "1820", Reason.TOKENS),
        ("token_usage", "true", Reason.TOKENS),
        ("token_usage", "[]", Reason.TOKENS),
        ("token_usage", '{"input": -1}', Reason.TOKENS),
        ("token_usage", '{"output": 1.5}', Reason.TOKENS),
        ("token_usage", '{"input": 1000000000001}', Reason.TOKENS),
        ("token_usage", '{"input": false}', Reason.TOKENS),
        ("token_usage", '{"input": {"inputTokens": 1}}', Reason.TOKENS),
        ("token_usage", '{"output": "abc"}', Reason.TOKENS),
        ("status", "null", Reason.STATUS),
        ("status", '""', Reason.STATUS),
        ("status", "3", Reason.STATUS),
        ("status", f'"{"x" * 65}"', Reason.STATUS),
        ("created_at", "null", Reason.CREATED_AT),
        ("created_at", '"soon"', Reason.CREATED_AT),
        ("created_at", '"10000-01-01T00:00:00Z"', Reason.CREATED_AT),
        ("created_at", "true", Reason.CREATED_AT),
    ],
)
def test_a_hostile_field_quarantines_its_run(field: str, written: str, reason: str) -> None:
    """With one of the fixed reasons, the run's id to find it by, and no value quoted."""
    run = _written(field, written)
    assert isinstance(run, Unreadable)
    assert (run.run_id, run.reason) == (RUN, reason)
    assert written.strip('"{}[]') not in run.detail or len(written) < 3


@pytest.mark.parametrize(
    ("written", "duration_ns", "adjusted"),
    [
        ("0", 0, False),
        ("4213.5", 4_213_500_000, False),
        ('"4213"', 4_213_000_000, False),
        ("0.0000004", 0, False),
        ("-1", None, True),
        ("1e300", None, True),
        ("100000000000", None, True),
    ],
)
def test_an_impossible_duration_is_unknown(
    written: str, duration_ns: int | None, *, adjusted: bool
) -> None:
    """Times of the run may still tell it; the run is marked."""
    detail = _written("duration_ms", written)
    assert isinstance(detail, RunDetail)
    assert (detail.run.duration_ns, detail.run.time_adjusted) == (duration_ns, adjusted)


def test_leap_seconds_naive_times_and_ends_before_the_start_are_kept_and_marked() -> None:
    """An end before the start is what Conduit says: the conversion clamps it."""
    start = _read(created_at="2026-04-03T03:13:60Z")
    assert (start.created_ns, start.time_adjusted) == (CREATED_NS - 15_000_000_001, True)
    end = _read(completed_at="2026-04-03T03:14:16")
    assert (end.completed_ns, end.time_adjusted) == (CREATED_NS + 1_000_000_000, True)
    before = _read(completed_at="2026-04-03T03:14:14Z")
    assert (before.completed_ns, before.time_adjusted) == (CREATED_NS - 1_000_000_000, False)


@pytest.mark.parametrize(
    ("value", "identity"),
    [
        ("ar1", "ar1"),
        ("a/b?c", "a/b?c"),
        (77, "77"),
        ("x" * 256, "x" * 256),
        *((bad, None) for bad in ("x" * 257, 10**300, "", "  ", ".", "..", "a\ufffdb")),
        *((bad, None) for bad in (None, True, ["ar1"], Decimal(7))),
    ],
)
def test_an_id_is_usable_or_none(value: Any, identity: str | None) -> None:
    """An id is text of sane length that can stand in a path."""
    assert parse_id(value) == identity


def test_a_row_without_an_id_is_unreadable() -> None:
    """Unless the request has named the run already."""
    row = decode_json(as_json(example() | {"id": None}))
    nameless = parse_run(row, workspace_id="ws", agent_id="ag")
    assert isinstance(nameless, Unreadable)
    assert (nameless.run_id, nameless.reason) == (None, Reason.ID)
    named = parse_run(row, workspace_id="ws", agent_id="ag", run_id="ar7")
    assert isinstance(named, Run)
    assert named.id == "ar7"


@pytest.mark.parametrize(
    ("written", "items"),
    [
        ("null", ()),
        ("[]", ()),
        ("[null, 1, [2]]", (None, 1, [2])),
        ('{"name": "search"}', ({"name": "search"},)),
        ('"search"', ("search",)),
        ("false", (False,)),
        (
            '[{"call_id": 1e999, "n": NaN, "p": 0.10}]',
            ({"call_id": "1e999", "n": "NaN", "p": "@"},),
        ),
    ],
)
def test_a_tool_trace_of_any_shape_is_kept(written: str, items: tuple[Any, ...]) -> None:
    """An item of a list, or one item where there is no list; no number that cannot be written."""
    detail = _written("tool_trace", written)
    assert isinstance(detail, RunDetail)
    assert json.loads(json.dumps(detail.tool_trace, default=lambda _: "@")) == list(items)


@pytest.mark.parametrize(
    ("paging", "cursor", "has_more"),
    [
        ({"next_cursor": "c2", "has_more": True}, "c2", True),
        ({"next_cursor": "c2"}, "c2", True),
        ({"next_cursor": "c2", "has_more": "yes"}, "c2", True),
        ({"next_cursor": 17, "has_more": True}, "17", True),
        ({"next_cursor": "c2", "has_more": False}, None, False),
        ({"next_cursor": None, "has_more": False}, None, False),
        ({"next_cursor": ""}, None, False),
        ({}, None, False),
        ({"next_cursor": None, "has_more": True}, None, True),
        ({"next_cursor": "", "has_more": True}, None, True),
        ({"next_cursor": []}, None, True),
        ({"next_cursor": "c" * 4_097}, None, True),
    ],
)
def test_has_more_without_a_usable_cursor_is_told(
    paging: dict[str, Any], cursor: str | None, *, has_more: bool
) -> None:
    """The page's rows are good all the same; only `has_more: false` and silence end a list."""
    page = parse_page({"data": [{"id": "ws1"}]} | paging, parse_workspace)
    assert page == Page((Workspace("ws1", "ws1"),), (), cursor, has_more)


@pytest.mark.parametrize(
    "body", [None, [], {}, {"error": "no"}, {"data": None}, {"data": {}}, {"data": "rows"}]
)
def test_what_is_no_page_is_malformed(body: Any) -> None:
    """It is never taken for an empty list."""
    with pytest.raises(SourceMalformed):
        parse_page(body, parse_workspace)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b" [0.1, 1e-9, 12] ", [Decimal("0.1"), Decimal("1e-9"), 12]),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (rb'["\ud800", "x\u0000y", "\\ud800"]', ["\ufffd", "x\ufffdy", r"\ud800"]),
        (rb'{"\udfff": {"k\u0000": ["\uDC00"]}}', {"\ufffd": {"k\ufffd": ["\ufffd"]}}),
        (b'["\x00", "line\nend"]', ["\ufffd", "line\nend"]),
        (b'["caf\xe9", "\xed\xa0\x80"]', ["caf\ufffd", "\ufffd\ufffd\ufffd"]),
        (rb'{"smile": "\ud83d\ude00", "path": "C:\\udata"}', {"smile": "😀", "path": r"C:\udata"}),
        (b"[NaN, -Infinity, 1e999, -1e400]", ["NaN", "-Infinity", "1e999", "-1e400"]),
        (b"[1e99999999999999999999, 1e-999]", ["1e99999999999999999999", "1e-999"]),
        (b"[" + b"9" * 5_000 + b"]", ["9" * 5_000]),
    ],
)
def test_lone_surrogates_nul_and_endless_numbers_are_replaced(body: bytes, value: Any) -> None:
    """Numbers are exact, the last of duplicate keys counts, and all of it can be stored."""
    assert decode_json(body) == value


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        *(
            (body, "not JSON")
            for body in (b"", b"{", b"<html>", b'{"a": 1} x', b"nope", b'["\\x"]')
        ),
        (b"\xff\xfe{\x00}\x00", "not JSON"),
        (b'["never closed\\', "not JSON"),
        (b"[" * 100_000, "too deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too deep"),
        (b"[" + b"[]," * (MAX_ELEMENTS // 2 + 1) + b"[]]", "more than 500000 elements"),
        (b'[{"a":1}' + b',{"a":1}' * (MAX_ELEMENTS // 2) + b"]", "more than 500000 elements"),
    ],
    ids=lambda value: value[:12] if isinstance(value, bytes) else value,
)
def test_what_is_not_json_or_out_of_bounds_is_malformed(body: bytes, problem: str) -> None:
    """An answer that is not JSON is an error, never an empty value."""
    with pytest.raises(SourceMalformed, match=problem):
        decode_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * (8 * MIB // 3 - 1) + b"{}]",
        b"[[],[{}]" + b",[]" * (8 * MIB // 3 - 3) + b"]",
        b'["' + b'\\"' * (4 * MIB - 2) + b'"]',
        b'["' + b'\\"' * (4 * MIB - 2),
        b'[""' + b',""' * 249_999 + b"]",
    ],
    ids=["empty objects", "tiny lists", "escapes", "escapes without an end", "many strings"],
)
def test_a_hostile_body_of_8_mib_is_bounded(body: bytes) -> None:
    """A million empty tool items and their kind: refused, or read, in bounded memory.

    Were it quadratic in time, it would take this test hours.
    """
    tracemalloc.start()
    try:
        decode_json(body)
    except SourceMalformed:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 100 * MIB


def test_commas_and_brackets_in_texts_are_no_elements() -> None:
    """A long tool output that holds JSON is one text."""
    text = '{"a": [1, 2]},' * 200_000
    assert decode_json(as_json([text])) == [text]


def test_the_error_carries_nothing_of_the_body() -> None:
    """Guest text stays out of the exception, its causes and its traceback."""
    with pytest.raises(SourceMalformed) as caught:
        decode_json(b'{"response": "my card is 4111 1111", oops}')
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "4111" not in "".join(traceback.format_exception(caught.value, limit=0))


@given(st.dictionaries(st.sampled_from(sorted(example())), ANY_JSON))
def test_any_mutation_of_a_run_is_a_run_or_unreadable(changes: dict[str, Any]) -> None:
    """And what is read can be stored: whole numbers in 64 bits, no surrogates, no NUL."""
    row = decode_json(as_json(example() | changes))
    detail = parse_run_detail({"data": row}, workspace_id="ws", agent_id="ag")
    if isinstance(detail, Unreadable):
        assert detail.reason in list(Reason)
        return
    run = detail.run
    for number in (run.created_ns, run.completed_ns, run.duration_ns, run.input_tokens):
        assert number is None or (type(number) is int and 0 <= number < 2**63)
    assert run.cost_usd is None or 0 <= run.cost_usd <= 10**6
    for text in (run.id, run.status, run.error, detail.response, detail.session_id):
        assert text is None or "\x00" not in text.encode().decode()
