"""A run as a trace: names, kinds, times, attributes and status; and as a tree of text."""

import re
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind, StatusCode

from exporter.conduit.models import DISPOSITIONS
from exporter.convert.spans import ATTRIBUTES, CONTENT_ATTRIBUTES, ToolCall
from exporter.convert.trace import ConvertOptions, known_disposition, summary_to_trace
from exporter.convert.tree import render_tree
from tests.convert_support import (
    ANY_JSON,
    CONTENT,
    FIXTURES,
    OPTIONS,
    convert_json,
    example,
    said,
    status,
    trace_of,
)
from tests.factories import SECOND_NS, make_run
from tests.fakes import START_NS

TRACE_ID = 0x0F9C2B1D8A7E4F36
# The first 8 bytes of SHA-256 over version, kind, workspace, run and index, joined by NUL.
ROOT_ID = 0xBD62F92E4D0A2DF1
TOOL_ID = 0xEAC0102E0E18FF39
CREATED_NS = 1_775_186_055_000_000_000  # 2026-04-03T03:14:15Z
COMPLETED_NS = CREATED_NS + 4_213_000_000


def test_the_documented_run_is_exactly_this_trace() -> None:
    """The published example: two spans, every field and attribute of them."""
    trace = convert_json({"data": example()})
    root, tool = trace.spans

    assert trace.trace_id == TRACE_ID.to_bytes(16, "big")
    assert trace.tools == Counter({ToolCall("get_reservation", failed=False): 1})
    assert (root.context.trace_id, root.context.span_id, root.parent) == (TRACE_ID, ROOT_ID, None)
    assert (root.name, root.kind) == ("invoke_agent", SpanKind.CLIENT)
    assert (root.start_time, root.end_time) == (CREATED_NS, COMPLETED_NS)
    assert status(root) == status(tool) == (StatusCode.UNSET, None)
    assert said(root) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "conduit",
        "gen_ai.agent.id": "ag77c0dy0mgdpzmqz6tesry8w184002s",
        "gen_ai.conversation.id": "cv77c0dy0mgdpzmqz6tesry8w184002s",
        "gen_ai.usage.input_tokens": 1820,
        "gen_ai.usage.output_tokens": 342,
        "server.address": "api.conduit.ai",
        "conduit.workspace.id": "j57demo8f8x7c9v0n2q4r6t8y1u3i5o",
        "conduit.run.id": "ar77c0dy0mgdpzmqz6tesry8w184002s",
        "conduit.run.backend_id": "run_9f3a1c7e",
        "conduit.run.status": "completed",
        "conduit.run.disposition": "resolved",
        "conduit.run.cost_usd": 0.0121,
        "conduit.run.duration_ms": 4213.0,
        "conduit.trigger.id": "tr77c0dy0mgdpzmqz6tesry8w184002s",
        "conduit.trace.id": "0f9c2b1d8a7e4f36",
        "conduit.timing": "measured",
        "session.id": "sess_4b21e9",
        "conduit.trigger.event_id": "te77c0dy0mgdpzmqz6tesry8w184002s",
        "conduit.run.disposition_reason": "answered_from_knowledge",
        "conduit.run.tool_calls": 1,
    }
    assert (tool.context.trace_id, tool.context.span_id) == (TRACE_ID, TOOL_ID)
    assert tool.parent == root.context
    assert (tool.name, tool.kind) == ("execute_tool get_reservation", SpanKind.INTERNAL)
    assert tool.start_time == CREATED_NS + 2_106_500_000
    assert tool.end_time == CREATED_NS + 2_106_500_001
    assert said(tool) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "get_reservation",
        "gen_ai.conversation.id": "cv77c0dy0mgdpzmqz6tesry8w184002s",
        "conduit.tool.index": 0,
        "conduit.tool.timing": "synthetic",
    }


SECRET = "Jane Doe's door code"


def secret_trace(secret: str, items: Any, options: ConvertOptions = OPTIONS) -> Any:
    """The trace of a run that holds a secret wherever a guest's words may stand."""
    run = make_run(
        status="failed", error=f"Lookup failed\n{secret}", contact_id=secret, disposition=secret
    )
    return trace_of(
        *items,
        options=options,
        run=run,
        response=secret,
        reflection=secret,
        disposition_reason=secret,
    )


def texts_of(trace: Any) -> str:
    """All that would leave."""
    return " ".join(
        f"{span.name} {span.status.description} {said(span)}" for span in trace.spans
    ) + repr(trace.tools)


