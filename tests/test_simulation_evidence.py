"""What Conduit says of one thing is never taken for evidence against another."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import pytest

from exporter.app.assembly import Exporter
from exporter.app.single import reconcile
from exporter.delivery.outcome import Unavailable
from exporter.errors import ExporterError, LedgerRefused
from exporter.ledger.traces import TraceTables
from exporter.simulator.conduit import (
    Endpoint,
    SimRequest,
    SimResponse,
    error_response,
)
from exporter.simulator.runs import json_time
from tests.simulation import faults
from tests.simulation.faults import Truthful
from tests.simulation.promises import (
    assert_asked_seldom,
    assert_exact,
    assert_no_detail_twice,
    settle,
    total,
    truth_of,
    unfinished,
)
from tests.simulation.scenarios import (
    DAY_S,
    HOUR_S,
    LARGE_TRACES,
    METRICS_ALONE,
    MINUTE_S,
    agent_id,
    agents,
    workspace_id,
)
from tests.simulation.world import World, simulated


def test_a_backlog_of_details_outlives_a_change_of_sampling() -> None:
    """What was wanted before the restart is traced after it, and asked for once."""
    world = World(scenario=agents(1, per_hour=60, history_s=HOUR_S))
    world.conduit.data.stop_arrivals()
    world.run_for(20)
    world.environ["EXPORTER_TRACE_SAMPLE_RATIO"] = "0.0"
    world.run(lambda _: settle(world, within_s=3 * MINUTE_S))
    assert_no_detail_twice(world)


def _shown_as_running(request: SimRequest, truthful: Truthful) -> SimResponse:
    answer = truthful(request)
    body = answer.body
    for status in (b"completed", b"failed"):
        body = body.replace(b'"status":"%s"' % status, b'"status":"running"')
    return replace(answer, run=None, body=body)


@simulated(agents(1, per_hour=60, history_s=2 * HOUR_S))
async def test_runs_that_only_their_lists_show_as_ended_hold_up_no_other(world: World) -> None:
    """Forty of them are counted, asked for seldom, and all other details come."""
    world.conduit.data.stop_arrivals()
    odd = set(world.conduit.data.run_ids(agent_id())[-40:])
    world.conduit.faults.place(_shown_as_running, when=lambda request: request.run_id in odd)

    await settle(world, untraced=odd)
    await world.sleep(2 * HOUR_S)
    assert_exact(world, untraced=odd)
    assert max(world.conduit.asked.runs_asked[one] for one in odd) <= 8
    assert_no_detail_twice(world)


@pytest.mark.parametrize("status", [401, 429])
@simulated(
    agents(8, per_hour=60),
    latency_s=(6, 9),
    settings={"CONDUIT_REQUESTS_PER_MINUTE": "118", "EXPORTER_POLL_INTERVAL": "15s"},
)
async def test_refusals_that_were_under_way_together_are_one(world: World, status: int) -> None:
    """A dozen requests are out when the token is refused for ten seconds: the rest stays short."""
    await world.sleep(10 * MINUTE_S)
    fault = faults.refused(401) if status == 401 else faults.rate_limited(None)
    away = faults.between(world.clock.true_ns(), world.ns_in(10))
    world.conduit.faults.place(fault, when=away)
    await world.sleep(10 * MINUTE_S)
    assert world.requests.max_gap_s(faults.of_workspace(workspace_id())) < 30


def _broken_below(created_ns: int) -> faults.Fault:
    """Pages that begin with a run older than this answer 500."""
    shown = json.loads(json_time(created_ns))

    def fault(request: SimRequest, truthful: Truthful) -> SimResponse:
        answer = truthful(request)
        if answer.page is None or not answer.page.rows:
            return answer
        is_deep = json.loads(answer.page.rows[0])["created_at"] < shown
        return error_response(500, "Something went wrong") if is_deep else answer

    return fault


@simulated(agents(1, per_hour=240, history_s=4 * HOUR_S))
async def test_a_page_deep_in_the_look_back_that_stays_broken_holds_up_nothing_newer(
    world: World,
) -> None:
    """While the look-back rests, what an outage left to be read is read at once."""
    start_ns = world.clock.true_ns()
    deep = _broken_below(world.ns_in(-2 * HOUR_S))
    later = faults.both(faults.to(Endpoint.RUNS), faults.later_pages)
    away = faults.between(world.ns_in(20 * MINUTE_S), world.ns_in(HOUR_S))
    world.conduit.faults.place(faults.unreachable, when=away)
    world.conduit.faults.place(deep, when=later)

    await world.sleep(HOUR_S)
    world.conduit.data.stop_arrivals()
    await world.sleep(5 * MINUTE_S)
    new = world.conduit.data.truth(created_from_ns=start_ns).run_ids
    assert new <= world.backend.traced


@pytest.mark.parametrize("status", [400, 500])
@simulated(agents(1, per_hour=240, duration_s=(60.0, 600.0, 3600.0)))
async def test_pages_of_one_status_that_cannot_be_had_hold_up_no_head(
    world: World, status: int
) -> None:
    """Runs in flight are asked for by name instead; heads keep their pace."""
    world.conduit.faults.place(
        faults.refused(status), when=lambda request: "status" in request.query
    )
    start_ns = world.ns_in(10 * MINUTE_S)
    await world.sleep(1.5 * HOUR_S)
    heads = [one.request.now_ns for one in world.requests.of(purpose="head", since_ns=start_ns)]
    assert max(after - before for before, after in pairwise(heads)) < 75 * 10**9


@simulated(agents(1, per_hour=60))
async def test_runs_in_flight_at_the_very_moment_that_a_page_ends_with_are_settled(
    world: World,
) -> None:
    """A hundred and twenty runs share it, two are in flight, and the list stands still."""
    data = world.conduit.data

    await world.sleep(5 * MINUTE_S)
    data.stop_arrivals()
    moment_ns = world.clock.true_ns()
    like = data.run(data.run_ids(agent_id())[0])._replace(trace_id=None, created_ns=moment_ns)
    for number in range(120):
        run_id = f"ar77same{number:024d}"
        data.add_run(like._replace(id=run_id, completed_ns=moment_ns + 10**9))
    for run_id in ("ar770first", "ar77zlast"):
        data.add_run(like._replace(id=run_id, completed_ns=world.ns_in(HOUR_S)))
    await world.sleep(HOUR_S)
    await settle(world, within_s=20 * MINUTE_S)


def test_once_does_not_fail_for_a_run_that_goes_on() -> None:
    """A run in flight below the first page is no trouble."""
    world = World(scenario=agents(1, per_hour=60, history_s=4 * HOUR_S))
    data = world.conduit.data
    data.stop_arrivals()
    data.revise_run(data.run_ids(agent_id())[150], completed_ns=None)
    assert world.run_once() == 0


@simulated(
    agents(1, per_hour=60, history_s=10 * MINUTE_S), settings={"EXPORTER_POLL_INTERVAL": "15s"}
)
async def test_two_runs_that_stay_broken_in_a_quiet_account_are_asked_for_seldom(
    world: World,
) -> None:
    """No other get-run is answered meanwhile; the lists are."""
    broken = ["ar77x", "ar77y"]

    await world.sleep(5 * MINUTE_S)
    data = world.conduit.data
    data.stop_arrivals()
    await world.sleep(5 * MINUTE_S)
    for run_id in broken:
        world.conduit.faults.place(faults.refused(500), when=faults.of_run(run_id))
        now_ns = world.clock.true_ns()
        known = data.run(data.run_ids(agent_id())[0])
        data.add_run(
            known._replace(id=run_id, created_ns=now_ns, completed_ns=now_ns + 10**9, trace_id=None)
        )
    await world.sleep(6 * HOUR_S)
    for run_id in broken:
        assert world.conduit.asked.runs_asked[run_id] < 15
        assert_asked_seldom(world, faults.of_run(run_id))


@simulated(agents(2, per_hour=60), settings={"EXPORTER_LOOKBACK": "0s"})
async def test_an_agent_that_appears_later_is_counted_from_its_first_run_on(world: World) -> None:
    """Without a look-back its runs of the minutes before it is listed belong to it all the same."""
    late = world.conduit.data.agents.pop(agent_id(1))

    await world.sleep(5 * MINUTE_S)
    world.conduit.data.agents[agent_id(1)] = late
    await world.sleep(30 * MINUTE_S)
    new_ns = world.ns_in(-30 * MINUTE_S)
    world.conduit.data.stop_arrivals()
    await world.sleep(5 * MINUTE_S)
    assert world.conduit.data.truth(created_from_ns=new_ns).run_ids <= world.backend.traced


@pytest.mark.parametrize(
    ("when", "named"),
    [
        (faults.to(Endpoint.AGENTS), ""),
        (faults.to(Endpoint.AGENTS), workspace_id()),
        (faults.to(Endpoint.AGENTS, Endpoint.WORKSPACES), workspace_id()),
        (faults.always, ""),
    ],
    ids=["agents", "agents of a named workspace", "all lists above a named workspace", "all"],
)
def test_agents_that_are_first_listed_hours_after_the_start_are_counted_from_the_start_on(
    when: faults.When, named: str
) -> None:
    """The look-back reaches back from the first start, not from when the agents were listed."""
    world = World(
        scenario=agents(2, per_hour=30, history_s=HOUR_S), settings={"EXPORTER_LOOKBACK": "30m"}
    )
    if named:
        world.environ["CONDUIT_WORKSPACES"] = named
    world.conduit.faults.place(faults.refused(500), when=when)

    async def script(_: World) -> None:
        await world.sleep(3 * HOUR_S)
        world.conduit.faults.clear()
        await settle(world, within_s=1.5 * HOUR_S)

    world.run(script)


@simulated(
    agents(2, per_hour=60, history_s=2 * HOUR_S), settings={"CONDUIT_REQUESTS_PER_MINUTE": "30"}
)
async def test_details_of_an_agent_that_is_away_for_a_while_are_not_given_up(world: World) -> None:
    """Its runs answer 404 meanwhile; when it is back they are traced."""
    await world.sleep(2 * MINUTE_S)
    assert "not traced" in unfinished(world)
    world.conduit.data.delete_agent(agent_id())
    await world.sleep(30 * MINUTE_S)
    world.conduit.data.restore_agent(agent_id())
    await settle(world, within_s=2 * HOUR_S)


def test_an_old_run_that_is_asked_for_by_name_is_no_delay() -> None:
    """Nobody waited for it since it ended."""
    world = World(scenario=agents(1, per_hour=60, history_s=5 * HOUR_S))
    old = world.conduit.data.run_ids(agent_id())[-1]
    world.environ["CONDUIT_RUNS"] = f"{agent_id()}/{old}"
    world.run_for(2 * MINUTE_S)
    assert total(world, "conduit_runs_total") == 1
    assert total(world, "conduit_exporter_count_delay_seconds_sum") == 0
    assert total(world, "conduit_exporter_trace_delay_seconds_sum") == 0


@simulated(
    agents(1, per_hour=60, history_s=4 * HOUR_S),
    settings=LARGE_TRACES | {"EXPORTER_TRACE_DETAIL": "summary"},
)
async def test_traces_of_summaries_stop_at_the_outbox_limit(world: World) -> None:
    """Runs are counted on; what the outbox has no room for is traced when it has."""
    world.backend.before.append(lambda _: Unavailable("away"))

    await world.sleep(2 * MINUTE_S)
    assert 2**20 < total(world, "conduit_exporter_outbox_bytes") < 2.4 * 2**20
    assert total(world, "conduit_runs_total") >= len(truth_of(world).run_ids) - 2
    world.backend.before.clear()
    await settle(world, within_s=HOUR_S)


@simulated(agents(3, per_hour=60))
async def test_a_list_that_an_outage_leaves_broken_holds_up_no_other(world: World) -> None:
    """Probes of lists that were down go round: the broken one is not the only one asked."""
    await world.sleep(10 * MINUTE_S)
    outage = faults.between(world.clock.true_ns(), world.ns_in(HOUR_S))
    lists = faults.both(faults.to(Endpoint.RUNS), outage)
    world.conduit.faults.place(faults.refused(500), when=lists)
    world.conduit.faults.place(faults.refused(500), when=faults.of_list(agent_id()))
    await world.sleep(1.5 * HOUR_S)
    await settle(world, within_s=10 * MINUTE_S, without=[agent_id()])


@simulated(
    agents(4, per_hour=60, history_s=3 * HOUR_S),
    latency_s=(6, 9),
    settings={"CONDUIT_REQUESTS_PER_MINUTE": "118"},
)
async def test_lists_that_failed_for_a_minute_do_not_wait_for_the_details(world: World) -> None:
    """Answers that take seconds keep details under way all the time: no word on the lists."""
    end_ns = world.ns_in(2 * MINUTE_S)
    outage = faults.between(world.ns_in(MINUTE_S), end_ns)
    lists = faults.to(Endpoint.RUNS)
    world.conduit.faults.place(faults.refused(500), when=faults.both(lists, outage))

    await world.sleep(4 * MINUTE_S)
    assert "not traced" in unfinished(world)
    answered = [
        one.request.now_ns
        for one in world.requests.seen
        if lists(one.request) and one.status == 200 and one.request.now_ns >= end_ns
    ]
    assert len(answered) > 4
    assert answered[0] - end_ns < MINUTE_S * 1e9


def test_once_waits_for_room_in_the_outbox() -> None:
    """A backend that is slower than Conduit is no reason to leave traces behind."""
    world = World(
        scenario=agents(1, per_hour=60, history_s=3 * HOUR_S),
        settings=LARGE_TRACES | {"CONDUIT_REQUESTS_PER_MINUTE": "6000"},
        limit=10_000,
    )
    world.conduit.data.stop_arrivals()
    world.wait(10 * MINUTE_S)
    back_ns = world.ns_in(30)
    world.backend.before.append(
        lambda _: Unavailable("away") if world.clock.true_ns() < back_ns else None
    )
    assert world.run_once() == 0
    assert_exact(world)


def test_once_ends_where_delivery_finds_the_ledger_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for a disk that nothing will mend."""

    def damaged(*_: object, **__: object) -> None:
        raise LedgerRefused("The ledger is damaged")

    world = World(scenario=agents(1, per_hour=60, history_s=HOUR_S))
    monkeypatch.setattr(TraceTables, "due", damaged)
    with pytest.raises(LedgerRefused):
        world.run_once(within_s=10 * MINUTE_S)


