"""Moments, the progress bar and the words of the commands that look back."""

import io
from dataclasses import replace

import pytest

from exporter.app.single import PassProgress
from exporter.cli.history import differences_table, progress_bar
from exporter.cli.options import parse_moment_ns
from exporter.sync.reconcile import Difference
from tests.fakes import START_NS

DAY_NS = 86_400 * 1_000_000_000


@pytest.mark.parametrize(
    ("text", "moment_ns"),
    [
        ("24h", START_NS - DAY_NS),
        ("7d", START_NS - 7 * DAY_NS),
        ("2026-04-01", 1_775_001_600_000_000_000),
        ("2026-04-01T08:00Z", 1_775_030_400_000_000_000),
        ("2026-04-01T08:00:00.5+02:00", 1_775_023_200_500_000_000),
    ],
)
def test_a_moment_is_how_long_ago_or_a_time(text: str, moment_ns: int) -> None:
    """Durations as in the settings; ISO 8601, UTC where no zone is given."""
    assert parse_moment_ns(text, now_ns=START_NS) == moment_ns


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_that_grows_with_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is full only when nothing is left, and says while more may be found."""
    steps = ((0, 0, True), (5, 0, True), (5, 15, False), (10, 10, False), (20, 0, False))
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bar("Traces") as show:
        for done, left, reading in steps:
            show(PassProgress(done=done, left=left, reading_lists=reading))
    lines = stream.getvalue().split("\r")
    assert "0/1" in lines[-5]
    assert "5/5" in lines[-4]
    assert "still reading lists" in lines[-4]
    assert "5/20" in lines[-3]
    assert "reading" not in lines[-3]
    assert "10/20" in lines[-2]
    assert "20/20" in lines[-1]


def test_every_difference_is_told_with_what_became_of_it() -> None:
    """Missing, late, unlisted, unreadable and older runs, and why a reading is not complete."""
    agreed = Difference(workspace_id="ws1", agent_id="ag1", agent_name="Front desk", shown=100)
    found = replace(
        agreed,
        missing=[f"ar{number}" for number in range(7)],
        late=["ar9"],
        unshown=3,
        unreadable=1,
        older=1_500,
        trouble="Conduit is down",
    )
    assert differences_table([found, agreed], repaired=False).splitlines() == [
        "Front desk (ag1): could not be compared to the end: Conduit is down",
        "Front desk (ag1): 100 runs ended, 92 known; 0 in flight",
        "  7 were missing, not counted: ar0, ar1, ar2, ar3, ar4, ...",
        "  1 had not been seen to end, not counted: ar9",
        "  3 are listed no more; they stay counted",
        "  1 rows could not be understood",
        "  1,500 began before counting does; `backfill` traces them",
        "Front desk (ag1): 100 runs ended, 100 known; 0 in flight",
    ]
