"""Dashboards as files: made by one program, complete in words, and fit to be imported anywhere."""

import runpy
from collections.abc import Mapping
from typing import Any

import pytest

from tests.dashboards import BOARDS, FOLDER, panels, targets

CORE = {
    "stat",
    "timeseries",
    "barchart",
    "table",
    "heatmap",
    "bargauge",
    "alertlist",
    "text",
}

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def test_committed_dashboards_are_what_the_program_makes() -> None:
    """Nobody has edited the JSON by hand, nor forgotten to write it."""
    made = runpy.run_path(str(FOLDER), run_name="dashboards")["files"]()
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == made


@each_board
def test_a_dashboard_can_be_imported_and_provisioned(board: Mapping[str, Any]) -> None:
    """Its data source is a variable, it has no id and no inputs, and fits into a ConfigMap."""
    assert (board["id"], board["editable"]) == (None, False)
    assert board["uid"].startswith("conduit-")
    assert "__inputs" not in board
    assert 39 <= board["schemaVersion"] <= 41
    assert (FOLDER / f"{board['uid'].removeprefix('conduit-')}.json").stat().st_size < 200 * 1024
    variables = board["templating"]["list"]
    assert (variables[0]["name"], variables[0]["type"]) == ("datasource", "datasource")
    source = {"type": "prometheus", "uid": "${datasource}"}
    used = [
        *(variable["datasource"] for variable in variables if variable["type"] == "query"),
        *(annotation["datasource"] for annotation in board["annotations"]["list"]),
        *(target["datasource"] for panel in panels(board) for target in targets(panel)),
    ]
    assert used
    assert all(each == source for each in used)


@each_board
def test_every_panel_is_explained(board: Mapping[str, Any]) -> None:
    """Core panels alone; a title, a description, a unit and words for no value in each."""
    for panel in panels(board):
        assert panel["type"] in CORE, panel["title"]
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        if not targets(panel):
            continue
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["description"].count("?") >= 1, panel["title"]
        assert defaults["unit"], panel["title"]
        assert defaults["noValue"], panel["title"]
        refs = [target["refId"] for target in targets(panel)]
        assert len(set(refs)) == len(refs), panel["title"]


@each_board
def test_panels_lie_side_by_side(board: Mapping[str, Any]) -> None:
    """Ids are unique, no panel covers another, and nothing is left empty between them."""
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(at["x"] + x, at.get("y", 0) + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len(taken) == 24 * (1 + max(y for _, y in taken))


@each_board
def test_runs_are_counted_and_never_shown_as_a_rate(
    board: Mapping[str, Any],
) -> None:
    """A rate a second of a few runs an hour says nothing; increases add up."""
    for panel in panels(board):
        for target in targets(panel):
            if "conduit_run" in target["expr"]:
                assert "rate(" not in target["expr"], panel["title"]
