"""Moments, the progress bar and the words of the commands that look back."""

import io
from typing import Any

import pytest
from click.testing import CliRunner

from exporter.app.single import PassProgress
from exporter.cli import main
from exporter.cli.history import differences_table
from exporter.cli.moments import parse_moment_ns
from exporter.cli.progress import ProgressBar, progress_line
from exporter.sync.comparison import Difference
from tests.fakes import START_NS, FakeClock

DAY_NS = 86_400 * 1_000_000_000


@pytest.mark.parametrize(
    ("text", "moment_ns"),
    [
        ("24h", START_NS - DAY_NS),
        ("7d", START_NS - 7 * DAY_NS),
        ("500ms", START_NS - 500_000_000),
        ("2026-04-01", 1_775_001_600_000_000_000),
        ("2026-04-01T08:00Z", 1_775_030_400_000_000_000),
        ("2026-04-01T08:00:00.5+02:00", 1_775_023_200_500_000_000),
        ("2026-04-01 08:00", 1_775_030_400_000_000_000),
    ],
)
def test_a_moment_is_how_long_ago_or_a_time(text: str, moment_ns: int) -> None:
    """Durations as in the settings; ISO 8601, UTC where no zone is given."""
    assert parse_moment_ns(text, now_ns=START_NS) == moment_ns


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("yesterday", "'yesterday' is no moment"),
        ("", "'' is no moment"),
        ("24", "'24' is no moment"),
        ("2026-13-01", "'2026-13-01' is no moment"),
        ("2027-01-01", "'2027-01-01' lies in the future"),
    ],
)
def test_what_is_no_moment_is_refused_with_the_forms_allowed(text: str, problem: str) -> None:
    """The sentence names what was typed and what would do."""
    with pytest.raises(ValueError, match=problem) as caught:
        parse_moment_ns(text, now_ns=START_NS)
    assert "allowed: how long ago (24h, 7d), or a time" in str(caught.value)


@pytest.mark.parametrize(
    ("progress", "rate", "line"),
    [
        ((0, 0, True), 0.0, f"[{'-' * 24}] 0 of 0 traces, 0/min, still reading lists"),
        ((0, 0, False), 0.0, f"[{'-' * 24}] 0 of 0 traces, 0/min"),
        (
            (1_200, 3_600, False),
            90.0,
            f"[{'#' * 6}{'-' * 18}] 1,200 of 4,800 traces, 90/min, 0:40:00 left",
        ),
        ((5, 5, False), 0.0, f"[{'#' * 12}{'-' * 12}] 5 of 10 traces, 0/min"),
        ((10, 0, False), 118.4, f"[{'#' * 24}] 10 of 10 traces, 118/min"),
        ((1, 7_200, False), 60.0, f"[{'-' * 24}] 1 of 7,201 traces, 60/min, 2:00:00 left"),
    ],
)
def test_progress_is_a_bar_a_rate_and_the_time_left(
    progress: tuple[int, int, bool], rate: float, line: str
) -> None:
    """The time left is said only where it is known."""
    done, left, reading = progress
    assert progress_line(PassProgress(done=done, left=left, reading_lists=reading), rate) == line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, *steps: tuple[float, int]) -> str:
    """What a bar writes when so many traces are done at these seconds."""
    clock = FakeClock()
    bar = ProgressBar(stream, monotonic_s=clock.monotonic_s)
    for seconds, done in steps:
        clock.advance(seconds)
        bar.show(PassProgress(done=done, left=200 - done, reading_lists=False))
    bar.finish()
    return stream.getvalue()


def test_on_a_terminal_one_line_is_drawn_over() -> None:
    """Each line covers the whole of the one before; the end leaves it standing."""
    written = shown(Terminal(), (0, 0), (30, 50), (30, 100))

    assert written.count("\r") == 3
    assert written.count("\n") == 1
    lines = written.strip("\r\n").split("\r")
    assert lines[-1].strip().endswith("100 of 200 traces, 100/min, 0:01:00 left")
    assert len(lines[2]) >= len(lines[1].rstrip())


def test_in_a_log_a_line_is_written_now_and_then() -> None:
    """One in thirty seconds, whole lines, nothing drawn over."""
    written = shown(io.StringIO(), *[(1.0, done) for done in range(61)])

    assert len(written.splitlines()) == 3
    assert "\r" not in written


def test_the_rate_is_that_of_the_last_minute() -> None:
    """A slow beginning does not make the rest look long."""
    written = shown(io.StringIO(), (0, 0), (3600, 10), (60, 130))

    assert written.splitlines()[-1].endswith("130 of 200 traces, 120/min, 0:00:35 left")


def difference(**over: Any) -> Difference:
    found = Difference(workspace_id="ws1", agent_id="ag1", agent_name="Front desk", shown=100)
    for name, value in over.items():
        setattr(found, name, value)
    return found


def test_agents_that_agree_are_a_line_each() -> None:
    """Nothing to do is said shortly."""
    assert differences_table([difference(in_flight=2)], repaired=True) == (
        "Front desk (ag1): 100 runs ended, 100 known; 2 in flight"
    )
    assert differences_table([], repaired=True) == "no agent is watched"


def test_every_difference_is_told_with_what_became_of_it() -> None:
    """Missing, late, unlisted, unreadable and older runs, and why a reading is not complete."""
    found = difference(
        missing=[f"ar{number}" for number in range(7)],
        late=["ar9"],
        unshown=3,
        unreadable=1,
        older=1_500,
        trouble="Conduit is down",
    )

    assert differences_table([found], repaired=False).splitlines() == [
        "Front desk (ag1): could not be compared to the end: Conduit is down",
        "Front desk (ag1): 100 runs ended, 92 known; 0 in flight",
        "  7 were missing, not counted: ar0, ar1, ar2, ar3, ar4, ...",
        "  1 had not been seen to end, not counted: ar9",
        "  3 are listed no more; they stay counted",
        "  1 rows could not be understood",
        "  1,500 began before counting does; `backfill` traces them",
    ]
    assert "counted now: ar9" in differences_table([found], repaired=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["backfill"], "Missing option '--since'"),
        (["replay", "--since", "soon"], "'soon' is no moment"),
        (["reconcile", "--since", "2999-01-01"], "'2999-01-01' is no moment"),
        (["backfill", "--since", "1h", "--until", "2h"], "lies before --since"),
    ],
)
def test_wrong_moments_are_wrong_usage(arguments: list[str], said: str) -> None:
    """Exit code 2 and a sentence, before any setting is read."""
    result = CliRunner().invoke(main, arguments, env={"CONDUIT_API_TOKEN": None})

    assert result.exit_code == 2
    assert said in result.output