def test_a_backfill_that_cannot_read_a_list_says_so() -> None:
    """The other agent's runs are traced, and the exit code is 1."""
    world = World(
        scenario=agents(2, per_hour=30, history_s=4 * HOUR_S),
        settings={"EXPORTER_LOOKBACK": "30m"},
    )
    world.run(lambda _: settle(world))
    world.conduit.faults.place(faults.refused(500), when=faults.of_list(agent_id()))
    assert world.run_backfill(since_s=3 * HOUR_S) == 1
    assert world.conduit.data.run_ids(agent_id(1))[50] in world.backend.traced


def test_reconcile_rests_as_long_as_a_429_asks() -> None:
    """Its list of agents is asked for again when the minute is over."""
    world = World(scenario=agents(1, per_hour=30, history_s=HOUR_S))
    world.run(lambda _: settle(world))
    before = len(world.requests.seen)
    agents_list = faults.to(Endpoint.AGENTS)
    world.conduit.faults.place(faults.rate_limited("60"), when=agents_list, times=1)
    assert world.run_reconcile(since_s=HOUR_S, repair=False) == (0, set())
    asked = [one.request for one in world.requests.seen[before:] if agents_list(one.request)]
    assert asked[1].now_ns - asked[0].now_ns >= 60 * 10**9


