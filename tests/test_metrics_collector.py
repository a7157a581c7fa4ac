"""What a scrape shows: readings of all sources, in both formats, whatever a source does."""

import logging
from collections.abc import Iterable
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from exporter.metrics.catalogue import (
    AGENT_INFO,
    CATALOGUE,
    RUN_COST,
    RUN_DURATION,
    RUNS,
    TRACES_PENDING,
    Kind,
    Metric,
)
from exporter.metrics.collector import ReadingCollector
from exporter.metrics.exposition import OPENMETRICS, TEXT, content_type_for, new_registry, render
from exporter.metrics.reading import Exemplar, HistogramValue, Reading, Source
from tests.metrics_support import TRACE, one_reading_each, parse_openmetrics, parse_text

AGENT = ("ws_1", "ag_1")


def scrape(*sources: Source, accept: str = "") -> str:
    registry, collector = new_registry(process=False)
    for number, source in enumerate(sources):
        collector.add_source(f"source{number}", source)
    body, _ = render(registry, accept)
    return body.decode()


def samples_of(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def test_every_metric_is_shown_under_its_name() -> None:
    """Each metric of the catalogue arrives with its help and its type."""
    text = scrape(one_reading_each)
    for metric in CATALOGUE:
        kind = "gauge" if metric.kind is Kind.INFO else metric.kind.value
        assert f"# HELP {metric.name} {metric.help}\n" in text
        assert f"# TYPE {metric.name} {kind}\n" in text
    assert "_created" not in text


def test_openmetrics_is_parsed_back_whole() -> None:
    """The OpenMetrics text satisfies a strict parser and holds the same samples."""
    families = list(parse_openmetrics(scrape(one_reading_each, accept=OPENMETRICS)))
    shown = {sample.name for family in families for sample in family.samples}
    assert {one.name for one in CATALOGUE if one.kind is not Kind.HISTOGRAM} <= shown
    assert {f"{one.name}_bucket" for one in CATALOGUE if one.kind is Kind.HISTOGRAM} <= shown


def test_histogram_is_cumulative_and_adds_up() -> None:
    """Buckets sum what is below them; count and sum are those of the reading."""
    value = HistogramValue.of(RUN_DURATION, {"0.5": 2, "60.0": 3, "+Inf": 1}, total=9000.5)
    shown = samples_of(scrape(lambda: [Reading(RUN_DURATION, (*AGENT, "completed"), value)]))
    labels = {("workspace_id", "ws_1"), ("agent_id", "ag_1"), ("status", "completed")}
    name = RUN_DURATION.name
    assert {
        bound: shown[f"{name}_bucket", frozenset({*labels, ("le", bound)})]
        for bound in ("0.5", "30.0", "60.0", "7200.0", "+Inf")
    } == {"0.5": 2, "30.0": 2, "60.0": 5, "7200.0": 5, "+Inf": 6}
    assert shown[f"{name}_count", frozenset(labels)] == 6
    assert shown[f"{name}_sum", frozenset(labels)] == 9000.5


def test_bounds_of_an_older_version_join_the_next_bucket() -> None:
    """A bucket that is gone counts where its observations surely belong."""
    value = HistogramValue.of(RUN_DURATION, {"45.0": 1, "60.0": 1, "86400.0": 1}, total=1)
    assert value.counts[RUN_DURATION.bounds.index("60.0")] == 2
    assert value.counts[-1] == 1


def test_exemplars_are_in_openmetrics_alone() -> None:
    """The newest trace of a bucket is its exemplar; the classic text knows none."""
    old = Exemplar("a" * 32, 20.0, 1_000_000_000)
    new = Exemplar(TRACE, 25.0, 1_775_185_455_500_000_000, span_id="1" * 16)
    value = HistogramValue.of(RUN_DURATION, {"30.0": 2}, total=45, exemplars=[new, old])

    def source() -> list[Reading]:
        return [Reading(RUN_DURATION, (*AGENT, "completed"), value)]

    assert TRACE not in scrape(source)
    found = [
        sample.exemplar
        for family in parse_openmetrics(scrape(source, accept=OPENMETRICS))
        for sample in family.samples
        if sample.exemplar
    ]
    assert [(one.labels, one.value) for one in found] == [
        ({"trace_id": TRACE, "span_id": "1" * 16}, 25.0)
    ]
    assert float(found[0].timestamp or 0) == pytest.approx(1_775_185_455.5)


def test_oversized_exemplar_is_left_out() -> None:
    """An exemplar above OpenMetrics' 128 characters would spoil the whole scrape."""
    value = HistogramValue.of(
        RUN_DURATION, {"0.5": 1}, total=0, exemplars=[Exemplar("f" * 121, 0.1, 1)]
    )
    text = scrape(lambda: [Reading(RUN_DURATION, (*AGENT, "failed"), value)], accept=OPENMETRICS)
    assert " # {" not in text


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_hostile_label_is_escaped(accept: str) -> None:
    """Quotes, backslashes, newlines and markup in a name break neither format."""
    name = 'evil"} 1\nup{x="\\ <b>\ud800'
    text = scrape(lambda: [Reading(AGENT_INFO, (*AGENT, name), 1)], accept=accept)
    parse = parse_openmetrics if accept else parse_text
    [info] = [
        sample
        for family in parse(text)
        for sample in family.samples
        if sample.name == AGENT_INFO.name
    ]
    assert info.labels["agent_name"] == 'evil"} 1\ufffdup{x="\\ \u2039b\u203a\ufffd'


def test_money_is_shown_to_the_micro_dollar() -> None:
    """An exact sum of decimals loses nothing that a float can hold."""
    text = scrape(lambda: [Reading(RUN_COST, AGENT, Decimal("12345.678901"))])
    assert f'{RUN_COST.name}{{agent_id="ag_1",workspace_id="ws_1"}} 12345.678901\n' in text


def broken() -> Iterable[Reading]:
    """A source that fails after it has said something."""
    yield Reading(RUN_COST, AGENT, 1)
    raise RuntimeError("no totals")


def test_failing_source_takes_nothing_else_down(caplog: pytest.LogCaptureFixture) -> None:
    """Its series are absent as a whole, it is named, and the others are shown."""
    shown = samples_of(scrape(broken, lambda: [Reading(TRACES_PENDING, (), 7)]))
    assert shown["conduit_exporter_traces_pending", frozenset()] == 7
    success = "conduit_exporter_collector_success"
    assert shown[success, frozenset({("collector", "source0")})] == 0
    assert shown[success, frozenset({("collector", "source1")})] == 1
    assert not [name for name, _ in shown if name == RUN_COST.name]
    assert "no totals" in caplog.text


def test_failing_source_is_logged_once_until_it_recovers(caplog: pytest.LogCaptureFixture) -> None:
    """A scrape every 15 seconds does not fill the log."""
    caplog.set_level(logging.INFO)
    sources: list[Source] = [broken]

    def current() -> Iterable[Reading]:
        return sources[0]()

    registry, collector = new_registry(process=False)
    collector.add_source("ledger", current)
    for _ in range(3):
        render(registry, "")
    sources[0] = list
    render(registry, "")
    sources[0] = broken
    render(registry, "")
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO", "ERROR"]


@pytest.mark.parametrize(
    "reading",
    [
        Reading(RUNS, ("too", "few"), 1),
        Reading(RUN_DURATION, (*AGENT, "failed"), 1),
        Reading(TRACES_PENDING, (), HistogramValue((1,), 1)),
        Reading(RUN_DURATION, (*AGENT, "failed"), HistogramValue((1, 2), 1)),
        Reading(Metric("conduit_unheard_of", Kind.GAUGE, "x."), (), 1),
        Reading(RUNS, (*AGENT, "failed", None), 1),  # type: ignore[arg-type]  # that is the fault
        Reading(TRACES_PENDING, (), 10**400),
    ],
    ids=lambda reading: reading.metric.name,
)
def test_impossible_reading_fails_its_source_alone(reading: Reading) -> None:
    """What the exposition could not write is found before it, with its source."""
    text = scrape(lambda: [reading], lambda: [Reading(TRACES_PENDING, (), 7)])
    assert 'collector_success{collector="source0"} 0.0\n' in text
    assert "conduit_exporter_traces_pending 7.0\n" in text


def test_labels_that_become_alike_add_up() -> None:
    """One series is never written twice: counters and histograms add, gauges take the last."""
    one = HistogramValue.of(RUN_DURATION, {"0.5": 1}, total=Decimal("0.25"))
    two = HistogramValue.of(RUN_DURATION, {"0.5": 1, "1.0": 1}, total=1.0)
    shown = samples_of(
        scrape(
            lambda: [
                Reading(RUNS, (*AGENT, "failed", "a\x01"), 1),
                Reading(RUNS, (*AGENT, "failed", "a\x02"), 2),
                Reading(RUN_DURATION, (*AGENT, "a\x01"), one),
                Reading(RUN_DURATION, (*AGENT, "a\x02"), two),
                Reading(TRACES_PENDING, (), 1),
                Reading(TRACES_PENDING, (), 5),
            ]
        )
    )
    by_name = {name: value for (name, _), value in shown.items()}
    assert by_name["conduit_runs_total"] == 3
    assert by_name["conduit_run_duration_seconds_count"] == 3
    assert by_name["conduit_run_duration_seconds_sum"] == 1.25
    assert by_name["conduit_exporter_traces_pending"] == 5


def test_process_metrics_are_shown() -> None:
    """Memory and CPU of the process are part of the scrape."""
    registry, _ = new_registry()
    shown = samples_of(render(registry, "")[0].decode())
    assert shown["process_resident_memory_bytes", frozenset()] > 1_000_000


def test_broken_process_collector_is_guarded() -> None:
    """/proc that is not as expected costs the process metrics, not the scrape."""

    class Broken(Collector):
        def collect(self) -> list[Sample]:  # type: ignore[override]  # never comes to that
            raise UnboundLocalError("max_fds")

    collector = ReadingCollector(process=Broken())
    collector.add_source("outbox", lambda: [Reading(TRACES_PENDING, (), 7)])
    registry = CollectorRegistry()
    registry.register(collector)
    text = render(registry, "")[0].decode()
    assert "conduit_exporter_traces_pending 7.0\n" in text
    assert 'collector_success{collector="process"} 0.0\n' in text


def test_source_name_is_taken_once() -> None:
    """Two sources under one name could not be told apart."""
    _, collector = new_registry(process=False)
    collector.add_source("ledger", list)
    with pytest.raises(ValueError, match="ledger"):
        collector.add_source("ledger", list)


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS, OPENMETRICS),
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html, */*;q=0.8", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        (f"application/openmetrics-text;version=2.0.0,{OPENMETRICS};q=0.5", OPENMETRICS),
        ("application/openmetrics-text;q=0.1,text/plain;version=0.0.4;q=0.9", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=nan", TEXT),
        ("application/vnd.google.protobuf;q=1,text/plain;q=0.5", TEXT),
        (";;,,=;q", TEXT),
    ],
)
def test_format_follows_the_accept_header(accept: str, expected: str) -> None:
    """Highest quality wins, OpenMetrics 2.0 is never answered, doubt ends in the classic text."""
    assert content_type_for(accept) == expected
