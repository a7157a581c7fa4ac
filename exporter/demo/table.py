"""One agent's runs as the API shows them at the present moment, newest first.

Holds exactly the rows that are visible now: time is brought forward with `advance`, never back.
Knows nothing of JSON, cursors' texts, tokens or limits.
"""

import heapq
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from exporter.conduit.models import IN_FLIGHT_STATUSES
from exporter.demo.runs import FAR_FUTURE_NS, Arrival, RunContent, RunSource, SimRun

# A generated run's number, or the id of a run that was placed by hand.
Key = int | str


class RunTable:
    """The visible runs of one agent in order of creation; equal times are ordered by id."""

    def __init__(self, source: RunSource | None = None) -> None:
        self._source = source
        self._created = array("q")
        self._rows: list[Key] = []
        self._placed: dict[str, tuple[SimRun, RunContent]] = {}
        self._absent: set[int] = set()  # generated runs that are late, deleted or replaced
        self._in_flight: dict[Key, int] = {}  # with the creation time
        self._events: list[tuple[int, int, Callable[[Key], None], Key]] = []
        self._event_count = 0
        self._now_ns = -1
        self._next_ns = source.next_ns if source else FAR_FUTURE_NS

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Key]:
        """All visible rows, oldest first."""
        return iter(self._rows)

    def advance(self, now_ns: int) -> None:
        """Bring the table to this time; an earlier time changes nothing."""
        self._now_ns = max(now_ns, self._now_ns)
        if self._next_ns > now_ns:
            return
        if self._source is not None:
            for arrival in self._source.arrivals(now_ns):
                self._arrive(arrival)
        events = self._events
        while events and events[0][0] <= now_ns:
            _, _, apply, key = heapq.heappop(events)
            apply(key)
        self._plan_next()

    def place(self, run: SimRun, content: RunContent, *, visible_ns: int | None = None) -> None:
        """Add a run by hand, visible at once or from `visible_ns` on; its id must be new."""
        if run.id in self._placed:
            raise ValueError(f"there is a run {run.id!r} already")
        self._placed[run.id] = (run, content)
        if visible_ns is not None and visible_ns > self._now_ns:
            self._plan(visible_ns, self._show, run.id)
        else:
            self._show(run.id)
        self._plan_next()

    def replace(self, key: Key, run: SimRun, content: RunContent) -> Key:
        """Change a visible run; its creation time may not change."""
        position = self._position(key, run.created_ns)
        if isinstance(key, int):
            self._absent.add(key)
        self._in_flight.pop(key, None)
        self._placed[run.id] = (run, content)
        self._rows[position] = run.id
        self._track(run.id, run.created_ns, run.completed_ns)
        self._plan_next()
        return run.id

    def delete(self, key: Key) -> None:
        """Remove a run for good; one that is not visible is left alone."""
        if key not in self:
            return
        position = self._position(key, self.run(key).created_ns)
        del self._rows[position]
        del self._created[position]
        self._in_flight.pop(key, None)
        if isinstance(key, int):
            self._absent.add(key)
        else:
            del self._placed[key]

    def __contains__(self, key: Key) -> bool:
        return self.find(self.run_id(key)) == key

    def find(self, run_id: str) -> Key | None:
        """The visible run with this id."""
        if run_id in self._placed:
            run = self._placed[run_id][0]
            low, high = self._ties(run.created_ns)
            return run_id if run_id in self._rows[low:high] else None
        number = self._source.number_of(run_id) if self._source else None
        return None if number is None or number in self._absent else number

    def run(self, key: Key) -> SimRun:
        if isinstance(key, str):
            return self._placed[key][0]
        return self._generated().run(key)

    def content(self, key: Key) -> RunContent:
        if isinstance(key, str):
            return self._placed[key][1]
        return self._generated().content(key)

    def run_id(self, key: Key) -> str:
        return key if isinstance(key, str) else self._generated().run_id(key)

    def page(self, *, status: str | None, skip: int, take: int) -> list[Key]:
        """Rows newest first after `skip` rows of the same list."""
        if status is None:
            end = len(self._rows) - skip
            return self._rows[max(0, end - take) : max(0, end)][::-1]
        return list(islice(self._downwards(len(self._rows), status), skip, skip + take))

    def page_below(self, *, status: str | None, anchor: tuple[int, str], take: int) -> list[Key]:
        """Rows newest first that come after the row (creation time, id), present or not."""
        low, high = self._ties(anchor[0])
        while high > low and self.run_id(self._rows[high - 1]) >= anchor[1]:
            high -= 1
        if status is None:
            return self._rows[max(0, high - take) : high][::-1]
        return list(islice(self._downwards(high, status), take))

    def _downwards(self, end: int, status: str) -> Iterator[Key]:
        now_ns = self._now_ns
        positions: Iterable[int] = range(end - 1, -1, -1)
        if status in IN_FLIGHT_STATUSES:
            running = (self._position(key, at_ns) for key, at_ns in self._in_flight.items())
            positions = sorted((at for at in running if at < end), reverse=True)
        for position in positions:
            key = self._rows[position]
            if self.run(key).status_at(now_ns) == status:
                yield key

    def _arrive(self, arrival: Arrival) -> None:
        key = arrival.number
        if arrival.deleted_ns is not None:
            self._plan(arrival.deleted_ns, self.delete, key)
        if arrival.visible_ns > self._now_ns:
            self._absent.add(key)
            self._plan(arrival.visible_ns, self._show, key)
            return
        self._insert(key, arrival.created_ns)
        self._track(key, arrival.created_ns, arrival.completed_ns)

    def _show(self, key: Key) -> None:
        run = self.run(key)
        if isinstance(key, int):
            self._absent.discard(key)
        self._insert(key, run.created_ns)
        self._track(key, run.created_ns, run.completed_ns)

    def _insert(self, key: Key, created_ns: int) -> None:
        if not self._created or self._created[-1] < created_ns:
            self._created.append(created_ns)
            self._rows.append(key)
            return
        low, position = self._ties(created_ns)
        run_id = self.run_id(key)
        while position > low and self.run_id(self._rows[position - 1]) > run_id:
            position -= 1
        self._created.insert(position, created_ns)
        self._rows.insert(position, key)

    def _track(self, key: Key, created_ns: int, completed_ns: int | None) -> None:
        if completed_ns is None or completed_ns > self._now_ns:
            self._in_flight[key] = created_ns
            if completed_ns is not None:
                self._plan(completed_ns, self._end, key)

    def _end(self, key: Key) -> None:
        # A run that was changed in flight may have an older event as well.
        if key in self._in_flight and self.run(key).ended(self._now_ns):
            del self._in_flight[key]

    def _position(self, key: Key, created_ns: int) -> int:
        low, high = self._ties(created_ns)
        return self._rows.index(key, low, high)

    def _ties(self, created_ns: int) -> tuple[int, int]:
        low = bisect_left(self._created, created_ns)
        return low, bisect_right(self._created, created_ns, low)

    def _plan(self, at_ns: int, apply: Callable[[Key], None], key: Key) -> None:
        self._event_count += 1
        heapq.heappush(self._events, (at_ns, self._event_count, apply, key))

    def _plan_next(self) -> None:
        self._next_ns = min(
            self._events[0][0] if self._events else FAR_FUTURE_NS,
            self._source.next_ns if self._source else FAR_FUTURE_NS,
        )

    def _generated(self) -> RunSource:
        if self._source is None:
            raise LookupError("this agent has no generated runs")
        return self._source