def test_a_contact_that_is_a_phone_number_is_masked_like_any_id() -> None:
    """Messengers write it without a plus, which no pattern of phone numbers in texts finds."""
    trace = trace_of(run=make_run(contact_id="447911123456"), options=CONTENT)
    assert said(trace.spans[0])["conduit.contact.id"] == "[phone]"


def test_no_content_leaves_without_being_asked_for() -> None:
    """A run whose every free text is a secret: none is in the trace but the error's first line."""
    items = (
        {"name": "open_door", "input": SECRET, "output": {SECRET: SECRET}, "error": SECRET},
        {"name": "open_door", "status": SECRET, "error_type": SECRET, "tool_call_id": SECRET},
        {"action": SECRET, "thought": SECRET},
        {"role": "user", "name": SECRET, "content": SECRET},
        {"params": {"name": SECRET, "guest": SECRET}},
        {"type": SECRET},
        SECRET,
        [SECRET, SECRET],
        [{"action": "open_door", "action_input": SECRET}, SECRET],
    )
    trace = secret_trace(SECRET, items)

    assert "Jane" not in texts_of(trace)
    assert status(trace.spans[0]) == (StatusCode.ERROR, "Lookup failed")
    assert "Jane" in texts_of(secret_trace(SECRET, items, CONTENT))


# Keys that may hold anything but a name.
_KEYS = (
    *("input", "output", "content", "error", "status", "args", "result", "id", "type", "function"),
    *("tool_call_id", "tool", "params", "data", "parts", "tool_calls", "role", "error_type"),
    *("started_at", "toolResult", SECRET),
)
_HIDDEN = st.recursive(
    st.just(SECRET),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=5)
    ),
    max_leaves=10,
)


@given(items=st.lists(_HIDDEN, max_size=4))
def test_nothing_that_a_guest_wrote_leaves_whatever_the_shape(items: list[Any]) -> None:
    """Under any key but that of a name, in any nesting: with content off the secret stays."""
    assert "Jane" not in texts_of(secret_trace(SECRET, items))


@given(items=st.lists(ANY_JSON, max_size=5), trace_id=st.none() | st.text(max_size=40))
def test_any_run_is_one_tree(items: list[Any], trace_id: str | None) -> None:
    """Ids are never zero and never the same, every parent is there, and nothing runs backwards."""
    root, *tools = trace_of(*items, run=make_run(trace_id=trace_id)).spans

    ids = [span.context.span_id for span in (root, *tools)]
    assert all(ids)
    assert root.context.trace_id
    assert len({*ids}) == len(ids)
    assert all(tool.parent == root.context for tool in tools)
    for span in (root, *tools):
        assert (span.start_time or 0) <= (span.end_time or 0)
        assert said(span).keys() <= ATTRIBUTES


@pytest.mark.parametrize(
    ("field", "attribute"),
    [
        ("conversation_id", "gen_ai.conversation.id"),
        ("trigger_id", "conduit.trigger.id"),
        ("backend_run_id", "conduit.run.backend_id"),
        ("id", "conduit.run.id"),
        ("trace_id", "conduit.trace.id"),
        ("agent_id", "gen_ai.agent.id"),
    ],
)
@pytest.mark.parametrize("options", [OPTIONS, CONTENT], ids=["off", "on"])
def test_ids_that_are_addresses_are_masked(
    field: str, attribute: str, options: ConvertOptions
) -> None:
    """With content or without; the rest of the trace is as it would be."""
    over: dict[str, Any] = {field: "jane@example.com"}
    root, tool = trace_of({"name": "a"}, run=make_run(**over), options=options).spans

    assert said(root)[attribute] == "[email]"
    assert "jane" not in f"{said(root)}{said(tool)}"


def test_a_long_id_is_cut_and_storable() -> None:
    """No id is longer than a backend takes, and none makes the encoder drop it."""
    (root,) = trace_of(session_id="a\0\ud800" + "x" * 9_999).spans

    assert said(root)["session.id"].startswith("a\ufffd\ufffdx")
    assert len(said(root)["session.id"].encode()) < 2_000


def test_the_page_of_spans_names_the_allowlist() -> None:
    """docs/SPANS.md has a row for every attribute that may leave, those of content apart."""
    page = (FIXTURES.parents[1] / "docs" / "SPANS.md").read_text()
    tables = page.partition("### Always")[2].partition("## Status")[0].split("### With content")

    named = [sorted(re.findall(r"^\| `([a-z_.]+)` \|", table, re.MULTILINE)) for table in tables]
    assert named == [sorted(ATTRIBUTES), sorted(CONTENT_ATTRIBUTES)]


