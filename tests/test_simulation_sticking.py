"""Faults that stay for good hold up only what they are evidence against; all else goes on.

Each test is one row of what was once seen to stop an agent, a workspace or everything.
"""

from collections import Counter

import pytest

from exporter.simulator.conduit import Endpoint
from tests.simulation import faults
from tests.simulation.conduit import Disorder
from tests.simulation.faults import Fault
from tests.simulation.promises import (
    assert_asked_seldom,
    assert_exact,
    assert_no_detail_twice,
    assert_within_budget,
    counted,
    counted_of,
    settle,
    total,
    truth_of,
    unfinished,
)
from tests.simulation.scenarios import (
    DAY_S,
    HOUR_S,
    METRICS_ALONE,
    MINUTE_S,
    agent_id,
    agents,
    workspace_id,
)
from tests.simulation.world import World, simulated

BROKEN = {
    "500": faults.refused(500),
    "400": faults.refused(400),
    "403, which is no word on the token": faults.refused(403),
    "404": faults.refused(404),
    "hang": faults.hanging(),
    "malformed": faults.malformed(),
}
broken_somehow = pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
# For days in which little happens.
SLOW_POLLS = {"EXPORTER_POLL_INTERVAL": "5m"}
# An agent without news is polled four times as rarely.
MAX_GAP_S = 5 * MINUTE_S
# Of two runs a minute, those that have ended since the last poll or whose details are under way.
MAX_UNTRACED = 4
HEALTHY = {(workspace_id(),): 1.0}


def up(world: World) -> dict[tuple[str, ...], float]:
    """`conduit_up` where it is 1."""
    return counted(world, "conduit_up", "workspace_id")


# One run


@broken_somehow
def test_a_run_whose_detail_stays_broken_holds_up_no_other(fault: Fault) -> None:
    """It is counted all the same and asked for seldom; mended and after a restart it is traced."""
    world = World(scenario=agents(1, per_hour=70))
    broken = faults.FirstRun()

    async def script(_: World) -> None:
        await world.sleep(10 * MINUTE_S)
        world.conduit.faults.place(fault, when=broken)
        await world.sleep(HOUR_S)
        assert up(world) == HEALTHY
        await settle(world, untraced=[str(broken.run_id)])

    world.run(script)
    assert broken.run_id not in world.backend.traced
    assert_asked_seldom(world, broken)
    assert_no_detail_twice(world, but=[str(broken.run_id)])
    assert_within_budget(world)
    world.conduit.faults.clear()
    world.run(lambda _: settle(world, within_s=70 * MINUTE_S))


def test_a_detail_that_stays_broken_is_given_up_after_a_day() -> None:
    """From then on it is not asked for, over a restart as well."""
    world = World(scenario=agents(1, per_hour=70), settings=SLOW_POLLS)
    broken = faults.FirstRun()
    world.conduit.faults.place(faults.refused(500), when=broken)

    async def script(_: World) -> None:
        await world.sleep(10 * MINUTE_S)
        world.conduit.data.stop_arrivals()
        await world.sleep(DAY_S + 2 * HOUR_S)

    world.run(script)
    asked = world.conduit.asked.runs_asked[str(broken.run_id)]
    assert 10 < asked <= 40
    world.run_for(3 * HOUR_S)
    assert world.conduit.asked.runs_asked[str(broken.run_id)] == asked


@broken_somehow
def test_once_ends_and_does_the_rest_where_a_detail_stays_broken(fault: Fault) -> None:
    """One pass traces all others and fails with 1; the next one does not ask for them again."""
    world = World(scenario=agents(1, per_hour=70, history_s=HOUR_S))
    broken = world.conduit.data.run_ids(agent_id())[20]
    world.conduit.faults.place(fault, when=faults.of_run(broken))
    world.conduit.data.stop_arrivals()
    world.wait(5 * MINUTE_S)

    for _ in range(2):
        assert world.run_once(within_s=HOUR_S) == 1
        assert_exact(world, untraced=[broken])
    assert world.conduit.asked.runs_asked[broken] <= 40
    assert_no_detail_twice(world, but=[broken])


