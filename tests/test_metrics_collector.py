"""What a scrape shows: samples of all sources, in both formats, whatever a source does."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.core import Exemplar

from exporter.metrics.catalogue import (
    AGENT_INFO,
    CATALOGUE,
    RUN_COST,
    RUN_DURATION,
    TRACES_PENDING,
    Kind,
)
from exporter.metrics.collector import HistogramValue, Sample, Source, encoder_for
from tests.metrics_page import catalogue_to_markdown
from tests.metrics_support import (
    TRACE,
    make_metrics,
    one_sample_each,
    parse_openmetrics,
    parse_text,
    scrape,
)
from tests.real.prometheus import promtool

AGENT = ("ws_1", "ag_1")
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def shown_by(*sources: Source, accept: str = "") -> str:
    return scrape(make_metrics(*sources), accept)


def samples_of(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def test_openmetrics_is_parsed_back_whole() -> None:
    """The OpenMetrics text satisfies a strict parser and holds the same samples."""
    families = list(parse_openmetrics(shown_by(one_sample_each, accept=OPENMETRICS)))
    shown = {sample.name for family in families for sample in family.samples}
    assert {one.name for one in CATALOGUE if one.kind is not Kind.HISTOGRAM} <= shown
    assert {f"{one.name}_bucket" for one in CATALOGUE if one.kind is Kind.HISTOGRAM} <= shown
    assert {family.type for family in families if family.name == "conduit_agent"} == {"info"}


def test_a_histogram_is_cumulative_and_adds_up() -> None:
    """Count and sum are those of the sample; a bound of an older version joins the next higher."""
    value = HistogramValue({"0.5": 2, "45.0": 3, "60.0": 1, "+Inf": 1}, 9000.5)
    shown = samples_of(shown_by(lambda: [Sample(RUN_DURATION, (*AGENT, "completed"), value)]))
    labels = {("workspace_id", "ws_1"), ("agent_id", "ag_1"), ("status", "completed")}
    name = RUN_DURATION.name
    assert {
        bound: shown[f"{name}_bucket", frozenset({*labels, ("le", bound)})]
        for bound in ("0.5", "30.0", "60.0", "7200.0", "+Inf")
    } == {"0.5": 2, "30.0": 2, "60.0": 6, "7200.0": 6, "+Inf": 7}
    assert shown[f"{name}_count", frozenset(labels)] == 7
    assert shown[f"{name}_sum", frozenset(labels)] == 9000.5


def test_exemplars_are_in_openmetrics_alone() -> None:
    """A delivered trace is the exemplar of its bucket; the classic text knows none."""
    exemplar = Exemplar({"trace_id": TRACE}, 25.0, 1_775_185_455.5)
    value = HistogramValue({"30.0": 2}, 45, [exemplar])

    def source() -> list[Sample]:
        return [Sample(RUN_DURATION, (*AGENT, "completed"), value)]

    assert TRACE not in shown_by(source)
    found = [
        sample.exemplar
        for family in parse_openmetrics(shown_by(source, accept=OPENMETRICS))
        for sample in family.samples
        if sample.exemplar
    ]
    assert [(one.labels, one.value) for one in found] == [({"trace_id": TRACE}, 25.0)]
    assert float(found[0].timestamp or 0) == pytest.approx(1_775_185_455.5)


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_a_hostile_label_is_escaped(accept: str) -> None:
    """Quotes, backslashes, newlines and markup in a name break neither format."""
    name = 'evil"} 1\nup{x="\\ <b>\ud800'
    text = shown_by(lambda: [Sample(AGENT_INFO, (*AGENT, name), 1)], accept=accept)
    parse = parse_openmetrics if accept else parse_text
    [info] = [
        sample
        for family in parse(text)
        for sample in family.samples
        if sample.name == AGENT_INFO.name
    ]
    shown = info.labels["agent_name"]
    assert shown.startswith('evil"} 1\ufffdup{x="\\ \u2039b\u203a\ufffd\u2026')


def broken() -> Iterable[Sample]:
    """A source that fails after it has said something."""
    yield Sample(RUN_COST, AGENT, 1)
    raise RuntimeError("no totals")


def test_a_failing_source_takes_nothing_else_down(caplog: pytest.LogCaptureFixture) -> None:
    """Its series are absent as a whole, it is named, and it is logged once until it recovers."""
    caplog.set_level(logging.INFO)
    fails = iter([True, True, False, True])
    metrics = make_metrics(
        lambda: broken() if next(fails) else (), lambda: [Sample(TRACES_PENDING, (), 7)]
    )
    for _ in range(4):
        shown = samples_of(scrape(metrics))
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO", "ERROR"]
    assert "no totals" in caplog.text
    assert shown["conduit_exporter_traces_pending", frozenset()] == 7
    success = "conduit_exporter_collector_success"
    assert shown[success, frozenset({("collector", "source0")})] == 0
    assert shown[success, frozenset({("collector", "source1")})] == 1
    assert not [name for name, _ in shown if name == RUN_COST.name]


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0; "),
        (f"application/openmetrics-text;version=2.0.0,{OPENMETRICS}", "application/openmetrics"),
        ("application/openmetrics-text;version=2.0.0", "text/plain; version=0.0.4; "),
        ("", "text/plain; version=0.0.4; "),
        (";;,,=;q", "text/plain; version=0.0.4; "),
    ],
)
def test_the_format_follows_the_accept_header(accept: str, expected: str) -> None:
    """OpenMetrics 2.0 is never answered, and doubt ends in the classic text."""
    encode, content_type = encoder_for(accept)
    assert content_type.startswith(expected)
    assert encode(make_metrics().snapshot()).endswith(b"# EOF\n") == content_type.startswith(
        "application/openmetrics"
    )


def test_names_labels_and_buckets_are_those_of_the_page() -> None:
    """docs/METRICS.md is the contract with dashboards; `python -m tests.metrics_page` writes it."""
    page = Path(__file__).parent.parent / "docs" / "METRICS.md"
    assert catalogue_to_markdown() == page.read_text(encoding="utf-8")


@pytest.mark.real
def test_promtool_finds_no_fault_with_any_metric() -> None:
    """Names, types and help of a scrape with every metric pass `promtool check metrics`."""
    checked = promtool("check", "metrics", stdin=scrape(make_metrics(one_sample_each)))
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