def test_a_summary_is_the_root_alone() -> None:
    """What a list page tells makes one span, marked; nothing that only get-run tells is in it."""
    trace = summary_to_trace(make_run(), agent_name="Front desk", options=CONTENT)
    (root,) = trace.spans

    assert said(root)["conduit.trace.detail"] == "summary"
    assert "conduit.run.tool_calls" not in said(root)
    assert trace.tools == Counter()


def test_names_carry_the_agent() -> None:
    """The agent's name is in the root's name, and an attribute of every span."""
    root, tool = trace_of({"name": "search"}, agent_name="Front\u202e  desk\n").spans

    assert root.name == "invoke_agent Front desk"
    assert said(root)["gen_ai.agent.name"] == said(tool)["gen_ai.agent.name"] == "Front desk"


def test_null_is_absent_never_zero() -> None:
    """What Conduit left null is no attribute."""
    fields = ("conversation_id", "input_tokens", "output_tokens", "disposition", "cost_usd")
    others = ("duration_ns", "trigger_id", "trace_id", "completed_ns")
    over: dict[str, Any] = dict.fromkeys((*fields, *others))
    (root,) = trace_of(run=make_run(**over)).spans

    assert said(root) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "conduit",
        "gen_ai.agent.id": "ag1",
        "server.address": "api.conduit.ai",
        "conduit.workspace.id": "ws1",
        "conduit.run.id": "ar1",
        "conduit.run.backend_id": "run_ar1",
        "conduit.run.status": "completed",
        "conduit.timing": "unknown",
        "conduit.run.tool_calls": 0,
    }


@pytest.mark.parametrize(
    ("error", "description"),
    [
        ("Upstream timeout", "Upstream timeout"),
        ("\n\n  First line \t here\nsecond", "First line here"),
        ("Guest jane@example.com, +49 171 2345678", "Guest [email], [phone]"),
        ("x" * 300, "x" * 255 + "…"),
        ("bad \x1b[31m\u202e\ud800 end", "bad [31m end"),
        ("", ""),
        (" \n ", ""),
        (None, ""),
    ],
)
def test_a_failed_run_is_an_error_with_a_safe_description(
    error: str | None, description: str
) -> None:
    """The error's first line, masked, on one line, at most 256 characters."""
    (root,) = trace_of(run=make_run(status="failed", error=error)).spans

    assert status(root) == (StatusCode.ERROR, description or None)
    assert said(root)["error.type"] == "_OTHER"
    assert "conduit.error.message" not in said(root)


@pytest.mark.parametrize(
    "over",
    [
        {"disposition": "escalated"},
        {"disposition": "unresolved"},
        {"error": "left over from a retry"},
        {"status": "running"},
    ],
)
def test_only_failure_is_an_error(over: dict[str, Any]) -> None:
    """An escalation, or an error text on a completed run, leaves the status unset."""
    (root,) = trace_of(run=make_run(**over), options=CONTENT).spans

    assert status(root) == (StatusCode.UNSET, None)
    assert not {"error.type", "conduit.error.message"} & set(said(root))


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("answered_from_knowledge", "answered_from_knowledge"),
        ("policy:refund/late", "policy:refund/late"),
        ("The guest was angry", None),
        ("x" * 65, None),
        ("", None),
        (None, None),
    ],
)
def test_a_reason_is_shown_if_it_is_a_tag(reason: str | None, shown: str | None) -> None:
    """Prose in place of the documented short tag is content, and stays."""
    (root,) = trace_of(disposition_reason=reason).spans

    assert said(root).get("conduit.run.disposition_reason") == shown


def test_words_of_no_documented_set_are_other() -> None:
    """A status or disposition that is prose, or new, is no word to show or to count under."""
    run = make_run(status="Ask jane@example.com", disposition="two words")
    (root,) = trace_of(run=run).spans

    assert said(root)["conduit.run.status"] == said(root)["conduit.run.disposition"] == "other"
    assert [known_disposition(word) for word in DISPOSITIONS] == list(DISPOSITIONS)
    assert known_disposition(None) == known_disposition("") == "none"
    assert known_disposition("Resolved") == "other"


