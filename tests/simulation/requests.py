"""What a simulated Conduit was asked, request by request: the measure of every request budget."""

from collections import deque
from itertools import pairwise
from typing import NamedTuple

from exporter.simulator.conduit import SimulatedConduit
from exporter.simulator.faults import When
from exporter.simulator.messages import Endpoint, SimRequest, SimResponse

_DAY_NS = 24 * 3600 * 10**9
_MINUTE_NS = 60 * 10**9


class Seen(NamedTuple):
    """A request, and the status it got; None where no answer came."""

    request: SimRequest
    status: int | None

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

    def __init__(self, conduit: SimulatedConduit) -> None:
        self.seen: list[Seen] = []
        conduit.observers.append(self._note)

    def _note(self, request: SimRequest, response: SimResponse) -> None:
        status = None if response.failure else response.status
        self.seen.append(Seen(request, status))

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
