"""No page, however it falls, may leave a stretch of the list unread and unrecorded."""

from hypothesis import given
from hypothesis import strategies as st

from exporter.ledger.records import Coverage, GapRecord
from exporter.ledger.schema import GapPurpose
from exporter.models import Page, Run
from exporter.sync.coverage import cover_gap, cover_head, restart_gap
from tests.factories import make_run


def page_of(*times: int, more: bool = True) -> Page[Run]:
    rows = tuple(make_run(f"ar{time}", created_ns=time) for time in times)
    return Page(rows, (), "next" if more else None)


def test_a_head_page_that_meets_the_frontier_leaves_no_gap() -> None:
    """An older run than the frontier on the page proves that nothing lies between."""
    coverage = cover_head(page_of(50, 40, 30), floor_ns=0, frontier_ns=40, known=())
    assert coverage == Coverage(frontier_ns=50)


def test_a_head_page_that_does_not_meet_the_frontier_leaves_a_gap() -> None:
    """The frontier moves on; what lies between is recorded in the same breath."""
    coverage = cover_head(page_of(50, 45), floor_ns=0, frontier_ns=40, known=())
    gap = GapRecord(None, GapPurpose.FRESH, 40, 45, "next")
    assert coverage == Coverage(frontier_ns=50, open_gap=gap)


def test_equal_times_at_the_frontier_meet_it_only_by_a_known_run() -> None:
    """Two runs of one moment may stand on two pages."""
    page = page_of(50, 40)
    assert cover_head(page, floor_ns=0, frontier_ns=40, known=()).open_gap is not None
    assert cover_head(page, floor_ns=0, frontier_ns=40, known={"ar40"}).open_gap is None


def test_the_end_of_the_list_meets_everything() -> None:
    """No next cursor: there is nothing below."""
    coverage = cover_head(page_of(50, more=False), floor_ns=0, frontier_ns=None, known=())
    assert coverage == Coverage(frontier_ns=50)


def test_the_first_head_page_leaves_the_look_back_as_a_gap() -> None:
    """A first start reads down to the floor."""
    coverage = cover_head(page_of(50, 45), floor_ns=10, frontier_ns=None, known=())
    gap = GapRecord(None, GapPurpose.LOOKBACK, 10, 45, "next")
    assert coverage == Coverage(frontier_ns=50, open_gap=gap)


def test_an_empty_list_sets_the_frontier_to_the_floor() -> None:
    """An agent without runs is scanned all the same."""
    coverage = cover_head(page_of(more=False), floor_ns=10, frontier_ns=None, known=())
    assert coverage == Coverage(frontier_ns=10)


def test_a_page_with_nothing_new_changes_nothing() -> None:
    """An idle poll costs no write."""
    coverage = cover_head(page_of(50, 40), floor_ns=0, frontier_ns=50, known={"ar50", "ar40"})
    assert coverage == Coverage()


def test_a_gap_shrinks_from_above_and_closes_below_its_lower_end() -> None:
    """A gap is closed only by a run strictly older than its lower end, or the list's end."""
    gap = GapRecord(7, GapPurpose.FRESH, 20, 50, "c")
    shrunk = cover_gap(page_of(48, 30, 20), gap)
    assert shrunk.open_gap == GapRecord(7, GapPurpose.FRESH, 20, 20, "next")
    assert cover_gap(page_of(20, 19), gap) == Coverage(closed_gap=7)
    assert cover_gap(page_of(45, more=False), gap) == Coverage(closed_gap=7)


def test_an_expired_cursor_reads_the_gap_from_the_head() -> None:
    """The gap keeps its ends and loses its cursor."""
    gap = GapRecord(7, GapPurpose.FRESH, 20, 50, "c")
    assert restart_gap(gap).open_gap == GapRecord(7, GapPurpose.FRESH, 20, 50, None)


@given(
    times=st.lists(st.integers(0, 60), min_size=1, max_size=40),
    more=st.lists(st.integers(0, 60), max_size=40),
    limit=st.integers(1, 10),
)
def test_every_run_is_on_some_page_that_was_read(
    times: list[int], more: list[int], limit: int
) -> None:
    """Two scans of a list that grew between them, gaps read to their end, show every run."""
    rows = sorted(((time, f"a{i}") for i, time in enumerate(times)), reverse=True)
    frontier: int | None = None
    seen: set[str] = set()
    newest = max(times)
    for grown in (rows, sorted([*rows, *_later(more, newest)], reverse=True)):
        frontier = _scan(grown, limit, frontier, seen)
        assert {name for _, name in grown} <= seen


def _later(times: list[int], newest: int) -> list[tuple[int, str]]:
    return [(newest + time, f"b{i}") for i, time in enumerate(times)]


def _scan(rows: list[tuple[int, str]], limit: int, frontier: int | None, seen: set[str]) -> int:
    def read(start: int) -> Page[Run]:
        chosen = rows[start : start + limit]
        more = str(start + limit) if start + limit < len(rows) else None
        return Page(tuple(make_run(name, created_ns=t) for t, name in chosen), (), more)

    page = read(0)
    coverage = cover_head(page, floor_ns=0, frontier_ns=frontier, known=frozenset(seen))
    seen |= {run.id for run in page.rows}
    gap = coverage.open_gap
    while gap is not None:
        page = read(int(gap.cursor or "0"))
        seen |= {run.id for run in page.rows}
        gap = cover_gap(page, gap).open_gap
    assert coverage.frontier_ns is not None or frontier is not None
    return coverage.frontier_ns if coverage.frontier_ns is not None else frontier or 0
