"""How a page moves the reading of an agent's list: pure, and the heart of "no run is missed".

An agent's list is read from its floor up to its frontier, but for the gaps. A head page that meets
the frontier (or the floor, or the list's end) leaves nothing between; one that does not moves the
frontier all the same and records what lies between as a gap, in the same transaction. A gap shrinks
from its upper end, page by page, and is closed by a page that reaches its lower end.
"""

from collections.abc import Collection

from exporter.ledger.records import Coverage, GapRecord
from exporter.ledger.schema import GapPurpose
from exporter.models import Page, Run


def oldest_and_newest(page: Page[Run]) -> tuple[int, int] | None:
    """The creation times at a page's ends; None where it holds no readable run."""
    if not page.rows:
        return None
    times = [run.created_ns for run in page.rows]
    return min(times), max(times)


def cover_head(
    page: Page[Run],
    *,
    floor_ns: int,
    frontier_ns: int | None,
    known: Collection[str],
) -> Coverage:
    """What a head page adds: the new frontier, and the gap below it if it did not meet the old one.

    `known` are the page's runs that were recorded before; one of them at the frontier's very moment
    is as good as an older run, for what shares that moment was recorded with it.
    """
    ends = oldest_and_newest(page)
    lower = floor_ns if frontier_ns is None else frontier_ns
    if ends is None:
        # Nothing readable, and yet a way on: the reading goes on below, from the cursor.
        gap = None
        if page.next_cursor is not None and page.unreadable:
            gap = GapRecord(None, _purpose(frontier_ns), lower, _BEYOND_NS, page.next_cursor)
        return Coverage(frontier_ns=lower if frontier_ns is None else None, open_gap=gap)
    oldest, newest = ends
    met = page.next_cursor is None or oldest < lower
    if not met and frontier_ns is not None and oldest == lower:
        met = any(run.id in known for run in page.rows if run.created_ns == lower)
    gap = None if met else GapRecord(None, _purpose(frontier_ns), lower, oldest, page.next_cursor)
    frontier = max(newest, lower)
    return Coverage(frontier_ns=None if frontier == frontier_ns else frontier, open_gap=gap)


def cover_gap(page: Page[Run], gap: GapRecord) -> Coverage:
    """What a page read from a gap's cursor leaves of it."""
    ends = oldest_and_newest(page)
    if page.next_cursor is None or (ends is not None and ends[0] < gap.lower_ns):
        return Coverage(closed_gap=gap.no)
    upper = gap.upper_ns if ends is None else min(gap.upper_ns, ends[0])
    return Coverage(open_gap=GapRecord(gap.no, gap.purpose, gap.lower_ns, upper, page.next_cursor))


def restart_gap(gap: GapRecord) -> Coverage:
    """The gap as it must be read again when its cursor is of no use any more: from the head."""
    return Coverage(open_gap=GapRecord(gap.no, gap.purpose, gap.lower_ns, gap.upper_ns, None))


def within_backfill(
    page: Page[Run], gap: GapRecord, *, floor_ns: int, in_flight: Collection[str]
) -> Page[Run]:
    """The runs of a page that a backfill may take: ended, of its range, and nobody else's.

    A run that began before the floor and is still going belongs to whoever sees it end.
    """
    rows = [
        run
        for run in page.rows
        if run.terminal
        and gap.lower_ns <= run.created_ns < floor_ns
        and run.created_ns <= gap.upper_ns
        and run.id not in in_flight
    ]
    return Page(tuple(rows), page.unreadable, page.next_cursor)


_BEYOND_NS = (1 << 63) - 1


def _purpose(frontier_ns: int | None) -> GapPurpose:
    return GapPurpose.LOOKBACK if frontier_ns is None else GapPurpose.FRESH
