"""The text of a scrape, in the format that the scraper asks for.

Answers the classic text format 0.0.4 and OpenMetrics 1.0 only: the client library would label its
1.0 text as 2.0 when asked for that, and a scraper would read it wrongly.
"""

import re
from typing import Final

import prometheus_client
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import ALLOWUTF8
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.process_collector import ProcessCollector

from exporter.metrics.collector import ReadingCollector

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# What is answered to which type and version of the Accept header; "" is any or none.
_ANSWERED: Final = {
    ("application/openmetrics-text", ""): OPENMETRICS,
    ("application/openmetrics-text", "1.0.0"): OPENMETRICS,
    ("text/plain", ""): TEXT,
    ("text/plain", "0.0.4"): TEXT,
    # Differs from 0.0.4 by quoted names alone, and none of ours needs quotes.
    ("text/plain", "1.0.0"): TEXT,
    ("text/*", ""): TEXT,
    ("*/*", ""): TEXT,
}
_QUALITY: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")


def new_registry(*, process: bool = True) -> tuple[CollectorRegistry, ReadingCollector]:
    """A private registry and the collector in it that takes sources of readings."""
    # A process-wide switch of the library: `_created` series double the number of series, and
    # Prometheus takes them for metrics of their own.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # has no hints
    registry = CollectorRegistry()
    collector = ReadingCollector(process=ProcessCollector(registry=None) if process else None)
    registry.register(collector)
    return registry, collector


def content_type_for(accept: str) -> str:
    """The content type to answer to an Accept header; the classic text when in doubt."""
    best, best_quality = TEXT, 0.0
    for media_range in accept.split(","):
        name, *parameters = (part.strip().lower() for part in media_range.split(";"))
        given = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        quality = given.get("q", "1")
        answered = _ANSWERED.get((name, given.get("version", "").strip('"')))
        if answered is None or not _QUALITY.match(quality):
            continue
        if float(quality) > best_quality:
            best, best_quality = answered, float(quality)
    return best


def render(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """What the registry shows now, and the content type that it is written in."""
    content_type = content_type_for(accept)
    if content_type == OPENMETRICS:
        body: bytes = generate_openmetrics(registry, ALLOWUTF8)  # type: ignore[no-untyped-call]  # has no hints
        return body, content_type
    return generate_latest(registry, ALLOWUTF8), content_type
