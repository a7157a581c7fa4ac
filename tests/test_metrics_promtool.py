"""The catalogue before the linter that Prometheus' own people use."""

import pytest

from exporter.metrics.collector import new_registry, render
from tests.metrics_support import one_sample_each
from tests.real.prometheus import promtool

pytestmark = pytest.mark.real


def test_promtool_finds_no_fault_with_any_metric() -> None:
    """Names, types and help of a scrape with every metric pass `promtool check metrics`."""
    registry, collector = new_registry()
    collector.add_source("all", one_sample_each)
    checked = promtool("check", "metrics", stdin=render(registry, "")[0].decode())
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
