"""The commands that look back, and the settings that save requests, on simulated accounts."""

import random
from pathlib import Path

import pytest

from exporter.app.reconcile import reconcile
from exporter.app.replay import replay
from exporter.app.single import PassProgress, complete_pass
from exporter.convert.ids import trace_id_of
from exporter.delivery.outcome import Unavailable
from exporter.simulator.answers import Endpoint
from exporter.ledger import families
from exporter.sync.comparison import Difference
from exporter.sync.roster import BackfillRange, Scope
from tests.simulation.scenarios import (
    HOUR_S,
    ONE_WORKSPACE,
    agents,
    assert_exact,
    trace_ids,
)
from tests.simulation.world import World

SETTINGS = {"CONDUIT_REQUESTS_PER_MINUTE": "118", "EXPORTER_LOOKBACK": "1h"}


def world_of(folder: Path, *, per_hour: float = 30, history_s: float = 20 * HOUR_S) -> World:
    """Two agents with a history that is far longer than the look-back."""
    return World(
        folder,
        scenario=agents(2, per_hour=per_hour, history_s=history_s),
        token="token",
        settings=SETTINGS,
    )


def backfill_of(world: World, *, hours: float, until_hours: float | None = None) -> Scope:
    """What `backfill` reads, from so many hours ago on."""
    now_ns = world.clock.now_ns()
    until_ns = None if until_hours is None else now_ns - round(until_hours * HOUR_S * 1e9)
    return Scope(
        agents=None,
        lookback_s=HOUR_S,
        scans=False,
        backfill=BackfillRange(since_ns=now_ns - round(hours * HOUR_S * 1e9), until_ns=until_ns),
    )


async def _ten_minutes(world: World) -> None:
    await world.sleep(600)
    await settle_lookback(world)


async def settle_lookback(world: World) -> None:
    """Let time pass until nothing that was counted waits."""
    for _ in range(200):
        assert world.exporter is not None
        waiting = sum(
            agent.awaiting_total
            for workspace in world.exporter.workspaces().values()
            for agent in workspace.agents.values()
        )
        if not waiting and not world.exporter.ledger.outbox_state.pending:
            return
        await world.sleep(30)


def test_a_backfill_traces_what_is_older_and_counts_none_of_it(tmp_path: Path) -> None:
    """Everything since then is visible, the counters stand still, and no detail comes twice."""
    world = world_of(tmp_path)
    world.run(_ten_minutes)
    counted = world.sums()[families.RUNS]
    seen: list[PassProgress] = []

    scope = backfill_of(world, hours=12)
    assert scope.backfill is not None
    wanted = trace_ids(world, created_from_ns=scope.backfill.since_ns)
    code = world.run_alone(
        lambda exporter: complete_pass(exporter, show=seen.append), scope=scope, once=True
    )

    assert code == 0
    assert wanted <= world.backend.traces
    assert world.sums()[families.RUNS] == counted
    assert world.sums()[families.TRACES_DELIVERED] == len(world.backend.traces)
    assert world.conduit.asked.fetched_twice == {}
    older = trace_ids(world) - trace_ids(world, created_from_ns=scope.backfill.since_ns)
    assert not older & world.backend.traces
    assert seen[-1].left == 0
    assert max(one.left for one in seen) > 100


def test_a_backfill_that_is_broken_off_goes_on_where_it_was(tmp_path: Path) -> None:
    """The same call asks for no detail twice, and the daemon finishes it after everything else."""
    world = world_of(tmp_path)
    world.run(_ten_minutes)
    scope = backfill_of(world, hours=12)

    for _ in range(3):
        world.run_alone(lambda exporter: _for(world, exporter, 60), scope=scope, once=True)
    asked = world.conduit.asked.total

    async def finished(_: World) -> None:
        await world.sleep(60)
        # What ended while no exporter ran is counted late, and by now it is.
        world.count_delays.clear()
        await world.sleep(600)
        await settle_lookback(world)

    world.run(finished)
    assert scope.backfill is not None
    assert trace_ids(world, created_from_ns=scope.backfill.since_ns) <= world.backend.traces
    # What was under way when it was broken off is asked for again, and nothing else.
    assert len(world.conduit.asked.fetched_twice) <= 3 * 8
    assert world.conduit.asked.total - asked < 2 * len(world.backend.traces)
    assert world.count_delays
    assert max(world.count_delays) < 60


