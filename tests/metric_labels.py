"""The labels of every metric, for tests of what queries them."""

from exporter.metrics.catalogue import CATALOGUE

HISTOGRAMS = {metric.name for metric in CATALOGUE if metric.kind == "histogram"}
LABELS = {metric.name: frozenset(metric.labels) for metric in CATALOGUE}
