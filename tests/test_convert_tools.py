"""Tool calls of every shape: what is understood, what belongs together, and what is left out."""

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from exporter.convert.spans import ToolCall
from exporter.convert.tools import MAX_SPANS, Tool, ToolCalls, read_tool_trace
from exporter.convert.trace import ConvertOptions
from tests.convert_support import CONTENT, FIXTURES, OPTIONS, said, trace_of
from tests.factories import SECOND_NS

T_NS = 1_775_185_455 * SECOND_NS
ODD_NUMBERS = (Decimal("1e999"), float("inf"), Decimal("sNaN"))
ODD_VALUES: tuple[Any, ...] = ([], {}, [{}], True)
NO_ERRORS: tuple[Any, ...] = (
    *(None, "", " ", "n/a", "N/A", "undefined", "None", "null", "false"),
    *(False, 0, {}, [], {"message": "", "code": "n/a"}),
)
FUNCTION = {"name": "search", "arguments": "{}"}
CALL = {"id": "call_1", "type": "function", "function": FUNCTION}


def read(*items: Any) -> ToolCalls:
    return read_tool_trace(items, name_of=str)


def only(item: Any) -> Tool:
    (tool,) = read(item).shown
    return tool


def seen(*items: Any) -> list[tuple[Any, ...]]:
    """Name, call id, input, output and failure of each call."""
    return [
        (tool.name, tool.call_id, tool.input, tool.output, tool.failed)
        for tool in read(*items).shown
    ]


# Each framework's way of telling one call with its result: `search` of {"q": 1} found "rooms".
SHAPES: dict[str, list[Any]] = json.loads((FIXTURES / "tool_shapes.json").read_text())


@pytest.mark.parametrize("items", SHAPES.values(), ids=SHAPES)
def test_every_usual_shape_is_one_call_with_its_result(items: list[Any]) -> None:
    """Name, input and output are found, and a call and its result are one span."""
    calls = read(*items)
    (tool,) = calls.shown

    name = "search_it" if tool.name == "search_it" else "search"
    assert (tool.name, tool.input, tool.output, tool.failed) == (name, {"q": 1}, "rooms", False)
    assert tool.whole is None
    assert calls.counted == {ToolCall(name, failed=False): 1}


def test_an_item_of_several_calls_is_several_spans() -> None:
    """Parallel calls keep their order, their results find them, and their span ids differ."""
    items = (
        {"role": "assistant", "tool_calls": [CALL, {**CALL, "id": "call_2"}, None]},
        {"role": "tool", "tool_call_id": "call_2", "content": "second"},
        {"role": "tool", "tool_call_id": "call_1", "content": "first"},
    )

    assert seen(*items) == [
        ("search", "call_1", "{}", "first", False),
        ("search", "call_2", "{}", "second", False),
    ]
    spans = trace_of(*items).spans
    assert len({span.context.span_id for span in spans}) == 3
    assert [said(span)["conduit.tool.index"] for span in spans[1:]] == [0, 0]


def test_results_without_an_id_belong_to_the_calls_of_their_name_in_order() -> None:
    """Gemini tells no ids: the first answer is the first call's."""
    call, answer = ({"functionCall": {"name": "a"}}, {"functionResponse": {"name": "a"}})

    answers = [{"functionResponse": {"name": "a", "response": {"n": n}}} for n in (1, 2, 3)]
    assert [one[3] for one in seen(call, call, *answers)] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert len(read(call, answer).shown) == 2  # no response, no result