async def _for(world: World, exporter: object, seconds: float) -> None:
    """Break a pass off after so many seconds, as Ctrl-C does."""
    assert world.exporter is exporter
    assert world.exporter is not None
    world.loop.call_later(seconds, world.exporter.sync.stop)
    await complete_pass(world.exporter)


def test_a_backfill_on_a_ledger_of_its_own_ends_where_it_is_told(tmp_path: Path) -> None:
    """Beside a daemon: a range of its own, no counter, the same bytes."""
    world = world_of(tmp_path)
    scope = backfill_of(world, hours=15, until_hours=10)

    assert world.run_alone(complete_pass, scope=scope, once=True) == 0

    assert scope.backfill is not None
    assert scope.backfill.until_ns is not None
    wanted = trace_ids(world, created_from_ns=scope.backfill.since_ns) - trace_ids(
        world, created_from_ns=scope.backfill.until_ns
    )
    assert world.backend.traces == wanted
    assert world.sums().get(families.RUNS, 0) == 0


def test_reconcile_finds_and_repairs_what_the_ledger_lacks(tmp_path: Path) -> None:
    """A dry run only says so; the repair counts and traces; a second one finds nothing."""
    world = world_of(tmp_path, history_s=HOUR_S / 2)
    world.run(_ten_minutes)
    since_ns = world.clock.now_ns() - round(HOUR_S * 1e9)
    hidden = _place_late(world, count=3)
    counted = world.sums()[families.RUNS]

    _, dry = _reconciled(world, since_ns, repair=False)
    assert sum(len(one.missing) for one in dry) >= len(hidden)
    assert set(hidden) <= {run_id for one in dry for run_id in one.missing}
    assert world.sums()[families.RUNS] == counted

    code, found = _reconciled(world, since_ns, repair=True)
    assert code == 0
    assert [one.trouble for one in found] == [None, None]
    assert_exact(world)

    _, again = _reconciled(world, since_ns, repair=True)
    assert not set(hidden) & {run_id for one in again for run_id in one.missing}


def test_reconcile_reports_what_is_listed_no_more(tmp_path: Path) -> None:
    """A run that Conduit deleted stays counted, and is told."""
    world = world_of(tmp_path, history_s=HOUR_S / 2)
    world.run(_ten_minutes)
    since_ns = world.clock.now_ns() - round(HOUR_S * 1e9)
    deleted = next(iter(world.conduit.data.truth().run_ids))
    world.conduit.data.delete_run(deleted)

    _, found = _reconciled(world, since_ns, repair=False)

    assert sum(one.unshown for one in found) == 1


def _reconciled(world: World, since_ns: int, *, repair: bool) -> tuple[int, list[Difference]]:
    """What `reconcile` does."""
    return world.run_alone(
        lambda exporter: reconcile(exporter, since_ns=since_ns, repair=repair),
        scope=Scope(agents=None, lookback_s=HOUR_S, scans=False),
        once=True,
    )


def _place_late(world: World, *, count: int) -> list[str]:
    """Runs that were created long before they are listed for the first time."""
    placed = []
    all_agents = list(world.conduit.data.agents)
    for number in range(count):
        agent_id = all_agents[number % len(all_agents)]
        like = world.conduit.data.run(world.conduit.data.run_ids(agent_id)[-5 - number])
        run_id = f"ar77late{number:024d}"
        world.conduit.data.add_run(
            like._replace(id=run_id, trace_id=None, created_ns=like.created_ns + 1)
        )
        placed.append(run_id)
    return placed


def test_replay_brings_back_what_a_backend_lost_without_a_request(tmp_path: Path) -> None:
    """Every trace, its bytes unchanged, and no counter moves."""
    world = world_of(tmp_path, history_s=HOUR_S / 2)
    world.run(_ten_minutes)
    sent, asked, sums = dict(world.backend.spans), world.conduit.asked.total, world.sums()
    world.backend.spans.clear()
    seen: list[PassProgress] = []

    report = world.run_alone(
        lambda exporter: replay(
            exporter.gate,
            sender=world.backend,
            clock=world.clock,
            rng=random.Random(1),
            since_ns=world.clock.now_ns() - round(HOUR_S * 1e9),
            show=seen.append,
        )
    )

    assert world.backend.spans == sent
    assert report.found == report.delivered == len(world.backend.traces)
    assert world.conduit.asked.total == asked
    assert world.sums() == sums
    assert seen[-1] == PassProgress(done=report.found, left=0, reading_lists=False)