@simulated(agents(1, per_hour=240), settings=SLOW_POLLS)
async def test_a_run_whose_detail_is_gone_while_in_flight_is_counted_when_it_ends(
    world: World,
) -> None:
    """Off the first page its get-run answers 404; a list shows its end, and that counts."""
    data = world.conduit.data
    gone = faults.of_run("ar77gone")
    world.conduit.faults.place(faults.refused(404), when=gone)

    await world.sleep(10 * MINUTE_S)
    now_ns = world.clock.true_ns()
    run = data.run(data.run_ids(agent_id())[5])
    ends_ns = world.ns_in(HOUR_S)
    data.add_run(
        run._replace(id="ar77gone", created_ns=now_ns, running_ns=now_ns, completed_ns=ends_ns)
    )
    await world.sleep(1.5 * HOUR_S)
    await settle(world, untraced=["ar77gone"], within_s=1.5 * HOUR_S)
    assert_asked_seldom(world, gone)


# One cursor


@pytest.mark.parametrize(
    ("status", "restarted"), [(400, False), (400, True), (404, False), (410, False)]
)
def test_a_cursor_that_is_dead_lets_its_list_be_read_from_the_head(
    status: int, *, restarted: bool
) -> None:
    """The look-back is counted whole, and the dead cursor is seldom asked for."""
    world = World(scenario=agents(1, per_hour=50, history_s=6 * HOUR_S))
    dead = faults.first_cursor()
    world.conduit.faults.place(faults.refused(status), when=dead)

    if restarted:
        world.run_for(10)

    async def script(_: World) -> None:
        await world.sleep(5 * MINUTE_S)
        assert world.ready()
        await settle(world, within_s=20 * MINUTE_S)

    world.run(script)
    assert_asked_seldom(world, dead)
    assert_no_detail_twice(world)


def test_cursors_that_expired_while_no_exporter_ran_lose_nothing() -> None:
    """The cursor of an unfinished look-back lies in the ledger; hours later it answers 400."""
    world = World(
        scenario=agents(1, per_hour=35, history_s=9 * HOUR_S),
        settings={"CONDUIT_REQUESTS_PER_MINUTE": "20"},
        cursor_life_s=120,
    )
    world.run_for(15)
    world.wait(2 * HOUR_S)

    async def script(_: World) -> None:
        await world.sleep(HOUR_S)
        assert world.ready()
        await settle(world, within_s=3 * HOUR_S)

    world.run(script)
    assert world.requests.answers[Endpoint.RUNS, 400]


CIRCLES = {
    "dead": (faults.refused(400), 40, False),
    "leads to itself": (faults.cursor_to_itself, 80, False),
    "leads to itself, steady cursors": (faults.cursor_to_itself, 80, True),
    "A to B to A": (faults.cursor_circle(), 120, False),
    "A to B to A, steady cursors": (faults.cursor_circle(), 120, True),
    "back to B, ever new cursors": (faults.ever_new_cursors(), 40, False),
    "empty pages": (faults.empty_pages(1_000_000), 40 * 51, False),
}


@pytest.mark.parametrize(("fault", "max_pages", "steady"), CIRCLES.values(), ids=CIRCLES)
def test_a_list_whose_later_pages_stay_broken_goes_on_at_its_head(
    fault: Fault, max_pages: int, *, steady: bool
) -> None:
    """What its first page shows is counted and traced, soon and for hours; the rest is rested."""
    world = World(scenario=agents(2, per_hour=60, history_s=3 * HOUR_S), steady_cursors=steady)
    later = faults.both(faults.of_list(agent_id()), faults.later_pages)
    world.conduit.faults.place(
        fault, when=faults.of_list(agent_id()) if max_pages == 120 else later
    )
    start_ns = world.clock.true_ns()

    async def script(_: World) -> None:
        await world.sleep(HOUR_S)
        world.conduit.data.stop_arrivals()
        await world.sleep(10 * MINUTE_S)
        new = world.conduit.data.truth(created_from_ns=start_ns).run_ids
        assert new <= world.backend.traced
        assert counted_of(world, agent_id()) >= len(
            new & set(world.conduit.data.run_ids(agent_id()))
        )
        assert world.ready()
        assert up(world) == HEALTHY
        await settle(world, without=[agent_id()])

    world.run(script)
    assert world.requests.max_in_a_day(later) <= max_pages
    assert_no_detail_twice(world)


