"""What /metrics, readiness and the status page say while the exporter works, against the truth."""

import math
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.app.views import readiness, status
from exporter.simulator import faults
from exporter.simulator.scenario import DEMO_TOKEN, hospitality
from exporter.metrics.catalogue import BY_NAME
from exporter.metrics.exposition import OPENMETRICS, render
from tests.simulation.scenarios import HOUR_S, ONE_WORKSPACE, agents, settle
from tests.simulation.world import World

Sampled = tuple[str, dict[str, str], float]


def scraped(world: World, accept: str = "text/plain") -> Iterator[Sampled]:
    """Every sample of a scrape: its name, labels and value."""
    assert world.exporter is not None
    body, _ = render(world.exporter.registry, accept)
    parse: Any = parse_openmetrics if accept != "text/plain" else parse_text
    for family in parse(body.decode()):
        for sample in family.samples:
            yield sample.name, dict(sample.labels), sample.value


def summed(world: World, name: str, *by: str) -> Counter[tuple[str, ...]]:
    """The samples of a name, added up by these labels."""
    found: Counter[tuple[str, ...]] = Counter()
    for sample, labels, value in scraped(world):
        if sample == name:
            found[tuple(labels[label] for label in by)] += value  # type: ignore[assignment]  # floats count too
    return found


def test_the_counters_are_the_sums_over_the_api(tmp_path: Path) -> None:
    """Runs by status and disposition, tokens, cost, unpriced, durations and tools, to the digit."""
    world = World(
        tmp_path,
        scenario=lambda start_ns: hospitality(seed=1, start_ns=start_ns, history_s=900, rate=0.3),
        token=DEMO_TOKEN,
    )

    async def script(_: World) -> None:
        await world.sleep(HOUR_S / 2)
        await settle(world)
        truth = world.conduit.data.truth(with_tools=True)
        runs = summed(world, "conduit_runs_total", "agent_id", "status", "disposition")
        assert {key: value for key, value in runs.items() if value} == {
            (agent, state, disposition or "none"): count
            for (agent, state, disposition), count in truth.runs.items()
        }
        tokens = summed(world, "conduit_run_tokens_total", "token_type")
        assert tokens["input",] == sum(truth.input_tokens.values())
        assert tokens["output",] == sum(truth.output_tokens.values())
        cost = summed(world, "conduit_run_cost_usd_total")[()]
        assert math.isclose(cost, sum(truth.cost_usd.values(), Decimal()), rel_tol=1e-12)
        assert summed(world, "conduit_runs_unpriced_total")[()] == sum(truth.unpriced.values())
        assert summed(world, "conduit_tool_calls_total")[()] == sum(truth.tool_calls.values())
        assert summed(world, "conduit_tool_call_errors_total")[()] == sum(
            truth.tool_errors.values()
        )
        delivered = summed(world, "conduit_exporter_traces_delivered_total")[()]
        assert delivered == len(truth.run_ids)

    world.run(script)


def test_every_metric_of_the_catalogue_is_served_and_no_other(tmp_path: Path) -> None:
    """In both formats the same names; what is absent is absent for a reason."""
    world = World(tmp_path, scenario=agents(2, per_hour=240), token="token")
    absent = {
        "conduit_exporter_web_config_last_reload_successful",  # no web config file
        "conduit_exporter_runs_quarantined_total",  # nothing was unreadable
        "conduit_exporter_oldest_pending_trace_timestamp_seconds",  # nothing waits
        "conduit_oldest_in_flight_run_timestamp_seconds",  # nothing is in flight
        "conduit_tool_calls_total",  # no run called a tool
        "conduit_tool_call_errors_total",
    }

    async def script(_: World) -> None:
        await world.sleep(HOUR_S / 4)
        for accept in ("text/plain", OPENMETRICS):
            served = {_family(name) for name, _, _ in scraped(world, accept)}
            ours = {name for name in served if name.startswith("conduit_")}
            assert ours <= set(BY_NAME)
            assert set(BY_NAME) - ours <= absent

    world.run(script)


def _family(sample: str) -> str:
    for suffix in ("_bucket", "_count", "_sum"):
        if sample.removesuffix(suffix) in BY_NAME:
            return sample.removesuffix(suffix)
    return sample