def test_a_reconcile_that_is_told_to_stop_says_that_it_is_not_complete() -> None:
    """It does not wait for the end of a rest, and is no success."""
    world = World(scenario=agents(1, per_hour=30, history_s=HOUR_S))
    world.run(lambda _: settle(world))
    world.conduit.faults.place(faults.rate_limited("600"), when=faults.to(Endpoint.RUNS))

    async def command(exporter: Exporter) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(MINUTE_S, stop.set)
        with pytest.raises(ExporterError, match="broken off"):
            await reconcile(exporter, since_ns=0, repair=True, stop=stop)

    world._run_command(command, within_s=2 * MINUTE_S)


@simulated(agents(2, per_hour=60, workspaces=2))
async def test_an_agent_that_has_moved_is_not_retired_by_one_answer(world: World) -> None:
    """That its old workspace lacks it says nothing about the new one."""
    here = faults.both(faults.to(Endpoint.AGENTS), faults.of_workspace(workspace_id(1)))

    await world.sleep(2 * MINUTE_S)
    world.conduit.data.move_agent(agent_id(), workspace_id(1))
    assert world.exporter is not None
    agents_here = world.exporter.workspaces()[workspace_id(1)].agents
    while agent_id() not in agents_here:
        await world.sleep(5)
    world.conduit.faults.place(faults.no_rows, when=here, times=1)
    for _minute in range(20):
        await world.sleep(MINUTE_S)
        assert agents_here[agent_id()].listed


