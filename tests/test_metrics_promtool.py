"""The catalogue before the linter that Prometheus' own people use."""

import pytest

from tests.metrics_support import make_metrics, one_sample_each, scrape
from tests.real.prometheus import promtool

pytestmark = pytest.mark.real


def test_promtool_finds_no_fault_with_any_metric() -> None:
    """Names, types and help of a scrape with every metric pass `promtool check metrics`."""
    checked = promtool("check", "metrics", stdin=scrape(make_metrics(one_sample_each)))
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