@simulated(agents(1, per_hour=70, history_s=3 * HOUR_S))
async def test_fifty_empty_pages_before_the_next_row_lose_nothing(world: World) -> None:
    """A cursor that leads on through empty pages is followed, or its list read otherwise."""
    world.conduit.faults.place(faults.empty_pages(40), when=faults.later_pages)
    await settle(world, within_s=30 * MINUTE_S)


# One list, one agent, one workspace


@broken_somehow
@simulated(agents(2, per_hour=60, history_s=HOUR_S))
async def test_an_agent_whose_list_stays_broken_holds_up_no_other(
    world: World, fault: Fault
) -> None:
    """The others are counted and traced, and it catches up once it is mended."""
    broken = faults.of_list(agent_id())

    await world.sleep(10 * MINUTE_S)
    world.conduit.faults.place(fault, when=broken)
    broken_from_ns = world.clock.true_ns()
    await world.sleep(HOUR_S)
    assert up(world) == HEALTHY
    await settle(world, without=[agent_id()])
    asked = [one for one in world.requests.of(since_ns=broken_from_ns) if broken(one.request)]
    assert len(asked) <= 40
    world.conduit.faults.clear()
    await settle(world, within_s=70 * MINUTE_S)
    assert_no_detail_twice(world)


@pytest.mark.parametrize("status", [403, 500])
@simulated(agents(2, per_hour=60, workspaces=2))
async def test_a_workspace_that_stays_broken_holds_up_no_other(world: World, status: int) -> None:
    """The token's other workspace is read as without it."""
    await world.sleep(10 * MINUTE_S)
    world.conduit.faults.place(faults.refused(status), when=faults.of_workspace(workspace_id(1)))
    await world.sleep(HOUR_S)
    assert up(world) == HEALTHY
    await settle(world, without=[agent_id(1)])
    world.conduit.faults.clear()
    await settle(world, within_s=70 * MINUTE_S)


# The list of agents


@pytest.mark.parametrize(
    "fault",
    [faults.refused(500), faults.hanging(), faults.malformed(), faults.cursor_to_itself],
    ids=["500", "hang", "malformed", "leads to itself"],
)
def test_known_agents_go_on_while_the_list_of_agents_is_broken(fault: Fault) -> None:
    """Their lists answer, so Conduit is up and their runs are counted; also after a restart."""
    world = World(scenario=agents(2, per_hour=60))
    broken = faults.to(Endpoint.AGENTS)

    async def script(_: World) -> None:
        await world.sleep(10 * MINUTE_S)
        world.conduit.faults.place(fault, when=broken)
        await world.sleep(HOUR_S)
        assert up(world) == HEALTHY
        assert len(truth_of(world).run_ids - world.backend.traced) <= MAX_UNTRACED

    async def restarted(_: World) -> None:
        await world.sleep(HOUR_S / 2)
        assert up(world) == HEALTHY
        await settle(world)

    world.run(script)
    world.run(restarted)
    assert_asked_seldom(world, broken)
    assert_within_budget(world)


@simulated(agents(6, per_hour=30, idle=98))
async def test_a_dead_cursor_in_the_list_of_agents_spares_those_before_it(world: World) -> None:
    """Of 104 agents the second page is never seen; those of the first are read."""
    later = faults.both(faults.to(Endpoint.AGENTS), faults.later_pages)
    world.conduit.faults.place(faults.refused(400), when=later)

    await world.sleep(HOUR_S / 2)
    await settle(world, within_s=20 * MINUTE_S)
    assert_asked_seldom(world, later)


