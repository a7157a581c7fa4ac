"""Turns the readings of all sources into metric families, at each scrape.

Never lets a source break the scrape: the series of one that fails are absent as a whole, which
is said by conduit_exporter_collector_success, and everything else is shown.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate
from typing import Final, TypeVar

from prometheus_client import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as WireExemplar
from prometheus_client.samples import Sample

from exporter.metrics.catalogue import BY_NAME, CATALOGUE, COLLECTOR_SUCCESS, Kind, Metric
from exporter.metrics.labels import label_value
from exporter.metrics.reading import Exemplar, HistogramValue, Reading, Source

logger = logging.getLogger("exporter.metrics")

R = TypeVar("R")

_PROCESS: Final = "process"
# What the name of a metric of this kind has beyond the name of its family.
_SUFFIX: Final = {Kind.COUNTER: "_total", Kind.INFO: "_info", Kind.GAUGE: "", Kind.HISTOGRAM: ""}
# OpenMetrics: names and values of an exemplar's labels together.
_MOST_EXEMPLAR_CHARACTERS: Final = 128

_Value = float | HistogramValue
_Series = dict[tuple[str, ...], _Value]


class ReadingCollector(Collector):
    """Asks its sources at each scrape, in the order in which they were added.

    `process` is a ready-made collector that is guarded in the same way.
    """

    def __init__(self, *, process: Collector | None = None) -> None:
        self._process = process
        self._sources: dict[str, Source] = {}
        self._failing: set[str] = set()

    def add_source(self, name: str, source: Source) -> None:
        """Ask `source` from now on; `name` is a label value."""
        if name in self._sources or name == _PROCESS:
            raise ValueError(f"There is a source named {name} already")
        self._sources[name] = source

    def collect(self) -> Iterator[Family]:
        """All families, in the order of the catalogue, then those of the process."""
        gathered: dict[str, _Series] = {}
        success: _Series = {}
        for name, source in self._sources.items():
            readings = self._guarded(name, partial(_readings_of, source))
            success[(name,)] = float(readings is not None)
            for metric, labels, value in readings or ():
                _add(gathered.setdefault(metric.name, {}), metric, labels, value)
        families: list[Family] | None = None
        if self._process is not None:
            families = self._guarded(_PROCESS, partial(_families_of, self._process))
            success[(_PROCESS,)] = float(families is not None)
        gathered[COLLECTOR_SUCCESS.name] = success
        for metric in CATALOGUE:
            series = gathered.get(metric.name)
            if series:
                yield _family(metric, series)
        yield from families or ()

    def _guarded(self, name: str, call: Callable[[], R]) -> R | None:
        try:
            result = call()
        except Exception:
            if name not in self._failing:
                self._failing.add(name)
                logger.exception("The metrics of %s cannot be read; their series are absent", name)
            return None
        if name in self._failing:
            self._failing.discard(name)
            logger.info("The metrics of %s can be read again", name)
        return result


def _families_of(collector: Collector) -> list[Family]:
    return list(collector.collect())


def _readings_of(source: Source) -> list[tuple[Metric, tuple[str, ...], _Value]]:
    return [_checked(reading) for reading in source()]


def _checked(reading: Reading) -> tuple[Metric, tuple[str, ...], _Value]:
    """The reading with labels that can be shown and a value that can be written.

    Raises on what would break the scrape for everybody else.
    """
    metric, labels, value = reading
    if BY_NAME.get(metric.name) is not metric:
        raise ValueError(f"{metric.name} is not in the catalogue")
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has the labels {metric.labels}, not {len(labels)} values")
    if isinstance(value, HistogramValue):
        if metric.kind is not Kind.HISTOGRAM or len(value.counts) != len(metric.buckets) + 1:
            raise ValueError(f"{metric.name} does not have {len(value.counts)} buckets")
        float(value.total)
        return metric, tuple(map(label_value, labels)), value
    if metric.kind is Kind.HISTOGRAM:
        raise ValueError(f"{metric.name} is a histogram, not {value!r}")
    return metric, tuple(map(label_value, labels)), float(value)


def _add(series: _Series, metric: Metric, labels: tuple[str, ...], value: _Value) -> None:
    """Take a value in; two of one series can only come of labels that became alike."""
    before = series.get(labels)
    if before is None or metric.kind in {Kind.GAUGE, Kind.INFO}:
        series[labels] = value
    elif isinstance(before, HistogramValue) and isinstance(value, HistogramValue):
        counts = tuple(map(sum, zip(before.counts, value.counts, strict=True)))
        total = float(before.total) + float(value.total)
        series[labels] = HistogramValue(counts, total, {**before.exemplars, **value.exemplars})
    elif isinstance(before, float) and isinstance(value, float):
        series[labels] = before + value


def _family(metric: Metric, series: _Series) -> Family:
    family = Family(metric.name.removesuffix(_SUFFIX[metric.kind]), metric.help, metric.kind.value)
    for labels, value in series.items():
        named = dict(zip(metric.labels, labels, strict=True))
        if isinstance(value, HistogramValue):
            family.samples.extend(_histogram_samples(metric, named, value))
        else:
            family.samples.append(Sample(metric.name, named, value))
    return family


def _histogram_samples(
    metric: Metric, labels: dict[str, str], value: HistogramValue
) -> Iterable[Sample]:
    cumulative = list(accumulate(value.counts))
    for no, (bound, count) in enumerate(zip(metric.bounds, cumulative, strict=True)):
        exemplar = value.exemplars.get(no)
        yield Sample(
            f"{metric.name}_bucket",
            {**labels, "le": bound},
            count,
            exemplar=None if exemplar is None else _exemplar_to_wire(exemplar),
        )
    yield Sample(f"{metric.name}_count", labels, cumulative[-1])
    yield Sample(f"{metric.name}_sum", labels, float(value.total))


def _exemplar_to_wire(exemplar: Exemplar) -> WireExemplar | None:
    labels = {"trace_id": label_value(exemplar.trace_id)}
    if exemplar.span_id is not None:
        labels["span_id"] = label_value(exemplar.span_id)
    if sum(len(name) + len(text) for name, text in labels.items()) > _MOST_EXEMPLAR_CHARACTERS:
        return None
    return WireExemplar(labels, float(exemplar.value), exemplar.at_ns / 1e9)
