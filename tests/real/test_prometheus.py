"""A real Prometheus scrapes the daemon and answers with the exact sums of the simulated API."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.real.conduit import Conduit, hotel
from tests.real.expectation import SUMS, expected_series
from tests.real.exporter import Exporter, Series
from tests.real.jaeger import Jaeger
from tests.real.odd_runs import place_odd_runs
from tests.real.processes import loopback_client
from tests.real.prometheus import Prometheus, Sample

pytestmark = pytest.mark.real

FOREIGN_LABELS = ("__name__", "instance", "job")


@pytest.fixture
def conduit() -> Iterator[Conduit]:
    """A busy hotel group with a minute of history, and runs of every odd kind."""
    with Conduit(hotel(rate=20.0, history_s=60.0)) as simulated:
        simulated.call(place_odd_runs)
        yield simulated


def series_of(samples: list[Sample]) -> dict[Series, float]:
    """The samples that are not zero, by name and the exporter's own labels."""
    return {
        (
            sample.labels["__name__"],
            frozenset(
                (name, value) for name, value in sample.labels.items() if name not in FOREIGN_LABELS
            ),
        ): sample.value
        for sample in samples
        if sample.value
    }


def follow(link: str) -> str:
    """What a link of a page leads to."""
    with loopback_client() as client:
        return client.get(link).raise_for_status().text


def test_prometheus_answers_with_the_exact_sums(
    jaeger: Jaeger,
    tmp_path: Path,
    at_end: ExitStack,
    conduit: Conduit,
    new_exporter: Callable[..., Exporter],
) -> None:
    """PromQL gives every sum of the API to the digit; an exemplar leads to its trace and run."""
    exporter = new_exporter(
        conduit,
        otlp_http=jaeger.otlp_http,
        EXPORTER_TRACE_LINK=f"{jaeger.query_url}/api/v3/traces/{{trace_id}}",
    )
    prometheus = Prometheus(tmp_path / "prometheus", targets=[exporter.address])
    at_end.enter_context(prometheus)
    exporter.start()
    prometheus.wait_for("sum(conduit_runs_total) > 100")
    conduit.freeze()
    expected = expected_series(conduit)
    exporter.wait_settled(expected, traces=len(conduit.ended_runs()))

    selector = f'{{__name__=~"{"|".join(SUMS)}"}}'
    prometheus.wait_for(selector, until=lambda samples: series_of(samples) == expected)

    truth = conduit.truth()
    (cost,) = prometheus.query("sum(conduit_run_cost_usd_total)")
    assert math.isclose(cost.value, sum(map(float, truth.cost_usd.values())), rel_tol=1e-15)
    (runs,) = prometheus.query("sum(conduit_runs_total)")
    (timed,) = prometheus.query('sum(conduit_run_duration_seconds_bucket{le="+Inf"})')
    assert runs.value == truth.runs.total()
    assert timed.value == runs.value - sum(
        run.detail.run.duration_ns is None for run in conduit.ended_runs()
    )
    assert prometheus.query("count(conduit_agent_info)")[0].value == 6
    assert {sample.value for sample in prometheus.query("conduit_up")} == {1.0}

    # A trace is an exemplar once it was delivered, so a scrape later than the sums.
    for exemplar in prometheus.exemplars("conduit_run_duration_seconds_bucket", at_least=6):
        root = jaeger.spans(exemplar["labels"]["trace_id"])[0]
        seconds = (root.end_ns - root.start_ns) / 1e9
        assert math.isclose(float(exemplar["value"]), seconds, abs_tol=1e-3)
        # From the trace to the page of its run, and from there back to the trace.
        agent, run = (root.attributes[name] for name in ("gen_ai.agent.id", "conduit.run.id"))
        [link] = re.findall(r'href="(http\S+)"', exporter.get(f"/runs/{agent}/{run}").text)
        assert root.span_id in follow(link)
    assert "out-of-order" not in prometheus.process.log_text()