@simulated(agents(2, per_hour=60))
async def test_one_answer_without_agents_blinds_nobody(world: World) -> None:
    """An agent missing from one answer is polled on: only a second answer retires it."""
    await world.sleep(5 * MINUTE_S)
    world.conduit.faults.place(faults.no_rows, when=faults.to(Endpoint.AGENTS), times=1)
    await world.sleep(HOUR_S)
    await settle(world)
    assert world.conduit.faults.struck == 1
    assert world.requests.max_gap_s(faults.of_list(agent_id())) < MAX_GAP_S


# Many agents


@pytest.mark.parametrize(
    "idle", [pytest.param(100, id="110"), pytest.param(990, id="1,000", marks=pytest.mark.slow)]
)
def test_many_idle_agents_starve_neither_look_back_nor_details(idle: int) -> None:
    """Ten busy agents and a look-back of hours are counted and traced beside them."""
    world = World(scenario=agents(10, per_hour=30, idle=idle, idle_per_hour=0.2, history_s=HOUR_S))

    async def script(_: World) -> None:
        await world.sleep(HOUR_S / 3)
        # An idle agent of a thousand is looked at about every twenty minutes.
        await settle(world, within_s=40 * MINUTE_S, every_s=120)
        assert world.ready()

    world.run(script)
    assert_no_detail_twice(world)
    assert_within_budget(world)


@simulated(
    agents(6, per_hour=60, idle=104, idle_per_hour=0.2, history_s=6 * HOUR_S),
    settings=METRICS_ALONE,
)
async def test_many_idle_agents_leave_the_look_back_its_share_for_metrics_alone(
    world: World,
) -> None:
    """Where no detail is ever asked for, 110 agents' first pages are not all that is read."""
    await world.sleep(HOUR_S / 3)
    world.conduit.data.stop_arrivals()
    await world.sleep(10 * MINUTE_S)
    truth = truth_of(world).run_ids
    assert unfinished(world, untraced=truth) == ""
    assert world.ready()


# Pages and rows that are odd


@simulated(agents(1, per_hour=60, history_s=6 * HOUR_S))
async def test_a_page_that_has_more_and_no_cursor_is_recorded_and_the_rest_stays_a_gap(
    world: World,
) -> None:
    """Its rows are counted and traced at once; once it is mended, the rest as well."""
    start_ns = world.clock.true_ns()
    world.conduit.faults.place(faults.more_without_cursor, when=faults.to(Endpoint.RUNS))

    await world.sleep(HOUR_S)
    late_ns = world.clock.true_ns() - round(5 * MINUTE_S * 1e9)
    new = world.conduit.data.ended_runs(created_from_ns=start_ns)
    assert {run.id for run in new if (run.completed_ns or 0) < late_ns} <= world.backend.traced
    assert up(world) == HEALTHY
    world.conduit.faults.clear()
    await settle(world, within_s=70 * MINUTE_S)


@simulated(agents(1, per_hour=60))
async def test_a_row_without_an_id_is_quarantined_and_the_rest_recorded(world: World) -> None:
    """It is counted as quarantined, and costs nobody else anything."""
    row = b'{"run_id":"run_1","status":"completed","created_at":"2026-04-03T03:00:00Z"}'

    await world.sleep(5 * MINUTE_S)
    world.conduit.faults.place(faults.row_added(row), when=faults.to(Endpoint.RUNS))
    await world.sleep(HOUR_S / 2)
    assert total(world, "conduit_exporter_runs_quarantined_total") >= 1
    await settle(world)