def test_replay_leaves_out_what_was_delivered_before(tmp_path: Path) -> None:
    """Since when is the time of the acknowledgement: that is what a backend lost."""
    world = world_of(tmp_path, history_s=HOUR_S / 2)
    world.run(_ten_minutes)

    report = world.run_alone(
        lambda exporter: replay(
            exporter.gate,
            sender=world.backend,
            clock=world.clock,
            rng=random.Random(1),
            since_ns=world.clock.now_ns(),
            show=lambda _: None,
        )
    )

    assert report.found == 0


def test_once_reads_a_large_account_within_a_hundredth_of_its_runs(tmp_path: Path) -> None:
    """Three thousand runs: their details, and a page for each hundred."""
    world = World(
        tmp_path,
        scenario=agents(2, per_hour=150, history_s=10 * HOUR_S),
        token="token",
        settings={"CONDUIT_REQUESTS_PER_MINUTE": "6000"},
        limit=10_000,
    )

    assert world.run_alone(complete_pass, once=True) == 0

    traced = len(world.backend.traces)
    assert traced > 2900
    assert world.conduit.asked.total <= 1.02 * traced
    assert world.conduit.asked.fetched_twice == {}


@pytest.mark.parametrize("detail", ["full", "summary"])
def test_sampling_and_summaries_save_the_details(tmp_path: Path, detail: str) -> None:
    """All runs are counted; a sampled run costs one request, a summary costs none."""
    world = World(
        tmp_path,
        scenario=agents(2, per_hour=120, history_s=HOUR_S),
        token="token",
        settings={
            "EXPORTER_TRACE_SAMPLE_RATIO": "0.1" if detail == "full" else "1.0",
            "EXPORTER_TRACE_DETAIL": detail,
        },
    )

    async def script(_: World) -> None:
        await world.sleep(HOUR_S)
        for _second in range(60):
            if world.sums()[families.RUNS] == len(world.conduit.data.truth().run_ids):
                break
            await world.sleep(5)
        await settle_lookback(world)

    world.run(script)
    runs = world.sums()[families.RUNS]
    details = world.conduit.asked.answers[Endpoint.RUN, 200]
    if detail == "summary":
        assert details == 0
        assert len(world.backend.traces) >= runs - 2
        assert len(world.backend.spans) == len(world.backend.traces)
    else:
        # A tenth by the trace id, and every tenth run is escalated, which is always kept.
        assert 0.13 * runs < details < 0.27 * runs
        assert details == len(world.backend.traces)


def test_the_runs_of_the_simulation_have_ids_of_their_own(tmp_path: Path) -> None:
    """The sets compared here have as many members as there are runs."""
    world = world_of(tmp_path)
    truth = world.conduit.data.truth()

    assert len(trace_ids(world)) == len(truth.run_ids)
    assert trace_id_of(raw=None, workspace_id=ONE_WORKSPACE, run_id="x") not in trace_ids(world)


def test_once_gives_up_where_the_outbox_is_full_and_nothing_leaves_it(tmp_path: Path) -> None:
    """A dead backend ends the pass with 1; what is in the ledger goes out with the next one."""
    world = World(
        tmp_path,
        scenario=agents(1, per_hour=700, history_s=6 * HOUR_S),
        token="token",
        settings={"CONDUIT_REQUESTS_PER_MINUTE": "6000", "EXPORTER_OUTBOX_LIMIT": "1MiB"},
        limit=10_000,
    )
    dead = True
    world.backend.before.append(
        lambda _: Unavailable("connection refused", answered=False) if dead else None
    )

    assert world.run_alone(complete_pass, once=True) == 1
    assert world.exporter is not None
    fetched = world.conduit.asked.answers[Endpoint.RUN, 200]
    assert 0 < fetched < world.sums()[families.RUNS]

    dead = False
    wanted = trace_ids(world)
    assert world.run_alone(complete_pass, once=True) == 0
    assert wanted <= world.backend.traces
    assert world.conduit.asked.fetched_twice == {}
