"""How a list is read page by page; the one place that knows dead, circling and empty cursors.

Used for every list, of runs, agents or workspaces. It keeps no row and retries nothing.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from typing import Any, Final, TypeVar

from exporter.conduit.models import Page
from exporter.errors import SourceMalformed, SourceRejected

# So many empty pages in a row that promise more are a fault of the list.
EMPTY_PAGES_MAX: Final = 50
# After so many readings from the head that brought nothing new, the list is left to rest.
RESTARTS_MAX: Final = 3

T = TypeVar("T")


class Step(Enum):
    """How the reading of a list goes on.

    NEXT: from the cursor. END: all of it was read. RESTART: from the head again. REST: from the
    head again, but not before a rest, since starting again has brought nothing new three times.
    """

    NEXT = "next"
    END = "end"
    RESTART = "restart"
    REST = "rest"


class Pager:
    """One reading of one list; `cursor` is what to ask with next, None for the head.

    `restarts` counts the readings from the head since something new was found.
    """

    def __init__(self, cursor: str | None = None, *, restarts: int = 0) -> None:
        self.cursor = cursor
        self.restarts = restarts
        self.reason = ""
        self._visited: set[str] = set() if cursor is None else {cursor}
        # The last row of each page: cursors that lead round may be another text each time.
        self._last_rows: set[str] = set()
        self._empty_pages = 0

    async def read(
        self, fetch: Callable[[str | None], Awaitable[Page[T]]]
    ) -> tuple[Page[T] | None, Step]:
        """Read the next page, and how to go on; None where its cursor turned out to be dead.

        `fetch` asks for the page behind a cursor. Raises SourceError for what tells nothing of the
        cursor. 400 is the only documented status that fits an expired one; others are possible.
        """
        try:
            page = await fetch(self.cursor)
        except SourceRejected:
            if self.cursor is None:
                raise
            return None, self.restart("its cursor has expired")
        return page, self._accept(page)

    def restart(self, reason: str) -> Step:
        """Read from the head again."""
        self.reason = reason
        self.cursor = None
        self._visited.clear()
        self._last_rows.clear()
        self._empty_pages = 0
        self.restarts += 1
        return Step.REST if self.restarts >= RESTARTS_MAX else Step.RESTART

    def found_news(self) -> None:
        """What was read since the last restart brought something new."""
        self.restarts = 0

    def _accept(self, page: Page[Any]) -> Step:
        following = page.next_cursor
        if following is None:
            return self.restart("it has more and no cursor") if page.has_more else Step.END
        last_row = page.rows[-1].id if page.rows else None
        if following in self._visited or last_row in self._last_rows:
            return self.restart("its cursors lead back")
        self._empty_pages = 0 if page.rows or page.unreadable else self._empty_pages + 1
        if self._empty_pages >= EMPTY_PAGES_MAX:
            return self.restart(f"{EMPTY_PAGES_MAX} empty pages in a row promise more")
        self._visited.add(following)
        if last_row is not None:
            self._last_rows.add(last_row)
        self.cursor = following
        return Step.NEXT


async def read_pages(
    fetch: Callable[[str | None], Awaitable[Page[T]]],
) -> AsyncIterator[Page[T]]:
    """The pages of a list, from its head, one request each; rows may come twice.

    Raises SourceError, also where the list's cursors do not lead to its end.
    """
    pager = Pager()
    while True:
        page, step = await pager.read(fetch)
        if page is not None:
            yield page
        if step is Step.END:
            return
        if step is Step.REST:
            raise SourceMalformed(f"A list cannot be read whole: {pager.reason}")
