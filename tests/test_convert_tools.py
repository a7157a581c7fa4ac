"""Items of a tool trace of every shape: what is understood, and what is left out."""

from decimal import Decimal
from typing import Any

import pytest

from exporter.convert.tools import ToolItem, read_tool_item
from tests.factories import SECOND_NS

T_NS = 1_775_185_455 * SECOND_NS


def test_the_documented_item_is_understood() -> None:
    """Name, input and output, nothing more."""
    item = {"name": "get_reservation", "input": {"id": "r"}, "output": {"ok": "no"}}

    assert read_tool_item(item) == ToolItem(
        name="get_reservation", input={"id": "r"}, output={"ok": "no"}
    )


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"name": "search"}, "search"),
        ({"name": "Search the web"}, "Search the web"),
        ({"tool_name": "search"}, "search"),
        ({"toolName": "search"}, "search"),
        ({"function_name": "search"}, "search"),
        ({"tool": "search"}, "search"),
        ({"action": "search"}, "search"),
        ({"name": "search", "tool": "other", "action": "third"}, "search"),
        ({"tool": "other", "name": "search"}, "search"),
        ({"name": None, "tool": "search"}, "search"),
        ({"function": {"name": "search", "arguments": "{}"}}, "search"),
        ({"tool_call": {"name": "search"}}, "search"),
        ("get_reservation", "get_reservation"),
        (["get_reservation", {"id": 1}], "get_reservation"),
        ({"action": "I looked up Jane's booking"}, "unknown"),
        ({"tool": "x" * 65}, "unknown"),
        ({"function": {"arguments": "{}"}}, "unknown"),
        ({"name": {"tool": "x"}}, "unknown"),
        ({"name": ""}, "unknown"),
        ({"name": "  "}, "unknown"),
        ({"name": 7}, "unknown"),
        ({}, "unknown"),
        ("Looked up the booking", "unknown"),
        ("search", "unknown"),
        ("a_" * 40 + "a", "unknown"),
        (["Looked", "up"], "unknown"),
        (["get_reservation", 1, 2, 3], "unknown"),
        ([], "unknown"),
        (7, "unknown"),
        (Decimal("1.5"), "unknown"),
        (False, "unknown"),
    ],
)
def test_the_name_is_a_name_or_unknown(item: Any, name: str) -> None:
    """Usual spellings are understood; prose is never taken for a name."""
    read = read_tool_item(item)

    assert read.name == name
    assert (read.whole is None) == (name != "unknown") or read.input is None


def test_a_call_as_openai_writes_it() -> None:
    """The inner object tells name and arguments, the outer one the call's id."""
    read = read_tool_item(
        {"id": "call_1", "function": {"name": "search", "arguments": '{"q":1}'}, "result": "r"}
    )

    assert (read.name, read.call_id, read.input, read.output) == (
        "search",
        "call_1",
        '{"q":1}',
        "r",
    )


def test_a_step_written_as_a_list() -> None:
    """Name, input, output by their places; what is missing is None."""
    assert read_tool_item(["get_it", {"id": 1}, "found"]) == ToolItem(
        name="get_it", input={"id": 1}, output="found"
    )
    assert read_tool_item(["get_it"]) == ToolItem(name="get_it")


def test_an_item_is_kept_whole_where_it_is_not_understood() -> None:
    """Without a name, or with neither input nor output; even one that is named unknown."""
    for item in ({"x": 1}, {"name": "search"}, {"name": "unknown", "input": 1}, "prose here"):
        assert read_tool_item(item).whole == item
    assert read_tool_item({"name": "search", "input": 0}).whole is None


@pytest.mark.parametrize(
    ("item", "call_id"),
    [
        ({"tool_call_id": "abc-1"}, "abc-1"),
        ({"toolUseId": "toolu_1"}, "toolu_1"),
        ({"id": "call_1"}, "call_1"),
        ({"id": "toolu_1"}, "toolu_1"),
        ({"call_id": "a", "id": "call_1"}, "a"),
        ({"id": "res_123"}, None),
        ({"id": 5}, None),
        ({"tool_call_id": 5}, None),
        ({"tool_call_id": "jane doe"}, None),
        ({"tool_call_id": "x" * 129}, None),
    ],
)
def test_call_ids(item: Any, call_id: str | None) -> None:
    """A plain `id` may be a guest's; only what is marked as a call's is taken."""
    assert read_tool_item({"name": "a", **item}).call_id == call_id


