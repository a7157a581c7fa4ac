"""Conduit's JSON as traces, without the API and without a ledger: what `convert` does."""

import json
from collections.abc import Iterator
from typing import Any, Final

from exporter.conduit.decoding import decode_json
from exporter.conduit.models import Unreadable, parse_run, parse_run_detail
from exporter.convert.spans import Trace
from exporter.convert.trace import ConvertOptions, run_to_trace, summary_to_trace
from exporter.errors import SourceMalformed

# Stand in for the ids that a bare run may lack; in the daemon they come from the request.
_NO_WORKSPACE: Final = "unknown-workspace"
_NO_AGENT: Final = "unknown-agent"
# What only get-run tells: a run without any of these is a row of a list.
_DETAIL_FIELDS: Final = ("tool_trace", "response", "reflection", "session_id")


def traces_of(
    text: bytes, *, agent_name: str | None, options: ConvertOptions
) -> Iterator[Trace | Unreadable]:
    """The traces of an answer of get-run, of a list page, of a bare run, or of one JSON a line.

    Raises SourceMalformed where the text is none of these.
    """
    for row in _rows(text):
        if any(name in row for name in _DETAIL_FIELDS):
            detail = parse_run_detail(row, workspace_id=_NO_WORKSPACE, agent_id=_NO_AGENT)
            yield (
                detail
                if isinstance(detail, Unreadable)
                else run_to_trace(detail, agent_name=agent_name, options=options)
            )
        else:
            run = parse_run(row, workspace_id=_NO_WORKSPACE, agent_id=_NO_AGENT)
            yield (
                run
                if isinstance(run, Unreadable)
                else summary_to_trace(run, agent_name=agent_name, options=options)
            )


def _rows(text: bytes) -> Iterator[dict[str, Any]]:
    for document in _documents(text):
        data = document.get("data", document) if isinstance(document, dict) else document
        for row in data if isinstance(data, list) else [data]:
            if not isinstance(row, dict):
                raise SourceMalformed("The input holds something that is no run: not an object")
            yield row


def _documents(text: bytes) -> list[Any]:
    """One JSON document, or one a line."""
    try:
        return [decode_json(text)]
    except SourceMalformed:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not _is_object(lines[0]):  # noqa: PLR2004 - several documents
            raise
    return [decode_json(line) for line in lines]


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
