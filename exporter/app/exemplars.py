"""Which delivered trace shows an observation of the duration histogram.

Remembers a bounded number of traces between their writing and their acknowledgement, and the newest
delivered one of each bucket. Lost with the process: an exemplar is a pointer, not a figure.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from exporter.metrics.catalogue import RUN_DURATION
from exporter.metrics.sample import Exemplar
from exporter.models import Run

_MOST_WAITING: Final = 2000


class _Waiting(NamedTuple):
    agent_no: int
    status: str
    seconds: float
    ended_ns: int


class ExemplarBook:
    """Exemplars by agent number and status."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[bytes, _Waiting] = OrderedDict()
        self._newest: defaultdict[tuple[int, str], dict[int, Exemplar]] = defaultdict(dict)

    def traced(self, agent_no: int, run: Run, trace_id: bytes) -> None:
        """A run's trace is on its way."""
        if run.duration_ns is None:
            return
        self._waiting[trace_id] = _Waiting(
            agent_no, run.status, run.duration_ns / 1e9, run.completed_ns or run.created_ns
        )
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.popitem(last=False)

    def delivered(self, trace_id: bytes) -> None:
        """The trace can be looked at now."""
        one = self._waiting.pop(trace_id, None)
        if one is not None:
            bucket = RUN_DURATION.bucket_no(one.seconds)
            self._newest[one.agent_no, one.status][bucket] = Exemplar(
                trace_id.hex(), one.seconds, one.ended_ns
            )

    def of(self, agent_no: int, status: str) -> Iterable[Exemplar]:
        """The newest delivered trace of each bucket."""
        return self._newest[agent_no, status].values()
