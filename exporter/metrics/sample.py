"""What a source of metrics yields at a scrape, as plain values; nothing here is a metric itself."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from exporter.metrics.catalogue import Metric

Number = int | float | Decimal


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation of a histogram and the trace that shows it; `trace_id` is 32 hex digits."""

    trace_id: str
    value: float
    at_ns: int


@dataclass(frozen=True, slots=True)
class HistogramValue:
    """A histogram: how many fell into each bucket (not cumulative), and their sum.

    `counts` has one item for each bound of the metric, the infinite one last; `exemplars` are by
    the same index.
    """

    counts: tuple[int, ...]
    total: Number
    exemplars: Mapping[int, Exemplar] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        metric: Metric,
        counts: Mapping[str, int],
        *,
        total: Number,
        exemplars: Iterable[Exemplar] = (),
    ) -> "HistogramValue":
        """Counts by the text of their upper bound, and at most one exemplar of each bucket.

        A bound that the metric no longer has joins the next higher one, where its observations
        belong: the buckets of an older version's ledger may have been others.
        """
        found = [0] * len(metric.bounds)
        for bound, count in counts.items():
            found[metric.bucket_no(float(bound))] += count
        return cls(tuple(found), total, {metric.bucket_no(one.value): one for one in exemplars})


class Sample(NamedTuple):
    """The value of one series. Label values are in the order of the metric's labels."""

    metric: Metric
    labels: tuple[str, ...]
    value: Number | HistogramValue


# Called at each scrape, on the event loop: it answers from memory.
Source = Callable[[], Iterable[Sample]]
