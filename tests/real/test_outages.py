"""Jaeger or Conduit is away for a while: what happened meanwhile arrives after it, once."""

from collections.abc import Callable

import pytest

from tests.real.conduit import Conduit
from tests.real.expectation import assert_traces, expected_series, expected_traces
from tests.real.exporter import Exporter
from tests.real.jaeger import Jaeger
from tests.real.odd_runs import example_run

pytestmark = pytest.mark.real


def add_runs(conduit: Conduit, count: int) -> None:
    """Later runs like the example, each with a trace of its own."""
    run, content = example_run()
    for number in range(count):
        later = run._replace(
            id=f"ar77outage{number}",
            created_ns=run.created_ns + number * 1_000_000,
            trace_id=f"{number + 1:032x}",
        )
        conduit.add_run(later, content)


def test_daemon_stays_well_while_the_backend_is_away(
    jaeger: Jaeger, conduit: Conduit, new_exporter: Callable[..., Exporter]
) -> None:
    """What happens during an outage of Jaeger arrives after it, and only that is sent again."""
    exporter = new_exporter(conduit, otlp_http=jaeger.otlp_http)
    process = exporter.start()
    (before,) = expected_traces(conduit.ended_runs(), exporter.options)
    jaeger.trace(before, spans=2)
    exporter.wait_value("conduit_exporter_traces_delivered_total", 1)
    jaeger.stop()

    add_runs(conduit, 20)
    exporter.wait_value("conduit_exporter_traces_pending", 20)
    exporter.wait_value("conduit_runs_total", 21)
    process.wait_log("traces do not reach")
    assert exporter.get("/-/healthy").status_code == 200
    assert exporter.get("/-/ready").status_code == 200

    jaeger.start()
    exporter.wait_value("conduit_exporter_traces_pending", 0, timeout_s=60.0)
    exporter.wait_value("conduit_exporter_traces_delivered_total", 21)
    expected = expected_traces(conduit.ended_runs(), exporter.options)
    since = {trace_id: spans for trace_id, spans in expected.items() if trace_id != before}
    assert_traces(jaeger, since, service="conduit")
    assert process.log_text().count("traces do not reach") == 1
    process.wait_log("traces reach")
    assert exporter.stop() == 0


def test_a_run_that_an_outage_pushed_off_the_first_page_is_settled(
    jaeger: Jaeger, conduit: Conduit, new_exporter: Callable[..., Exporter]
) -> None:
    """It ended while Conduit was away, behind 250 newer runs: minutes later all are told, once."""
    run, content = example_run()
    in_flight = run._replace(
        id="ar77flight", created_ns=run.created_ns - 1, completed_ns=None, trace_id="f" * 32
    )
    conduit.add_run(in_flight, content)
    exporter = new_exporter(conduit, otlp_http=jaeger.otlp_http)
    process = exporter.start()
    exporter.wait_value("conduit_runs_in_flight", 1)

    with conduit.away():
        exporter.wait_value("conduit_up", 0)
        add_runs(conduit, 250)
        conduit.call(lambda one: one.data.delete_run(in_flight.id))
        conduit.add_run(in_flight._replace(completed_ns=run.completed_ns), content)

    runs = conduit.ended_runs()
    assert len(runs) == 252
    exporter.wait_settled(expected_series(conduit), traces=len(runs), timeout_s=180.0)
    assert exporter.value("conduit_runs_in_flight") == 0
    assert_traces(jaeger, expected_traces(runs, exporter.options), service="conduit")
    assert conduit.fetched_twice() == {}
    process.wait_log("Conduit answers again")
    assert exporter.stop() == 0
