"""`convert`: a run's JSON as a trace, offline, whatever stands around the run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from exporter.cli.commands import cli
from tests.convert_support import EXAMPLE, example

TRACE_ID = "00000000000000000f9c2b1d8a7e4f36"
START_NS, END_NS = "1775186055000000000", "1775186059213000000"
DETAIL = ("session_id", "disposition_reason", "trigger_event_id")
DETAIL_ONLY = (*DETAIL, "response", "reflection", "tool_trace")


def convert(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["convert", *arguments], input=stdin)


def row(run_id: str) -> dict[str, Any]:
    """The documented run as a row of a list."""
    shown = {name: value for name, value in example().items() if name not in DETAIL_ONLY}
    return {**shown, "id": run_id, "trace_id": None}


def spans_of(result: Result) -> list[list[dict[str, Any]]]:
    """The spans of each export request, a request a line."""
    return [
        json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
        for line in result.stdout.splitlines()
    ]


def attributes_of(span: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def test_every_run_of_a_page_is_a_trace() -> None:
    """Rows of a list have no detail: a root each, marked as a summary."""
    page = {"data": [row("ar1"), row("ar2")], "next_cursor": None, "has_more": False}
    result = convert("--format", "otlp-json", "-", stdin=json.dumps(page))
    assert result.exit_code == 0
    (first,), (second,) = spans_of(result)
    assert first["traceId"] != second["traceId"]
    assert attributes_of(first)["conduit.trace.detail"] == "summary"


def test_json_lines_are_a_trace_each() -> None:
    """One answer or run a line, of either kind; empty lines are none."""
    text = f"{json.dumps(row('ar1'))}\n\n{json.dumps({'data': example()})}\r\n"
    result = convert("--format", "otlp-json", "-", stdin=text)
    assert result.exit_code == 0
    assert [len(spans) for spans in spans_of(result)] == [1, 2]


def test_the_options_change_the_trace() -> None:
    """A name for the agent, slices for instants, and content only when asked for, masked."""
    run = {**example(), "response": "Write to jane@example.com"}
    result = convert(
        *("--agent-name", "Front desk", "--tool-timing", "slices", "--capture-content"),
        *("--format", "otlp-json", "-"),
        stdin=json.dumps(run),
    )
    ((root, tool),) = spans_of(result)
    assert root["name"] == "invoke_agent Front desk"
    assert (tool["startTimeUnixNano"], tool["endTimeUnixNano"]) == (START_NS, END_NS)
    assert "Write to [email]" in attributes_of(root)["gen_ai.output.messages"]
    assert "res_123" in attributes_of(tool)["gen_ai.tool.call.arguments"]


@pytest.mark.parametrize(
    "text",
    ["", "<html>", "\x00\xff", "[" * 100_000, '{"data": ["x"]}', '{"id": "ar1"}\nnot json'],
    ids=["nothing", "html", "binary", "deep", "no run", "a line"],
)
def test_garbage_is_an_error_in_words(text: str) -> None:
    """Exit code 1, one sentence, no traceback, and nothing on standard output."""
    result = convert("-", stdin=text)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_one_unreadable_run_does_not_hide_the_others() -> None:
    """It is named with what is wrong; the rest is shown, and the exit code is 1."""
    bad = {**row("ar-bad"), "created_at": "yesterday"}
    page = {"data": [row("ar1"), bad, row("ar2")]}
    result = convert("--format", "otlp-json", "-", stdin=json.dumps(page))
    assert result.exit_code == 1
    assert len(spans_of(result)) == 2
    assert result.stderr.startswith("error: run ar-bad: ")


def test_no_terminal_has_too_few_characters(tmp_path: Path) -> None:
    """As a process without settings, fed by a pipe: what cannot be shown is written out."""
    done = subprocess.run(
        [sys.executable, "-m", "exporter", "convert", "-"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(EXAMPLE.parents[2]),
            "PYTHONIOENCODING": "latin-1",
        },
        input=json.dumps({**example(), "tool_trace": [{"name": "caf\u00e9 \u6771"}]}).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode("latin-1").startswith(f"trace {TRACE_ID}\n")
    assert list(tmp_path.iterdir()) == []
