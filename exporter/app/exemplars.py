"""Which delivered trace shows an observation of a histogram of runs.

Remembers a bounded number of traces between their writing and their acknowledgement, and the newest
delivered one of each bucket. Lost with the process: an exemplar is a pointer, not a figure.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Exemplar

from exporter.conduit.models import Run
from exporter.ledger.runs import ended_ns
from exporter.metrics.catalogue import RUN_DURATION, RUN_PRICE, Metric

_WAITING_MAX: Final = 2000


@dataclass(frozen=True, slots=True)
class _Waiting:
    agent_no: int
    run: Run


class ExemplarBook:
    """Exemplars by metric, agent number and status."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[bytes, _Waiting] = OrderedDict()
        # The inner mappings are replaced, never changed: a scrape reads them in another thread.
        self._newest: dict[tuple[str, int, str], Mapping[int, Exemplar]] = {}

    def traced(self, agent_no: int, run: Run, trace_id: bytes) -> None:
        """A run's trace is on its way."""
        self._waiting[trace_id] = _Waiting(agent_no, run)
        if len(self._waiting) > _WAITING_MAX:
            self._waiting.popitem(last=False)

    def delivered(self, trace_id: bytes) -> None:
        """The trace can be looked at now."""
        one = self._waiting.pop(trace_id, None)
        if one is None:
            return
        run, at_s = one.run, ended_ns(one.run) / 1e9
        labels = {"trace_id": trace_id.hex()}
        if run.duration_ns is not None:
            exemplar = Exemplar(labels, run.duration_ns / 1e9, at_s)
            self._put(RUN_DURATION, one.agent_no, run.status, exemplar)
        if run.cost_usd is not None:
            exemplar = Exemplar(labels, float(run.cost_usd), at_s)
            self._put(RUN_PRICE, one.agent_no, "", exemplar)

    def of(self, metric: Metric, agent_no: int, status: str = "") -> Iterable[Exemplar]:
        """The newest delivered trace of each bucket."""
        return self._newest.get((metric.name, agent_no, status), {}).values()

    def _put(self, metric: Metric, agent_no: int, status: str, exemplar: Exemplar) -> None:
        key = metric.name, agent_no, status
        of_buckets, bucket = self._newest.get(key, {}), metric.bucket_no(exemplar.value)
        # A trace may be delivered after one of a later run; Prometheus refuses the older one then.
        before = of_buckets.get(bucket)
        if before is None or float(before.timestamp or 0) <= float(exemplar.timestamp or 0):
            self._newest[key] = {**of_buckets, bucket: exemplar}