def test_a_failed_tool_is_an_error_of_its_own() -> None:
    """The tool's span fails, with a known type; the run's does not."""
    trace = trace_of({"name": "search", "status": "timed out", "output": "late"}, {"name": "book"})
    root, failed, fine = trace.spans

    assert status(root) == status(fine) == (StatusCode.UNSET, None)
    assert status(failed) == (StatusCode.ERROR, None)
    assert said(failed)["error.type"] == "timeout"
    assert "error.type" not in said(fine)
    assert trace.tools == Counter([ToolCall("search", failed=True), ToolCall("book", failed=False)])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"name": "a", "error": "no room for jane@example.com"}, "no room for [email]"),
        ({"name": "a", "error": {"code": 7}}, '{"code":7}'),
        ({"name": "a", "error": True, "output": "sold out"}, "sold out"),
        ({"name": "a", "is_error": True, "output": {"why": "sold out"}}, '{"why":"sold out"}'),
        ({"name": "a", "is_error": True}, None),
    ],
)
def test_a_failed_tool_with_content_says_why_and_gives_no_result(item: Any, message: Any) -> None:
    """The error, or where it is a mere flag the output; never both as a result."""
    _, tool = trace_of(item, options=CONTENT).spans

    assert said(tool).get("conduit.error.message") == message
    assert "gen_ai.tool.call.result" not in said(tool)


def test_an_item_that_is_not_understood_is_kept_as_content() -> None:
    """Its span is called unknown; what it says leaves only where content may."""
    item = {"thought": "I should look"}
    bare, full = (trace_of(item, options=options).spans[1] for options in (OPTIONS, CONTENT))

    assert bare.name == full.name == "execute_tool unknown"
    assert said(full)["conduit.tool.item"] == '{"thought":"I should look"}'
    assert "conduit.tool.item" not in said(bare)


def test_a_null_item_is_no_span_and_keeps_its_index() -> None:
    """Later items keep their place, and with it their ids."""
    with_null = trace_of({"name": "a"}, None, {"name": "c"})
    without = trace_of({"name": "a"}, {"name": "b"}, {"name": "c"})

    assert [said(span)["conduit.tool.index"] for span in with_null.spans[1:]] == [0, 2]
    assert with_null.spans[2].context == without.spans[3].context
    assert said(with_null.spans[0])["conduit.run.tool_calls"] == 2


def test_a_tool_that_ended_before_it_began_is_clamped() -> None:
    """It keeps its start, has no length and says so."""
    item = {"name": "a", "start": "2026-04-03T03:04:18Z", "end": "2026-04-03T03:04:17Z"}
    _, tool = trace_of(item).spans

    assert tool.start_time == tool.end_time == START_NS + 3 * SECOND_NS
    assert said(tool)["conduit.tool.timing"] == "measured"
    assert said(tool)["conduit.tool.time_clamped"] is True


def test_tool_names_are_masked_and_on_one_line() -> None:
    """A name that holds an address or controls is made harmless, in span, attribute and count."""
    trace = trace_of({"name": "mail\njane@example.com"}, {"name": "\u200b"})

    assert [span.name for span in trace.spans[1:]] == [
        "execute_tool mail [email]",
        "execute_tool unknown",
    ]
    assert [call.name for call in trace.tools] == ["mail [email]", "unknown"]


def tree_of(*items: object, **run: object) -> list[str]:
    return render_tree(trace_of(*items, run=make_run(**run))).splitlines()  # type: ignore[arg-type]


def test_branches_hold_their_lines_together() -> None:
    """All but the last child are followed by the trunk."""
    lines = tree_of({"name": "first"}, {"name": "second"})

    assert "├─ execute_tool first" in lines
    assert "└─ execute_tool second" in lines
    first, second = lines.index("├─ execute_tool first"), lines.index("└─ execute_tool second")
    assert all(line.startswith("│    ") for line in lines[first + 1 : second])
    assert all(line.startswith("     ") for line in lines[second + 1 :])
    assert all(line.startswith("     ") for line in tree_of()[2:])


def test_a_failure_says_why() -> None:
    """The description stands behind the status."""
    lines = tree_of(status="failed", error="No answer\nfrom the model")
    assert any(line.strip().startswith("status") and "error: No answer" in line for line in lines)
    lines = tree_of({"name": "pay", "status": "failed"})
    assert any(line.strip().split() == ["status", "error"] for line in lines)


def test_numbers_and_truths_are_written_for_people() -> None:
    """A cost is never 1e-07, a truth is true."""
    lines = tree_of(cost_usd=Decimal("1e-7"), time_adjusted=True)

    assert any(line.endswith("  0.0000001") for line in lines)
    assert any("conduit.time_adjusted" in line and line.endswith("  true") for line in lines)


def test_what_a_terminal_would_obey_is_shown() -> None:
    """An id with an escape in it neither colours nor turns the line."""
    tree = render_tree(trace_of(run=make_run(conversation_id="a\x1b[31m\u202eb\nc")))

    assert "\x1b" not in tree
    assert r"a\x1b[31m\u202eb\nc" in tree
