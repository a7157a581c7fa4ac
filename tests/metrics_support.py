"""Samples for the tests of the metrics, and the text of a scrape parsed back."""

from collections.abc import Iterable, Iterator
from decimal import Decimal

from prometheus_client import Metric as Family
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from exporter.metrics.catalogue import CATALOGUE, COLLECTOR_SUCCESS, Metric
from exporter.metrics.sample import Exemplar, HistogramValue, Sample

TRACE = "0f9c2b1d8a7e4f360f9c2b1d8a7e4f36"


def one_sample_each() -> Iterator[Sample]:
    """A sample of every metric of the catalogue."""
    for metric in CATALOGUE:
        if metric is COLLECTOR_SUCCESS:
            continue
        labels = tuple(f"some {label}" for label in metric.labels)
        yield Sample(metric, labels, histogram(metric) if metric.buckets else 1)


def histogram(metric: Metric) -> HistogramValue:
    return HistogramValue.of(
        metric,
        {metric.bounds[0]: 2, "+Inf": 1},
        total=Decimal("12.25"),
        exemplars=[Exemplar(TRACE, metric.buckets[0], 1_775_185_455_000_000_000)],
    )


def parse_text(text: str) -> Iterable[Family]:
    families: Iterable[Family] = parser.text_string_to_metric_families(text)
    return families


def parse_openmetrics(text: str) -> Iterable[Family]:
    families: Iterable[Family] = openmetrics_parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # has no hints
    return families