@pytest.mark.parametrize(
    "items",
    [
        pytest.param([{"name": "a", "input": 1, "output": 2, "id": 7}] * 2, id="numbered alike"),
        pytest.param([{"name": "a", "id": "r"}, {"name": "b", "id": "r", "output": 1}], id="names"),
        pytest.param(
            [{"name": "a", "input": 1, "output": 2, "call_id": "x"}] * 2, id="whole twice"
        ),
        pytest.param([{"name": "a", "call_id": "x"}] * 2, id="an id used again"),
        pytest.param(
            [{"name": "a", "call_id": True}, {"call_id": 1, "output": 2}], id="true is not 1"
        ),
        pytest.param([{"tool_call_id": "c", "output": 1}, {"name": "a"}], id="a result of nothing"),
    ],
)
def test_what_does_not_belong_together_is_counted_apart(items: list[Any]) -> None:
    """A plain id may be anybody's, and a call that is whole needs no other."""
    assert read(*items).counted.total() == 2


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(None, id="null"),
        pytest.param({"role": "user", "name": "Jane", "content": "Hello"}, id="a guest's message"),
        pytest.param({"role": "assistant", "content": "Hi", "tool_calls": []}, id="no call in it"),
        pytest.param({"type": "reasoning", "text": "I should look"}, id="a thought"),
        pytest.param({"toolCalls": [], "toolResults": []}, id="a step without calls"),
    ],
)
def test_what_is_no_call_is_no_span(item: Any) -> None:
    """Messages and thoughts around the calls are none."""
    assert read(item) == ToolCalls()


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"name": "Search the web"}, "Search the web"),
        ({"name": "search", "tool": "other", "action": "third"}, "search"),
        ({"tool": "other", "name": "search"}, "search"),
        ({"name": "", "tool": "search"}, "search"),
        ({"name": "send", "params": {"name": "Jane", "arguments": 1}}, "send"),
        ({"method": "tools/call", "params": {"name": "search"}}, "search"),
        ({"method": "m", "input": 1, "params": {"name": "search"}}, "search"),
        ("get_reservation", "get_reservation"),
        (["get_reservation", {"id": 1}], "get_reservation"),
        ({"params": {"name": "Jane Doe"}}, "unknown"),
        ({"action": "I looked up Jane's booking"}, "unknown"),
        ({"tool": "x" * 65}, "unknown"),
        ({"type": "tool-result", "output": 1}, "unknown"),
        ({"function": {"arguments": "{}"}}, "unknown"),
        ({7: "search"}, "unknown"),
        ({}, "unknown"),
        ("Looked up the booking", "unknown"),
        ("search", "unknown"),
        (["Looked", "up"], "unknown"),
        ([{"thought": "hm"}, None], "unknown"),
        (False, "unknown"),
    ],
)
def test_the_name_is_a_name_or_unknown(item: Any, name: str) -> None:
    """What is given as a name is one; prose, and the names of guests, are none."""
    assert only(item).name == name


def test_an_item_is_kept_whole_where_it_is_not_understood() -> None:
    """Without a name, or with neither input nor output."""
    for item in ({"x": 1}, {"name": "search"}, {"input": 1}, "prose here", [1, 2], 7):
        assert only(item).whole == item
    assert only({"name": "search", "input": 0}).whole is None


@pytest.mark.parametrize(
    ("item", "call_id"),
    [
        ({"tool_call_id": "abc-1"}, "abc-1"),
        ({"id": "call_1"}, "call_1"),
        ({"call_id": "a", "id": "call_1"}, "a"),
        ({"id": "res_123"}, None),
        ({"tool_call_id": "jane doe"}, None),
        ({"tool_call_id": "x" * 129}, None),
        ({"tool_call_id": 10**5_000}, None),
        *(({"call_id": odd}, None) for odd in ODD_NUMBERS),
        *(({"call_id": odd}, None) for odd in ODD_VALUES),
    ],
)
def test_call_ids(item: Any, call_id: str | None) -> None:
    """A plain `id` may be a guest's; only what is marked as a call's is shown, and none raises."""
    assert only({"name": "a", **item}).call_id == call_id


@pytest.mark.parametrize(
    ("item", "error_type"),
    [
        ({"error": "boom"}, "_OTHER"),
        ({"error": {"type": "Rate limited"}}, "rate_limited"),
        ({"error": {"type": "Jane", "code": 404}}, "404"),
        ({"error": {"status": "not-found"}}, "not_found"),
        ({"error": {"message": "m"}, "error_type": "forbidden"}, "forbidden"),
        ({"error_type": "timeout"}, "timeout"),
        ({"errorText": "boom", "state": "output-error"}, "_OTHER"),
        ({"exception": "E", "status_code": 503}, "503"),
        ({"status_code": 500}, "500"),
        ({"statusCode": "429"}, "429"),
        ({"status": "error"}, "_OTHER"),
        ({"status": " Timed Out "}, "timeout"),
        ({"status": "cancelled"}, "cancelled"),
        ({"outcome": "Canceled"}, "cancelled"),
        ({"state": "output-denied"}, "_OTHER"),
        ({"success": False}, "_OTHER"),
        ({"ok": "false"}, "_OTHER"),
        ({"isError": True}, "_OTHER"),
        ({"cancelled": True}, "_OTHER"),
        ({"output": {"content": [], "isError": True}}, "_OTHER"),
        ({"output": '{"isError": true}'}, "_OTHER"),
        ({"output": {"type": "error-text", "value": "no room"}}, "_OTHER"),
        ({"toolResult": {"status": "error", "content": []}}, "_OTHER"),
    ],
)
def test_an_item_that_says_it_failed(item: Any, error_type: str) -> None:
    """By error, code, status or flag; free text never becomes the type."""
    tool = only({"name": "a", **item})

    assert (tool.failed, tool.error_type) == (True, error_type)