@simulated(
    agents(1, per_hour=240, history_s=12 * HOUR_S),
    settings=METRICS_ALONE | {"CONDUIT_REQUESTS_PER_MINUTE": "12"},
)
async def test_an_agent_that_was_shown_with_what_is_known_stays_shown(world: World) -> None:
    """When its list can be read further after all, its series and readiness do not go away."""
    old = json.loads(json_time(world.ns_in(-2 * HOUR_S)))

    def expired(request: SimRequest, truthful: Truthful) -> SimResponse:
        answer = truthful(request)
        if answer.page is None or json.loads(answer.page.rows[0])["created_at"] > old:
            return answer
        return error_response(400, "The cursor has expired")

    world.conduit.faults.place(
        expired,
        when=faults.both(
            faults.to(Endpoint.RUNS), faults.later_pages, faults.between(0, world.ns_in(HOUR_S))
        ),
    )
    await world.sleep(10 * MINUTE_S)
    for _half_a_minute in range(200):
        assert world.ready()
        assert total(world, "conduit_runs_total")
        await world.sleep(30)
    assert total(world, "conduit_exporter_agents_unscanned") == 0


@pytest.mark.parametrize("days", [30, -30], ids=["ahead", "behind"])
@simulated(
    agents(1, per_hour=20, history_s=2 * HOUR_S),
    settings=METRICS_ALONE | {"EXPORTER_POLL_INTERVAL": "5m"},
)
async def test_dates_of_conduit_that_are_wrong_for_a_while_lose_nothing(
    world: World, days: int
) -> None:
    """A row that becomes visible hours later is counted within the day all the same."""
    start_ns, data = world.clock.true_ns(), world.conduit.data
    wrong = format_datetime(datetime.fromtimestamp(start_ns / 1e9 + days * DAY_S, UTC), usegmt=True)

    def misdated(request: SimRequest, truthful: Truthful) -> SimResponse:
        answer = truthful(request)
        return replace(answer, headers={**answer.headers, "date": wrong})

    world.conduit.faults.place(
        misdated, when=faults.between(world.ns_in(50 * MINUTE_S), world.ns_in(80 * MINUTE_S))
    )
    await world.sleep(3 * HOUR_S)
    like = data.run(data.run_ids(agent_id())[-1])
    data.add_run(like._replace(id="ar77late", trace_id=None))
    await world.sleep(DAY_S)
    data.stop_arrivals()
    await world.sleep(10 * MINUTE_S)
    assert total(world, "conduit_runs_total") == len(truth_of(world).run_ids)