@simulated(
    agents(1, per_hour=900, disorder=Disorder(late_ratio=0.1, late_s=(700, 900))),
    settings=METRICS_ALONE,
)
async def test_rows_that_become_visible_fifteen_minutes_late_are_counted(world: World) -> None:
    """A tenth of the rows appear 700 to 900 seconds late, below more newer ones than a page has."""
    # Past the first second reading, which is whole.
    await world.sleep(1.5 * HOUR_S)
    world.conduit.data.stop_arrivals()
    await world.sleep(1.5 * HOUR_S)
    assert total(world, "conduit_runs_total") == len(truth_of(world).run_ids)


def test_a_run_dated_twelve_hours_ahead_hides_no_gap() -> None:
    """While no exporter runs, more runs arrive than a page shows; they are read at once."""
    world = World(scenario=agents(1, per_hour=300), settings=METRICS_ALONE)

    async def first(_: World) -> None:
        # Past the first second reading, so that none heals what follows.
        await world.sleep(65 * MINUTE_S)
        data = world.conduit.data
        run = data.run(data.run_ids(agent_id())[10])
        data.add_run(run._replace(id="ar77ahead", trace_id=None, ahead_ns=round(HOUR_S * 12e9)))
        await world.sleep(5 * MINUTE_S)

    world.run(first)
    world.wait(40 * MINUTE_S)
    world.conduit.data.stop_arrivals()
    wanted = truth_of(world).run_ids
    assert "ar77ahead" in wanted
    world.run_for(5 * MINUTE_S)
    # The frontier may pass Conduit's present by five minutes, of five runs each.
    assert total(world, "conduit_runs_total") >= len(wanted) - 30
    world.run_for(HOUR_S)
    assert total(world, "conduit_runs_total") == len(truth_of(world).run_ids)


# Clocks


@pytest.mark.parametrize("days", [2, -2], ids=["ahead", "behind"])
def test_a_local_clock_two_days_wrong_at_the_first_start_loses_nothing(days: int) -> None:
    """What is counted follows Conduit's own time."""
    world = World(scenario=agents(2, per_hour=60, history_s=2 * HOUR_S))
    world.clock.wall_error_s = days * DAY_S

    async def script(_: World) -> None:
        await world.sleep(HOUR_S / 2)
        world.clock.wall_error_s = 0
        await world.sleep(HOUR_S / 2)
        await settle(world)

    world.run(script)


@pytest.mark.parametrize("hours", [36, -36, 3], ids=["ahead", "back", "by hours"])
@simulated(agents(2, per_hour=60, disorder=Disorder(late_ratio=0.05, late_s=(300, 900))))
async def test_a_local_clock_that_jumps_loses_nothing(world: World, hours: float) -> None:
    """Polls go on at their interval, and rows that come late are still found."""
    for _jump in range(3):
        await world.sleep(37 * MINUTE_S)
        world.clock.wall_error_s += hours * HOUR_S
    await settle(world, within_s=1.5 * HOUR_S)
    assert world.requests.max_gap_s(faults.of_list(agent_id())) < MAX_GAP_S


# Agents that come and go


@simulated(agents(13, per_hour=30, disorder=Disorder(late_ratio=0.05, late_s=(300, 900))))
async def test_deleted_agents_are_left_alone(world: World) -> None:
    """Twelve that answer 404 are soon asked no more; the living one's late rows are found."""
    gone = [agent_id(number) for number in range(1, 13)]
    await world.sleep(20 * MINUTE_S)
    for one in gone:
        world.conduit.data.delete_agent(one)
    deleted_ns = world.clock.true_ns()
    await world.sleep(2 * HOUR_S)
    await settle(world, within_s=1.5 * HOUR_S)
    asked = Counter(one.request.agent_id for one in world.requests.of(since_ns=deleted_ns))
    assert max(asked[one] for one in gone) <= 40


@simulated(agents(2, per_hour=60))
async def test_an_agent_that_was_deleted_and_returns_is_counted_once(world: World) -> None:
    """Its runs go on while it is away, and are counted when it is back."""
    await world.sleep(20 * MINUTE_S)
    world.conduit.data.delete_agent(agent_id(1))
    await world.sleep(HOUR_S)
    world.conduit.data.restore_agent(agent_id(1))
    await world.sleep(HOUR_S / 2)
    await settle(world, within_s=HOUR_S)
    assert_no_detail_twice(world)