@pytest.mark.parametrize(
    ("item", "error_type"),
    [
        ({"error": "boom"}, "_OTHER"),
        ({"error": True}, "_OTHER"),
        ({"error": {"type": "Rate limited"}}, "rate_limited"),
        ({"error": {"type": "Jane", "code": 404}}, "404"),
        ({"error": {"status": "not-found"}}, "not_found"),
        ({"error": {"message": "m"}, "error_type": "forbidden"}, "forbidden"),
        ({"exception": "E", "status_code": 503}, "503"),
        ({"status": "error"}, "_OTHER"),
        ({"status": " Timed Out "}, "timeout"),
        ({"state": "failed"}, "_OTHER"),
        ({"status": 500}, "500"),
        ({"success": False}, "_OTHER"),
        ({"ok": "false"}, "_OTHER"),
        ({"isError": True}, "_OTHER"),
        ({"failed": 1}, "_OTHER"),
    ],
)
def test_an_item_that_says_it_failed(item: Any, error_type: str) -> None:
    """By error, status or flag; free text never becomes the type."""
    read = read_tool_item({"name": "a", **item})

    assert (read.failed, read.error_type) == (True, error_type)


@pytest.mark.parametrize(
    "item",
    [
        *({"error": None}, {"error": ""}, {"error": "none"}, {"error": False}, {"error": {}}),
        *({"status": "confirmed"}, {"status": 200}, {"status": True}, {"status": 399}),
        *({"success": True}, {"success": None}, {"ok": "yes"}, {"is_error": "false"}),
        *({"output": {"error": "card declined"}}, {"output": "error"}, {"error_type": "timeout"}),
    ],
)
def test_an_item_that_does_not(item: Any) -> None:
    """A denial is no failure, and what an output says is the tool's business."""
    read = read_tool_item({"name": "a", **item})

    assert (read.failed, read.error, read.error_type) == (False, None, "_OTHER")


@pytest.mark.parametrize(
    ("item", "start", "end"),
    [
        ({"started_at": T_NS, "ended_at": T_NS + 5}, 0, 5),
        ({"startTime": T_NS, "endTime": T_NS + 5, "duration_ms": 9}, 0, 5),
        ({"started_at": T_NS, "duration_ns": 7}, 0, 7),
        ({"started_at": T_NS, "duration_us": 7}, 0, 7_000),
        ({"started_at": T_NS, "latency_ms": 7}, 0, 7_000_000),
        ({"started_at": T_NS, "duration_seconds": 7}, 0, 7 * SECOND_NS),
        ({"started_at": T_NS, "duration_ns": 7, "duration_ms": 9}, 0, 7),
        ({"started_at": T_NS, "duration_ns": "x", "duration_ms": 9}, 0, 9_000_000),
        ({"completed_at": T_NS, "duration_s": 1}, -SECOND_NS, 0),
        ({"started_at": T_NS, "ended_at": "soon", "duration_ns": 7}, 0, 7),
    ],
)
def test_an_item_with_times_of_its_own(item: Any, start: int, end: int) -> None:
    """Start and end, or one of them and a duration, under the usual names."""
    read = read_tool_item({"name": "a", **item})

    assert (read.start_ns, read.end_ns) == (T_NS + start, T_NS + end)


@pytest.mark.parametrize(
    "item",
    [
        *({"started_at": T_NS}, {"duration_ms": 5}, {"ended_at": T_NS}, {}),
        *({"start": "soon", "end": "later"}, {"start": "soon", "duration_ms": 5}),
        {"started_at": T_NS, "duration_ms": -5},
    ],
)
def test_an_item_with_too_little_has_no_time(item: Any) -> None:
    """A start or a duration alone says not when it was."""
    read = read_tool_item({"name": "a", **item})

    assert (read.start_ns, read.end_ns) == (None, None)