def test_series_of_an_agent_appear_once_its_first_scan_is_complete(tmp_path: Path) -> None:
    """A first start does not look like a spike; readiness says what is still to be read."""
    world = World(
        tmp_path,
        scenario=agents(1, per_hour=100, history_s=10 * HOUR_S),
        token="token",
        settings={"CONDUIT_REQUESTS_PER_MINUTE": "6"},
    )

    async def script(_: World) -> None:
        assert world.exporter is not None
        assert readiness(world.exporter).reasons == ("The workspaces are not known yet",)
        await world.sleep(40)
        assert summed(world, "conduit_runs_total") == {}
        (reason,) = readiness(world.exporter).reasons
        assert reason == (
            f"The first scan of 1 of 1 agents of workspace {ONE_WORKSPACE} is not complete"
        )
        await world.sleep(600)
        assert readiness(world.exporter).ready
        assert summed(world, "conduit_runs_total")[()] > 900
        # Known statuses and dispositions exist from the start, at zero.
        runs = summed(world, "conduit_runs_total", "status", "disposition")
        assert runs["failed", "no_op"] == 0
        assert ("completed", "proactive") in runs

    world.run(script)


def test_an_outage_shows_in_up_readiness_and_on_the_page(tmp_path: Path) -> None:
    """Conduit answers 503 and then the ledger's disk is full: each is said where one looks."""
    world = World(tmp_path, scenario=agents(2, per_hour=120), token="token")
    full = False
    world.disk.before.append(lambda _: full)

    async def script(_: World) -> None:
        nonlocal full
        assert world.exporter is not None
        await world.sleep(120)
        assert summed(world, "conduit_up", "workspace_id") == {(ONE_WORKSPACE,): 1}
        assert status(world.exporter).workspaces[0].up is True
        world.conduit.faults.place(faults.refused(503), when=lambda _: True)
        await world.sleep(120)
        assert summed(world, "conduit_up", "workspace_id") == {(ONE_WORKSPACE,): 0}
        view = status(world.exporter)
        assert view.workspaces[0].up is False
        assert "503" in (view.workspaces[0].problem or "")
        world.conduit.faults.clear()
        await world.sleep(120)
        full = True
        await world.sleep(60)
        view = status(world.exporter)
        assert not view.readiness.ready
        assert "no space left on device" in view.readiness.reasons[0]
        assert "no space left on device" in (view.ledger.problem or "")
        full = False
        await world.sleep(60)
        view = status(world.exporter)
        assert view.readiness.ready
        assert view.ledger.problem is None
        assert view.delivery.traces_delivered == len(world.backend.traces)
        assert view.workspaces[0].agents[0].runs_counted > 0

    world.run(script)


def test_live_gauges_tell_what_is_going_on(tmp_path: Path) -> None:
    """In flight and since when, polls, the budget, and exemplars of delivered traces."""
    world = World(
        tmp_path,
        scenario=agents(1, per_hour=240, duration_s=(60.0, 120.0, 300.0)),
        token="token",
    )

    async def script(_: World) -> None:
        await world.sleep(HOUR_S / 2)
        now_s = world.clock.now_ns() / 1e9
        in_flight: Any = summed(world, "conduit_runs_in_flight", "status")
        assert in_flight["running",] > 0
        (oldest,) = summed(world, "conduit_oldest_in_flight_run_timestamp_seconds").values()
        assert now_s - 330 < oldest < now_s
        (polled,) = summed(world, "conduit_exporter_last_poll_success_timestamp_seconds").values()
        assert now_s - 16 < polled <= now_s
        (last,) = summed(world, "conduit_last_run_timestamp_seconds").values()
        assert now_s - 60 < last <= now_s
        assert summed(world, "conduit_exporter_api_budget_requests_per_minute")[()] == 90
        assert world.exporter is not None
        body = render(world.exporter.registry, OPENMETRICS)[0]
        families: Any = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]  # no hints
        shown = {
            sample.exemplar.labels["trace_id"]
            for family in families
            for sample in family.samples
            if sample.exemplar is not None
        }
        assert shown
        assert {bytes.fromhex(one) for one in shown} <= world.backend.traces

    world.run(script)
