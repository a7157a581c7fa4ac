"""The registry, the collector that turns the samples of all sources into families, and their text.

A source that fails breaks no scrape: its series are absent as a whole, which is said by
conduit_exporter_collector_success, and everything else is shown. Never touches the disk.
"""

import logging
import re
from collections.abc import Callable, Iterator
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

from exporter.metrics.catalogue import CATALOGUE, COLLECTOR_SUCCESS, Kind, Metric
from exporter.metrics.labels import label_value
from exporter.metrics.sample import HistogramValue, Sample, Source

logger = logging.getLogger("exporter.metrics")

_Families = dict[str, Family]

_FAMILIES: Final = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}
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
        """Ask `source` from now on; `name` is a label value. No two sources share a metric."""
        self._sources[name] = source

    def collect(self) -> Iterator[Family]:
        """All families that have series, in the order of the catalogue."""
        families: _Families = {}
        for name, source in self._sources.items():
            read = self._read(name, source)
            success = Sample(COLLECTOR_SUCCESS, (name,), int(read is not None))
            families |= read or {}
            _add(families, success)
        for metric in CATALOGUE:
            if metric.name in families:
                yield families[metric.name]

    def _read(self, name: str, source: Source) -> _Families | None:
        families: _Families = {}
        try:
            for sample in source():
                _add(families, sample)
        except Exception:  # whatever it is: the other sources are still shown
            if name not in self._failing:
                self._failing.add(name)
                logger.exception("The metrics of %s cannot be read; their series are absent", name)
            return None
        if name in self._failing:
            self._failing.discard(name)
            logger.info("The metrics of %s can be read again", name)
        return families


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
    encode, content_type = encoder_for(accept)
    return encode(registry), content_type


def encoder_for(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """What writes the text that suits the Accept header, and the content type of that text."""
    wanted = [one for one in accept.split(",") if _version(one) in _WRITTEN]
    return choose_encoder(",".join(wanted))


def _version(media_range: str) -> str:
    found = _VERSION.search(media_range)
    return "" if found is None else found[1].strip()


def _add(families: _Families, sample: Sample) -> None:
    metric, values, value = sample
    if len(values) != len(metric.labels):
        raise ValueError(f"{metric.name} has the labels {metric.labels}, not {values}")
    labels = [label_value(one) for one in values]
    family = families.get(metric.name) or families.setdefault(metric.name, _new_family(metric))
    match family:
        case HistogramMetricFamily():
            assert isinstance(value, HistogramValue)  # noqa: S101 - a histogram has nothing else
            family.add_metric(labels, list(_buckets(metric, value)), float(value.total))
        case InfoMetricFamily():
            family.add_metric(labels, {})
        case CounterMetricFamily() | GaugeMetricFamily():
            family.add_metric(labels, float(value))  # type: ignore[arg-type]  # raises for others


def _new_family(metric: Metric) -> Family:
    if metric.kind is Kind.INFO:
        name = metric.name.removesuffix("_info")
        return InfoMetricFamily(name, metric.help, labels=metric.labels)
    family: Family = _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
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
