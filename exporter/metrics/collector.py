"""The registry, the collector that turns the samples of all sources into families, and their text.

A source that fails breaks no scrape: its series are absent as a whole, which is said by
conduit_exporter_collector_success, and everything else is shown. Never touches the disk.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client import Metric as Family
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as WireExemplar

from exporter.metrics.catalogue import BY_NAME, CATALOGUE, COLLECTOR_SUCCESS, Kind, Metric
from exporter.metrics.labels import label_value
from exporter.metrics.sample import HistogramValue, Number, Sample, Source

logger = logging.getLogger("exporter.metrics")

_Value = float | HistogramValue
_Series = dict[tuple[str, ...], _Value]

# Versions of the formats that are written here. The encoder would call its OpenMetrics 1.0 text
# by any higher version that it is asked for, and the scraper would misread it.
_WRITTEN: Final = {"", "0.0.4", "1.0.0"}
_VERSION: Final = re.compile(r";\s*version=([^;]*)")


class SourceCollector(Collector):
    """Asks its sources at each scrape, in the order in which they were added."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._failing: set[str] = set()

    def add_source(self, name: str, source: Source) -> None:
        """Ask `source` from now on; `name` is a label value. Raises ValueError for a known name."""
        if name in self._sources:
            raise ValueError(f"There is a source named {name} already")
        self._sources[name] = source

    def collect(self) -> Iterator[Family]:
        """All families that have series, in the order of the catalogue."""
        found: dict[str, _Series] = {}
        for name, source in self._sources.items():
            series = self._read(name, source)
            for metric_name, values in (series or {}).items():
                found.setdefault(metric_name, {}).update(values)
            success = found.setdefault(COLLECTOR_SUCCESS.name, {})
            success[(name,)] = float(series is not None)
        for metric in CATALOGUE:
            if metric.name in found:
                yield _family(metric, found[metric.name])

    def _read(self, name: str, source: Source) -> dict[str, _Series] | None:
        try:
            series = _series_of(source())
        except Exception:  # whatever it is: the other sources are still shown
            if name not in self._failing:
                self._failing.add(name)
                logger.exception("The metrics of %s cannot be read; their series are absent", name)
            return None
        if name in self._failing:
            self._failing.discard(name)
            logger.info("The metrics of %s can be read again", name)
        return series


def new_registry() -> tuple[CollectorRegistry, SourceCollector]:
    """A private registry with the metrics of the process, and the collector in it."""
    # A process-wide switch of the library: `_created` series double the number of series, and
    # Prometheus takes them for metrics of their own.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # has no hints
    registry = CollectorRegistry()
    collector = SourceCollector()
    registry.register(collector)
    ProcessCollector(registry=registry)
    return registry, collector


def render(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """What the registry shows now, and the content type that suits the Accept header."""
    wanted = [one for one in accept.split(",") if _version(one) in _WRITTEN]
    encoder, content_type = choose_encoder(",".join(wanted))
    return encoder(registry), content_type


def _version(media_range: str) -> str:
    found = _VERSION.search(media_range)
    return "" if found is None else found[1].strip()


def _series_of(samples: Iterable[Sample]) -> dict[str, _Series]:
    """The samples by metric and labels; raises on what would break or falsify the scrape."""
    found: dict[str, _Series] = {}
    for metric, labels, value in samples:
        if BY_NAME.get(metric.name) is not metric:
            raise ValueError(f"{metric.name} is not in the catalogue")
        if len(labels) != len(metric.labels):
            raise ValueError(f"{metric.name} has labels {metric.labels}, not {len(labels)} values")
        series = found.setdefault(metric.name, {})
        key = tuple(map(label_value, labels))
        if key in series:
            raise ValueError(f"{metric.name} has two values for the labels {key}")
        series[key] = _checked(metric, value)
    return found


def _checked(metric: Metric, value: Number | HistogramValue) -> _Value:
    if not isinstance(value, HistogramValue):
        if metric.kind is Kind.HISTOGRAM:
            raise ValueError(f"{metric.name} is a histogram, not {value!r}")
        return float(value)
    if metric.kind is not Kind.HISTOGRAM or len(value.counts) != len(metric.bounds):
        raise ValueError(f"{metric.name} does not have {len(value.counts)} buckets")
    return HistogramValue(value.counts, float(value.total), value.exemplars)


def _family(metric: Metric, series: _Series) -> Family:
    if metric.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in series.items():
            assert isinstance(value, HistogramValue)  # noqa: S101 - checked when it was read
            histogram.add_metric(labels, list(_buckets(metric, value)), float(value.total))
        return histogram
    if metric.kind is Kind.INFO:
        info = InfoMetricFamily(
            metric.name.removesuffix("_info"), metric.help, labels=metric.labels
        )
        for labels in series:
            info.add_metric(labels, {})
        return info
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in series.items():
        assert isinstance(value, float)  # noqa: S101 - checked when it was read
        family.add_metric(labels, value)
    return family


def _buckets(
    metric: Metric, value: HistogramValue
) -> Iterator[tuple[str, float] | tuple[str, float, WireExemplar]]:
    for no, (bound, count) in enumerate(zip(metric.bounds, accumulate(value.counts), strict=True)):
        exemplar = value.exemplars.get(no)
        if exemplar is None:
            yield bound, count
        else:
            labels = {"trace_id": exemplar.trace_id}
            yield bound, count, WireExemplar(labels, exemplar.value, exemplar.at_ns / 1e9)
