"""The committed dashboards, read for the tests."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "deploy/grafana"
BOARDS: Mapping[str, Mapping[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}


def panels(board: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The panels of a dashboard without its rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def targets(panel: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return list(panel.get("targets") or ())


def other_queries(board: Mapping[str, Any]) -> Iterator[str]:
    """What variables and annotations ask, as plain PromQL."""
    for annotation in board["annotations"]["list"]:
        yield annotation["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield re.sub(
                r"^(?:query_result|label_values)\((.*?)(?:, \w+)?\)$", r"\1", variable["query"]
            )
