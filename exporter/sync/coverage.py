"""How a page moves the reading of an agent's list: pure, and the heart of "no run is missed".

An agent's list is read from its floor up to its frontier, but for the gaps. A head page that meets
the frontier (or the floor, or the list's end) leaves nothing between; one that does not moves the
frontier all the same and records what lies between as a gap, in the same transaction. A gap shrinks
from its upper end, page by page, and is closed by a page that reaches its lower end.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from exporter.conduit.models import Page, Run
from exporter.conduit.pager import Step
from exporter.ledger.records import Coverage, Gap, GapPurpose

# Clocks differ: a run may be created this long after Conduit's present.
_AHEAD_NS: Final = 300 * 1_000_000_000


def oldest_ns(page: Page[Run]) -> int | None:
    """The creation of a page's last row; None where it holds no readable run.

    Lists go from the newest to the oldest: one row that is misdated in between says nothing.
    """
    return page.rows[-1].created_ns if page.rows else None


def cover_head(
    page: Page[Run],
    *,
    floor_ns: int,
    frontier_ns: int | None,
    known: Collection[str],
    present_ns: int,
    gaps: Collection[Gap] = (),
) -> Coverage:
    """What a head page adds: the new frontier, and the gap below it if it did not meet the old one.

    `known` are runs that were recorded before; one of them at the frontier's very moment is as good
    as an older run. The frontier never passes the present as Conduit tells it: a run that is dated
    ahead would hide all that begins until then.
    """
    lower_ns = floor_ns if frontier_ns is None else frontier_ns
    purpose = GapPurpose.LOOKBACK if frontier_ns is None else GapPurpose.FRESH
    more = page.next_cursor is not None or page.has_more
    # Where the frontier stays, the next page finds the same: one gap at a time is enough.
    is_open = any(gap.lower_ns == lower_ns for gap in gaps)
    oldest = oldest_ns(page)
    if oldest is None:
        # Nothing readable: what lies below is still to be read, where there is anything.
        gap = None
        if more and not is_open:
            gap = Gap(None, purpose, lower_ns, present_ns + _AHEAD_NS, page.next_cursor)
        return Coverage(frontier_ns=lower_ns if frontier_ns is None else None, open_gap=gap)
    met = not more or oldest < lower_ns
    if not met and frontier_ns is not None and oldest == lower_ns:
        met = any(run.id in known for run in page.rows if run.created_ns == lower_ns)
    newest = min(max(run.created_ns for run in page.rows), present_ns + _AHEAD_NS)
    moved_ns = max(newest, lower_ns)
    if met or (is_open and moved_ns == frontier_ns):
        gap = None
    else:
        gap = Gap(None, purpose, lower_ns, oldest, page.next_cursor)
    return Coverage(frontier_ns=None if moved_ns == frontier_ns else moved_ns, open_gap=gap)


def cover_gap(page: Page[Run], gap: Gap, step: Step, *, cursor: str | None) -> tuple[Coverage, Gap]:
    """What a page leaves of a gap, and whether that is less than before.

    `cursor` is where the reading goes on.
    """
    oldest = oldest_ns(page)
    if step is Step.END or (oldest is not None and oldest < gap.lower_ns):
        return Coverage(closed_gap=gap.no), gap
    upper_ns = gap.upper_ns if oldest is None else min(gap.upper_ns, oldest)
    left = replace(gap, upper_ns=upper_ns, cursor=cursor)
    return Coverage(open_gap=left), left


def within_backfill(page: Page[Run], gap: Gap, *, until_ns: int) -> Page[Run]:
    """The runs of a page that a backfill may take: ended, and of its range.

    A run that began before `until_ns` and is still going belongs to whoever sees it end.
    """
    rows = [
        run
        for run in page.rows
        if run.terminal and gap.lower_ns <= run.created_ns < min(until_ns, gap.upper_ns + 1)
    ]
    return replace(page, rows=tuple(rows))
