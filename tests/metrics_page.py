"""The catalogue as docs/METRICS.md; `python -m tests.metrics_page > docs/METRICS.md` writes it."""

import sys

from exporter.metrics.catalogue import CATALOGUE

HEAD = """\
# Metrics

Every metric of conduit-exporter, made from `exporter/metrics/catalogue.py` by
`python -m tests.metrics_page`. Names, labels and buckets are stable.

Metrics of runs (`conduit_...`) are sums kept in the ledger: they survive restarts. The counters
and histograms `conduit_exporter_api_...`, `conduit_exporter_budget_requests_total`,
`conduit_exporter_delivery_attempts_total`, `conduit_exporter_..._delay_seconds` and
`conduit_exporter_label_overflow_total` start at zero with each process. Series with known label
values exist at zero from the start; those of an agent's runs appear when its first scan is
complete, and an agent that was retired has none.

"""
BUCKETS = """
## Buckets

Upper bounds in the unit of the name; the last bucket of each is `+Inf`. The histograms of runs
carry exemplars with the label `trace_id` when they are scraped as OpenMetrics, which Prometheus
keeps with `--enable-feature=exemplar-storage`.

| histogram | bounds |
| --- | --- |
"""
TAIL = """
## The process

Where there is a `/proc`, prometheus-client shows its own metrics of the process, from
`process_resident_memory_bytes` to `process_open_fds`.

## Label values

At most 128 characters long. Control characters are replaced, `<` and `>` are shown as `\u2039` and
`\u203a`; a value that had to be changed or cut ends in a digest of its text.
"""


def catalogue_to_markdown() -> str:
    """The page."""
    buckets = "".join(
        f"| `{metric.name}` | {', '.join(f'{bound:g}' for bound in metric.buckets)} |\n"
        for metric in CATALOGUE
        if metric.buckets
    )
    return f"{HEAD}{table()}{BUCKETS}{buckets}{TAIL}"


def table() -> str:
    rows = [
        (
            f"| `{metric.name}` | {metric.kind.value} "
            f"| {', '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |\n"
        )
        for metric in CATALOGUE
    ]
    return "".join(("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n", *rows))


if __name__ == "__main__":
    sys.stdout.write(catalogue_to_markdown())
