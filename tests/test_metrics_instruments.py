"""Counters and histograms of the process's life, as a scrape shows them."""

from exporter.delivery.outcome import Unavailable
from exporter.metrics.catalogue import CODES, ENDPOINTS, OUTCOMES, PURPOSES
from exporter.metrics.collector import Metrics
from exporter.metrics.instruments import Instruments
from exporter.simulator.conduit import Endpoint
from exporter.simulator.hotel import DEMO_TOKEN, hospitality
from tests.metrics_support import parse_text, scrape
from tests.simulation import faults
from tests.simulation.promises import counted, total
from tests.simulation.scenarios import MINUTE_S
from tests.simulation.world import World

OURS = "conduit_exporter_"


def test_known_label_values_start_at_zero() -> None:
    """A first failed request, 429 or refusal is an increase from zero that a rule can see."""
    metrics = Metrics()
    Instruments(registry=metrics.registry).expect_workspace("ws_1")
    shown = [sample for family in parse_text(scrape(metrics)) for sample in family.samples]
    for name, series in (
        ("api_requests_total", len(ENDPOINTS) * len(CODES)),
        ("budget_requests_total", len(PURPOSES)),
        ("delivery_attempts_total", len(OUTCOMES)),
        ("label_overflow_total", 2),
        ("api_rate_limited_total", 1),
    ):
        assert [one.value for one in shown if one.name == OURS + name] == [0.0] * series


def test_what_happens_is_counted() -> None:
    """Requests and what they were for, 429s, deliveries, delays and overflows, each its own."""
    world = World(
        scenario=lambda start_ns: hospitality(seed=1, start_ns=start_ns, rate=0.3),
        token=DEMO_TOKEN,
        settings={"EXPORTER_MAX_LABEL_VALUES": "1"},
    )
    world.conduit.faults.place(faults.rate_limited(), when=faults.to(Endpoint.RUNS), times=2)
    answers = [Unavailable("503")]
    world.backend.before.append(lambda _: answers.pop() if answers else None)
    world.run_for(10 * MINUTE_S)

    requests = counted(world, f"{OURS}api_requests_total", "endpoint", "code")
    assert requests["runs", "429"] == total(world, f"{OURS}api_rate_limited_total") == 2
    assert sum(requests.values()) == world.conduit.asked.total
    timed = counted(world, f"{OURS}api_request_duration_seconds_count", "endpoint")
    assert timed["run",] == requests["run", "200"]
    purposes = counted(world, f"{OURS}budget_requests_total", "purpose")
    assert purposes["detail",] == requests["run", "200"]
    assert counted(world, f"{OURS}delivery_attempts_total", "outcome")["retry",] == 1
    for delay, of in (
        ("count_delay_seconds", "conduit_runs_total"),
        ("trace_delay_seconds", f"{OURS}traces_delivered_total"),
    ):
        # Runs of the look-back were not waited for.
        assert 10 < total(world, f"{OURS}{delay}_count") < total(world, of)
    assert counted(world, f"{OURS}label_overflow_total", "label")["tool",] > 0
