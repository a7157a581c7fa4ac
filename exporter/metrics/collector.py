"""From the samples of all sources, as plain values, to the text of a scrape.

A source that fails breaks no scrape: its series are absent as a whole, which is said by
conduit_exporter_collector_success, and everything else is shown. Never touches the disk.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import accumulate
from typing import Any, Final, NamedTuple

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client import Metric as Family
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from exporter.metrics.catalogue import CATALOGUE, COLLECTOR_SUCCESS, Kind, Metric
from exporter.metrics.labels import label_value

logger = logging.getLogger("exporter.metrics")

Number = int | float | Decimal


class HistogramValue(NamedTuple):
    """How many observations fell into each bucket, by the text of its upper bound, and their sum.

    Counts are not cumulative. Of the exemplars of one bucket the last is shown.
    """

    counts: Mapping[str, int]
    total: Number
    exemplars: Iterable[Exemplar] = ()


class Sample(NamedTuple):
    """The value of one series. Label values are in the order of the metric's labels."""

    metric: Metric
    labels: tuple[str, ...]
    value: Number | HistogramValue


# Called at each scrape, on the event loop; what it gives is read in another thread, so that it may
# hold nothing that changes.
Source = Callable[[], Iterable[Sample]]

# By the metric's name, what `add_metric` of its family is called with for each series.
_Series = dict[str, list[tuple[Any, ...]]]

_FAMILIES: Final = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
    Kind.INFO: InfoMetricFamily,
}
# Versions of the formats that are written here. The encoder would call its OpenMetrics 1.0 text
# by any higher version that it is asked for, and the scraper would misread it.
_WRITTEN: Final = {"", "0.0.4", "1.0.0"}
_VERSION: Final = re.compile(r";\s*version=([^;]*)")


class Metrics:
    """All that /metrics shows: the samples of its sources, and what is registered with `registry`.

    Sources are asked in the order in which they were added. The process's own are registered.
    """

    def __init__(self) -> None:
        # A process-wide switch of the library: `_created` series double the number of series, and
        # Prometheus takes them for metrics of their own.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # has no hints
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._sources: dict[str, Source] = {}
        self._failing: set[str] = set()

    def add_source(self, name: str, source: Source) -> None:
        """Ask `source` from now on; `name` is a label value. No two sources share a metric."""
        self._sources[name] = source

    def snapshot(self) -> "Snapshot":
        """What all sources say now; called where they change, and quick."""
        return Snapshot(self, {name: self._ask(name) for name in self._sources})

    def read(self, name: str, samples: Iterable[Sample]) -> _Series | None:
        """The series of a source by metric; None, and a line in the log, where it fails."""
        series: _Series = defaultdict(list)
        try:
            for sample in samples:
                series[sample.metric.name].append(_to_arguments(sample))
        except Exception as error:  # noqa: BLE001 - the other sources are still shown
            self._failed(name, error)
            return None
        if name in self._failing:
            self._failing.discard(name)
            logger.info("The metrics of %s can be read again", name)
        return series

    def _ask(self, name: str) -> Iterable[Sample] | None:
        try:
            return self._sources[name]()
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(name, error)
            return None

    def _failed(self, name: str, error: Exception) -> None:
        if name not in self._failing:
            self._failing.add(name)
            text = "The metrics of %s cannot be read; their series are absent"
            logger.error(text, name, exc_info=error)


class Snapshot(Collector):
    """What the sources said at one moment, to be read once, in any thread."""

    def __init__(self, metrics: Metrics, samples: Mapping[str, Iterable[Sample] | None]) -> None:
        self._metrics = metrics
        self._samples = samples

    def collect(self) -> Iterator[Family]:
        """All families that have series, in the order of the catalogue, then the registered.

        One after the other: with a thousand agents all of them would take 50 MiB.
        """
        shown: _Series = {}
        successes = []
        for name, samples in self._samples.items():
            series = None if samples is None else self._metrics.read(name, samples)
            successes.append(([label_value(name)], float(series is not None)))
            shown |= series or {}
        shown[COLLECTOR_SUCCESS.name] = successes
        for metric in CATALOGUE:
            if metric.name in shown:
                yield _family(metric, shown.pop(metric.name))
        yield from self._metrics.registry.collect()


def encoder_for(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """What writes the text that suits the Accept header, and the content type of that text."""
    wanted = [one for one in accept.split(",") if _version(one) in _WRITTEN]
    return choose_encoder(",".join(wanted))


def _version(media_range: str) -> str:
    found = _VERSION.search(media_range)
    return "" if found is None else found[1].strip()


def _to_arguments(sample: Sample) -> tuple[Any, ...]:
    """What a family's `add_metric` takes; raises for what could not be written."""
    metric, values, value = sample
    if len(values) != len(metric.labels):
        raise ValueError(f"{metric.name} has the labels {metric.labels}, not {values}")
    labels = [label_value(one) for one in values]
    if metric.kind is Kind.INFO:
        return labels, {}
    if metric.kind is not Kind.HISTOGRAM:
        return labels, float(value)  # type: ignore[arg-type]  # raises for others
    assert isinstance(value, HistogramValue)  # noqa: S101 - a histogram has nothing else
    return labels, list(_buckets(metric, value)), float(value.total)


def _family(metric: Metric, series: Iterable[tuple[Any, ...]]) -> Family:
    name = metric.name.removesuffix("_info") if metric.kind is Kind.INFO else metric.name
    family: Family = _FAMILIES[metric.kind](name, metric.help, labels=metric.labels)
    for arguments in series:
        family.add_metric(*arguments)  # type: ignore[attr-defined]  # of each kind its own
    return family


def _buckets(
    metric: Metric, value: HistogramValue
) -> Iterator[tuple[str, float] | tuple[str, float, Exemplar]]:
    counts = [0] * len(metric.bounds)
    for bound, count in value.counts.items():
        # A bound that the metric no longer has joins the next higher one, where its observations
        # belong: the buckets of an older version's ledger may have been others.
        counts[metric.bucket_no(float(bound))] += count
    exemplars = {metric.bucket_no(one.value): one for one in value.exemplars}
    for no, (bound, total) in enumerate(zip(metric.bounds, accumulate(counts), strict=True)):
        yield (bound, total, exemplars[no]) if no in exemplars else (bound, total)
