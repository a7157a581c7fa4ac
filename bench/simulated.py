"""What the request budget is spent on, in simulated time: exact, the same on every machine."""

from collections.abc import Iterator

from bench.table import Figure
from tests.simulation import measures


def measure_requests() -> Iterator[Figure]:
    """Requests of all kinds for each traced run, at a budget of 120."""
    for once in (False, True):
        yield Figure(
            what=f"requests a traced run, history of 1,200, {'once' if once else 'daemon'}",
            measured=measures.requests_a_traced_run(runs=1_200, once=once),
            bound=1.02,
        )
    yield Figure(
        what="requests a traced run, 100 runs a minute arriving",
        measured=measures.requests_an_arriving_run(runs_per_minute=100),
        bound=1.06,
    )


def measure_backlog() -> Iterator[Figure]:
    """The pace at which a backlog is traced, at a budget of 120."""
    for idle, bound in ((0, 115), (10, 106), (100, 75)):
        yield Figure(
            what=f"traces a minute, one agent with a backlog beside {idle} idle",
            measured=measures.traces_a_minute(idle=idle),
            bound=bound,
            kind=">=",
        )


def measure_delays() -> Iterator[Figure]:
    """How soon runs are counted, at a budget of 90 and polls of 15 s."""
    for idle, bound in ((0, 17), (90, 25)):
        delays = measures.count_delays_s(busy=10, idle=idle, minutes=10 if idle else 20)
        yield Figure(
            what=f"completed to counted, p95, 10 busy agents of {10 + idle}",
            measured=measures.percentile(delays, 0.95),
            unit="s",
            bound=bound,
        )
    yield Figure(
        what="first head scan of each of 100 agents",
        measured=measures.first_head_scans_s(count=100),
        unit="s",
        bound=120,
    )
    yield Figure(
        what="look-back of 100 agents of 150 runs, metrics alone",
        measured=measures.lookback_s(count=100, runs=150) / 60,
        unit="min",
        bound=10,
    )
    yield Figure(
        what="share of the budget for the head scans of 110 idle agents",
        measured=100 * measures.idle_share(idle=110),
        unit="%",
        bound=100 / 3,
    )
