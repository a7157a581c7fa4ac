"""What a simulated Conduit was asked, request by request: the measure of every request budget."""

from collections import Counter, deque
from itertools import pairwise
from typing import NamedTuple

from exporter.simulator.conduit import Endpoint, SimRequest, SimResponse
from tests.simulation.faults import BrokenResponse, When

_DAY_NS = 24 * 3600 * 10**9
_MINUTE_NS = 60 * 10**9


class Seen(NamedTuple):
    """A request, and the status it got; None where no answer came.

    `is_detail` says that the answer was the whole of a run that had ended.
    """

    request: SimRequest
    status: int | None
    is_detail: bool

    @property
    def purpose(self) -> str:
        """What the request is for, as far as can be seen from outside."""
        match self.request.endpoint:
            case Endpoint.RUN:
                return "detail"
            case Endpoint.RUNS if "status" in self.request.query:
                return "in flight"
            case Endpoint.RUNS:
                return "page" if self.request.cursor else "head"
        return "directory"


class Requests:
    """Every request to a simulated Conduit, in order."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    def note(self, request: SimRequest, response: SimResponse) -> None:
        """Remember a request and what became of it."""
        status = None if isinstance(response, BrokenResponse) else response.status
        is_detail = response.run is not None and response.run.ended(request.now_ns)
        self.seen.append(Seen(request, status, is_detail))

    @property
    def total(self) -> int:
        """How many there were, whatever became of them."""
        return len(self.seen)

    @property
    def answers(self) -> Counter[tuple[Endpoint | None, int | None]]:
        """How many there were by endpoint and status."""
        return Counter((one.request.endpoint, one.status) for one in self.seen)

    @property
    def runs_asked(self) -> Counter[str]:
        """How often each run was asked for by itself."""
        return Counter(one.request.run_id for one in self.seen if one.request.run_id is not None)

    @property
    def fetched_twice(self) -> dict[str | None, int]:
        """Ended runs whose whole answer was given more than once."""
        served = Counter(one.request.run_id for one in self.seen if one.is_detail)
        return {run_id: times for run_id, times in served.items() if times > 1}

    def of(self, *, purpose: str | None = None, since_ns: int = 0) -> list[Seen]:
        """The requests for a purpose since then."""
        return [
            one
            for one in self.seen
            if one.request.now_ns >= since_ns and purpose in (None, one.purpose)
        ]

    def max_in_a_day(self, when: When) -> int:
        """The most requests for which `when` holds that any 24 hours have held."""
        return _max_within([one for one in self.seen if when(one.request)], _DAY_NS)

    def max_gap_s(self, when: When) -> float:
        """The longest time between two requests for which `when` holds."""
        times = [one.request.now_ns for one in self.seen if when(one.request)]
        return max((after - before for before, after in pairwise(times)), default=0) / 1e9

    def max_in_a_minute(self, workspace_id: str) -> int:
        """The most requests about a workspace that any 60 seconds have held."""
        return _max_within(
            [one for one in self.seen if one.request.query.get("workspace_id") == workspace_id],
            _MINUTE_NS,
        )


def _max_within(seen: list[Seen], length_ns: int) -> int:
    window: deque[int] = deque()
    most = 0
    for one in seen:
        window.append(one.request.now_ns)
        while window[0] <= one.request.now_ns - length_ns:
            window.popleft()
        most = max(most, len(window))
    return most
