"""The catalogue as a page of documentation; `python -m exporter.metrics.reference` writes it.

Never describes a metric in words of its own.
"""

import sys
from typing import Final

from exporter.metrics.catalogue import CATALOGUE, Metric

_HEAD: Final = """\
# Metrics

Every metric of conduit-exporter, made from `exporter/metrics/catalogue.py` by
`python -m exporter.metrics.reference`. Names, labels and buckets are stable.

Metrics of runs (`conduit_...`) are sums kept in the ledger: they survive restarts. The counters
`conduit_exporter_api_...`, `conduit_exporter_..._delay_seconds` and
`conduit_exporter_label_overflow_total` start at zero with each process.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""
_BUCKETS: Final = """
## Buckets

Upper bounds in seconds; the last bucket of each is `+Inf`.

| histogram | bounds |
| --- | --- |
"""
_TAIL: Final = """
The process itself is shown by the usual `process_cpu_seconds_total`,
`process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_start_time_seconds`,
`process_open_fds` and `process_max_fds`.

Label values are at most 128 characters long; control characters are replaced, `<` and `>` are
shown as `\u2039` and `\u203a`. `conduit_run_duration_seconds` carries exemplars with the label
`trace_id` when it is scraped as OpenMetrics, which Prometheus keeps with
`--enable-feature=exemplar-storage`.
"""


def catalogue_to_markdown() -> str:
    """The page."""
    rows = "".join(map(_row, CATALOGUE))
    buckets = "".join(
        f"| `{metric.name}` | {', '.join(f'{bound:g}' for bound in metric.buckets)} |\n"
        for metric in CATALOGUE
        if metric.buckets
    )
    return f"{_HEAD}{rows}{_BUCKETS}{buckets}{_TAIL}"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind.value} | {labels} | {metric.help} |\n"


if __name__ == "__main__":
    sys.stdout.write(catalogue_to_markdown())