@pytest.mark.parametrize("returns", [False, True], ids=["stays", "comes back"])
@simulated(agents(2, per_hour=60, workspaces=2))
async def test_an_agent_that_moves_to_another_workspace_is_not_counted_again(
    world: World, *, returns: bool
) -> None:
    """Its runs are shown under the new workspace; each stays counted and traced once."""
    await world.sleep(HOUR_S / 2)
    world.conduit.data.move_agent(agent_id(0), workspace_id(1))
    await world.sleep(HOUR_S / 2)
    if returns:
        world.conduit.data.move_agent(agent_id(0), workspace_id(0))
        await world.sleep(HOUR_S / 2)
    await settle(world, within_s=HOUR_S)
    assert_no_detail_twice(world)


@pytest.mark.parametrize("others", ["", "*"], ids=["alone", "beside all others"])
def test_runs_asked_for_by_name_are_counted_once_over_retention_and_restarts(others: str) -> None:
    """CONDUIT_RUNS names a finished run and one in flight; three lives of hours, one trace each."""
    world = World(
        scenario=agents(1, per_hour=60, history_s=HOUR_S),
        settings=SLOW_POLLS | {"EXPORTER_RETENTION": "1h", "EXPORTER_LOOKBACK": "30m"},
    )
    data = world.conduit.data
    named = data.run_ids(agent_id())[:2]
    world.environ["CONDUIT_RUNS"] = ",".join(f"{agent_id()}/{one}" for one in named)
    if others:
        world.environ["CONDUIT_AGENTS"] = others
    data.stop_arrivals()

    for _ in range(3):
        world.run_for(30 * HOUR_S)
        wanted = truth_of(world).run_ids if others else set(named)
        assert total(world, "conduit_runs_total") == len(wanted)
    assert world.backend.traced == wanted
    assert_no_detail_twice(world)


# Outages and limits


@simulated(agents(2, per_hour=240, disorder=Disorder(long_ratio=0.05, long_s=(1200, 3600))))
async def test_runs_that_fell_off_the_head_in_an_outage_are_settled_within_minutes(
    world: World,
) -> None:
    """They were in flight when it began and have ended far below the first page when it ends."""
    await world.sleep(HOUR_S / 2)
    away = faults.between(world.clock.true_ns(), world.ns_in(45 * MINUTE_S))
    world.conduit.faults.place(faults.unreachable, when=away)
    await world.sleep(50 * MINUTE_S)
    missing = len(truth_of(world).run_ids) - total(world, "conduit_runs_total")
    assert missing <= 8  # what ended within the last minute
    await settle(world, within_s=30 * MINUTE_S)


@simulated(agents(3), settings={"CONDUIT_REQUESTS_PER_MINUTE": "6000"}, limit=10_000)
async def test_retry_after_zero_is_no_leave_to_ask_at_once(world: World) -> None:
    """429 again and again is answered by a backoff that grows, however high the budget."""
    await world.sleep(5 * MINUTE_S)
    world.conduit.faults.place(faults.rate_limited("0"), when=faults.always)
    start_ns = world.clock.true_ns()
    await world.sleep(10 * MINUTE_S)
    assert len(world.requests.of(since_ns=start_ns)) <= 60
    world.conduit.faults.clear()
    await settle(world, within_s=HOUR_S)


@simulated(agents(1))
async def test_the_longest_of_several_retry_after_values_is_kept(world: World) -> None:
    """Two fields, as two proxies leave them, are one list of values."""
    await world.sleep(5 * MINUTE_S)
    world.conduit.faults.place(faults.rate_limited("1, 90"), when=faults.always, times=1)
    await world.sleep(10 * MINUTE_S)
    assert world.requests.max_gap_s(faults.of_workspace(workspace_id())) >= 90