@pytest.mark.parametrize(
    "item",
    [
        *({"error": no} for no in NO_ERRORS),
        *(
            {"status": "confirmed"},
            {"status": 200},
            {"status": True},
            {"status": 399},
            {"status": {}},
        ),
        *({"success": True}, {"success": None}, {"success": "n/a"}, {"ok": "ok"}, {"ok": []}),
        *({"is_error": "false"}, {"status_code": 302}, {"status_code": Decimal("sNaN")}),
        *({"output": {"error": "card declined"}}, {"output": "error"}, {"output": '{"error": 1'}),
        *({"output": {"isError": False}}, {"output": {"cancelled": True}}, {"output": {7: 8}}),
    ],
    ids=str,
)
def test_an_item_that_does_not(item: Any) -> None:
    """Empty errors invent none, and what an output says is the tool's business."""
    tool = only({"name": "a", **item})

    assert (tool.failed, tool.error, tool.error_type) == (False, None, "_OTHER")


def test_a_result_that_failed_fails_its_call() -> None:
    """The failure of a result is its call's, whatever the item of the call said."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "pay", "input": {}, "status": "running"}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": True}

    assert seen(call, result) == [("pay", "toolu_1", {}, "no", True)]


@pytest.mark.parametrize(
    ("items", "start", "end"),
    [
        ([{"started_at": T_NS, "ended_at": T_NS + 5}], 0, 5),
        ([{"startTime": T_NS, "endTime": T_NS + 5, "duration_ms": 9}], 0, 5),
        ([{"started_at": T_NS, "duration_ns": 7}], 0, 7),
        ([{"started_at": T_NS, "duration_seconds": 7}], 0, 7 * SECOND_NS),
        ([{"started_at": T_NS, "duration_ns": "x", "duration_ms": 9}], 0, 9_000_000),
        ([{"started_at": T_NS, "ended_at": "soon", "duration_ns": 7}], 0, 7),
        ([{"id": "c", "start": T_NS}, {"call_id": "c", "output": 1, "end": T_NS + 5}], 0, 5),
    ],
)
def test_calls_with_times_of_their_own(items: list[Any], start: int, end: int) -> None:
    """Start and end, or start and a duration, under the usual names; in both items together."""
    (tool,) = read(*items).shown

    assert (tool.start_ns, tool.end_ns) == (T_NS + start, T_NS + end)


@pytest.mark.parametrize(
    "item",
    [
        *({"started_at": T_NS}, {"duration_ms": 5}, {"ended_at": T_NS}, {}),
        *({"start": "soon", "end": "later"}, {"ended_at": T_NS, "duration_ms": 5}),
        {"started_at": T_NS, "duration_ms": -5},
    ],
)
def test_an_item_with_too_little_has_no_time(item: Any) -> None:
    """Nothing is worked out from less."""
    tool = only({"name": "a", **item})

    assert (tool.start_ns, tool.end_ns) == (None, None)


def test_many_items_are_counted_and_a_thousand_shown() -> None:
    """What has no span is counted all the same, and told on the root."""
    trace = trace_of(*[{}] * 50_000, *[{"name": "pay", "error": "declined"}] * 3)

    assert len(trace.spans) == 1 + MAX_SPANS
    assert said(trace.spans[0])["conduit.run.tool_calls"] == 50_003
    assert trace.tools == Counter(
        {ToolCall("unknown", failed=False): 50_000, ToolCall("pay", failed=True): 3}
    )


def test_calls_beyond_the_limit_are_still_completed() -> None:
    """A call without a span is counted once as well, with its result's failure."""
    late = [{"id": "c", "name": "pay", "input": 1}, {"call_id": "c", "error": "declined"}]
    calls = read(*[{"name": "a", "input": 1, "output": 1}] * MAX_SPANS, *late)

    assert len(calls.shown) == MAX_SPANS
    assert calls.counted[ToolCall("pay", failed=True)] == 1
    assert calls.counted.total() == MAX_SPANS + 1


@pytest.mark.parametrize("options", [OPTIONS, CONTENT], ids=["bare", "content"])
@pytest.mark.parametrize("key", [None, "error", "output", "parts", "message", "tool_calls", "data"])
def test_a_trace_as_deep_as_json_is_read_is_converted(
    key: str | None, options: ConvertOptions
) -> None:
    """Nobody walks to the bottom, so the depth of a decoder is no matter here."""
    value: Any = 1
    for _ in range(900):
        value = [value] if key is None else {key: value}
    assert len(trace_of(value, {"name": "x", "error": value}, options=options).spans) == 3
