"""Samples for the tests of the metrics, and the text of a scrape parsed back."""

from collections.abc import Iterable, Iterator
from decimal import Decimal

from prometheus_client import Metric as Family
from prometheus_client import parser
from prometheus_client.core import Exemplar
from prometheus_client.openmetrics import parser as openmetrics_parser

from exporter.metrics.catalogue import CATALOGUE, COLLECTOR_SUCCESS, Metric
from exporter.metrics.collector import HistogramValue, Metrics, Sample, Source, encoder_for

TRACE = "0f9c2b1d8a7e4f360f9c2b1d8a7e4f36"


def one_sample_each() -> Iterator[Sample]:
    """A sample of every metric of the catalogue."""
    for metric in CATALOGUE:
        if metric is COLLECTOR_SUCCESS:
            continue
        labels = tuple(f"some {label}" for label in metric.labels)
        yield Sample(metric, labels, histogram(metric) if metric.buckets else 1)


def histogram(metric: Metric) -> HistogramValue:
    exemplar = Exemplar({"trace_id": TRACE}, metric.buckets[0], 1_775_185_455)
    return HistogramValue({metric.bounds[0]: 2, "+Inf": 1}, Decimal("12.25"), [exemplar])


def make_metrics(*sources: Source) -> Metrics:
    """The metrics of these sources, which are named source0, source1 ..."""
    metrics = Metrics()
    for number, source in enumerate(sources):
        metrics.add_source(f"source{number}", source)
    return metrics


def scrape(metrics: Metrics, accept: str = "") -> str:
    """What a scrape with this Accept header shows."""
    encode, _ = encoder_for(accept)
    return encode(metrics.snapshot()).decode()


def parse_text(text: str) -> Iterable[Family]:
    families: Iterable[Family] = parser.text_string_to_metric_families(text)
    return families


def parse_openmetrics(text: str) -> Iterable[Family]:
    families: Iterable[Family] = openmetrics_parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # has no hints
    return families
