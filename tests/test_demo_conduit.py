"""The simulated Conduit keeps to the documented API: answers, parameters, access and limits."""

import json
from decimal import Decimal

import pytest

from exporter.demo.answers import Endpoint, Failure
from exporter.demo.conduit import SimulatedConduit
from exporter.demo.directory import SimAgent
from exporter.demo.faults import failing, of_run, truncated
from exporter.demo.runs import SECOND_NS, RunContent, SimRun
from exporter.demo.scenario import DEMO_TOKEN, hospitality
from tests.demo_support import (
    AG1,
    AG2,
    AG3,
    BOTH,
    ONE,
    WS1,
    WS2,
    ask,
    documented_answer,
    documented_row,
    ids_of,
    parsed,
    runs_path,
    sim_run,
    small_conduit,
    violations,
)
from tests.fakes import START_NS, FakeClock

EXAMPLE_CREATED_NS = 1_775_186_055_000_000_000  # 2026-04-03T03:14:15Z


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def conduit(clock: FakeClock) -> SimulatedConduit:
    return small_conduit(clock, sim_run())


def test_get_run_gives_the_documented_example() -> None:
    """A run made of the example's values is answered with the example, key for key."""
    example = documented_answer(200)["example"]["data"]
    clock = FakeClock(EXAMPLE_CREATED_NS + 60 * SECOND_NS)
    conduit = small_conduit(clock)
    agent = SimAgent(id=example["agent_id"], workspace_id=example["workspace_id"], name="Example")
    conduit.data.tokens["t"] = (agent.workspace_id,)
    conduit.data.add_agent(agent)
    conduit.data.add_run(
        SimRun(
            id=example["id"],
            agent_id=agent.id,
            created_ns=EXAMPLE_CREATED_NS,
            completed_ns=EXAMPLE_CREATED_NS + 4_213_000_000,
            duration_ns=4_213_000_000,
            backend_run_id="run_9f3a1c7e",
            input_tokens=1820,
            output_tokens=342,
            cost="0.0121",
            trace_id="0f9c2b1d8a7e4f36",
            contact_id=example["contact_id"],
            conversation_id=example["conversation_id"],
            trigger_id=example["trigger_id"],
        ),
        RunContent(
            session_id="sess_4b21e9",
            disposition_reason="answered_from_knowledge",
            trigger_event_id=example["trigger_event_id"],
            response=example["response"],
            reflection=example["reflection"],
            tool_trace=json.dumps(example["tool_trace"]),
        ),
    )
    response = ask(conduit, f"/agents/{agent.id}/runs/{example['id']}", token="t")
    assert response.status == 200
    assert json.loads(response.body) == {"data": example}
    assert list(json.loads(response.body)["data"]) == list(example)


def test_every_answer_of_the_hotel_scenario_keeps_to_the_schema() -> None:
    """List rows and get-runs of runs of every status have all documented fields and no others."""
    clock = FakeClock()
    scenario = hospitality(seed=3, start_ns=clock.now_ns(), history_s=600, rate=3)
    conduit = SimulatedConduit(now_ns=clock.now_ns, scenario=scenario, requests_per_minute=10**6)
    seen = set()
    for _ in range(6):  # a run is accepted for a moment only
        for agent_id in conduit.data.agents:
            rows = parsed(ask(conduit, runs_path(agent_id), token=DEMO_TOKEN))["data"]
            assert rows
            for row in rows:
                assert violations(documented_row(), row) == []
                path = f"{runs_path(agent_id)}/{row['id']}"
                whole = parsed(ask(conduit, path, token=DEMO_TOKEN))
                assert violations(documented_answer(200), whole) == []
                assert {key: whole["data"][key] for key in row} == row
                seen.add(row["status"])
        clock.advance(10)
    assert seen == {"accepted", "running", "completed", "failed"}


def test_the_schema_check_itself_can_fail() -> None:
    """The checker names missing, unknown, null and mistyped fields."""
    schema = documented_row()
    clock = FakeClock()
    row = parsed(ask(small_conduit(clock, sim_run()), runs_path()))["data"][0]
    spoiled = {**row, "status": "paused", "id": None, "duration_ms": True, "more": 1}
    del spoiled["error"]
    assert sorted(violations(schema, spoiled)) == [
        "$.duration_ms is no number",
        "$.error is missing",
        "$.id is null",
        "$.more is unknown",
        "$.status is 'paused'",
    ]


def test_a_run_shows_its_outcome_only_when_it_has_ended(clock: FakeClock) -> None:
    """Accepted, then running with a trace id, then completed with everything."""
    run = sim_run(
        created_ns=START_NS,
        running_ns=START_NS + SECOND_NS,
        completed_ns=START_NS + 5 * SECOND_NS,
        contact_id="co77x",
    )
    conduit = small_conduit(clock)
    conduit.data.add_run(run, RunContent(response="hello", tool_trace="[]"))
    path = f"{runs_path()}/{run.id}"
    outcome = ("disposition", "duration_ms", "token_usage", "total_cost", "completed_at")
    content = ("response", "tool_trace")
    stages = []
    for _ in range(3):
        summary = parsed(ask(conduit, runs_path()))["data"][0]
        whole = parsed(ask(conduit, path))["data"]
        assert {key: whole[key] for key in summary} == summary
        stages.append(
            (
                whole["status"],
                whole["trace_id"],
                {key for key in (*outcome, *content) if whole[key] is not None},
            )
        )
        assert whole["contact_id"] == "co77x"
        clock.advance(4 if stages[-1][0] == "running" else 1)
    assert stages == [
        ("accepted", None, set()),
        ("running", run.trace_id, set()),
        ("completed", run.trace_id, {*outcome, *content}),
    ]


def test_money_keeps_its_digits(clock: FakeClock) -> None:
    """The cost's own text is on the wire, exponents and all."""
    costs = ("0.012100000000000001", "1e-9", "0", "3")
    runs = [sim_run(f"ar77{at}", cost=cost) for at, cost in enumerate(costs)]
    rows = parsed(ask(small_conduit(clock, *runs), runs_path()))["data"]
    assert [row["total_cost"] for row in reversed(rows)] == [Decimal(cost) for cost in costs]


def test_a_lone_surrogate_leaves_as_its_escape(clock: FakeClock) -> None:
    """Text that UTF-8 cannot hold is still valid JSON on the wire."""
    conduit = small_conduit(clock, sim_run(status="failed", error="bad \ud800 text"))
    body = ask(conduit, runs_path()).body
    assert b"bad \\ud800 text" in body
    assert json.loads(body)["data"][0]["error"] == "bad \ud800 text"


def test_workspaces_are_those_of_the_token(conduit: SimulatedConduit) -> None:
    """A token sees its own workspaces only."""
    assert parsed(ask(conduit, "/workspaces")) == {
        "data": [{"id": WS1, "name": "Harbor Hotels"}, {"id": WS2, "name": "Alpine Lodges"}],
        "next_cursor": None,
        "has_more": False,
    }
    assert ids_of(ask(conduit, "/workspaces", token=ONE)) == [WS1]


def test_agents_are_listed_by_workspace(conduit: SimulatedConduit) -> None:
    """A token of one workspace needs no workspace_id, a token of several does."""
    assert ids_of(ask(conduit, "/agents", token=ONE)) == [AG1, AG2]
    assert ids_of(ask(conduit, "/agents", f"workspace_id={WS2}")) == [AG3]
    assert ask(conduit, "/agents").status == 400


def test_an_agent_has_all_documented_fields(conduit: SimulatedConduit) -> None:
    """The list and the single agent show the same thing."""
    (listed, _) = parsed(ask(conduit, "/agents", token=ONE))["data"]
    assert set(listed) == {
        *("id", "workspace_id", "name", "description", "version", "enabled"),
        *("operation_mode", "skill_ids", "triggers", "created_at", "updated_at"),
    }
    assert parsed(ask(conduit, f"/agents/{AG1}"))["data"] == listed


def test_short_lists_are_paged(conduit: SimulatedConduit) -> None:
    """Limits and cursors work for workspaces and agents as well."""
    first = parsed(ask(conduit, "/workspaces", "limit=1"))
    assert first["has_more"] is True
    second = ask(conduit, "/workspaces", f"limit=1&cursor={first['next_cursor']}")
    assert ids_of(second) == [WS2]
    assert parsed(second)["has_more"] is False


@pytest.mark.parametrize(
    ("path", "query", "token", "status"),
    [
        ("/workspaces", "", "nobody", 401),
        (runs_path(), "", "", 401),
        (runs_path(AG3), "", ONE, 403),
        (runs_path(AG1), f"workspace_id={WS2}", ONE, 403),
        ("/agents", "workspace_id=j57unknown", BOTH, 403),
        ("/agents", "workspace_id=", BOTH, 400),
        ("/agents", "workspace_id=../etc", BOTH, 400),
        ("/agents", f"workspace_id={WS1}&limit=0", BOTH, 400),
        (runs_path(AG1), f"workspace_id={WS2}", BOTH, 404),
        (runs_path("ag77nobody"), "", BOTH, 404),
        (f"{runs_path()}/ar77nothing", "", BOTH, 404),
        (f"{runs_path(AG2)}/ar77a", "", BOTH, 404),
        ("/agents/ag77nobody", "", BOTH, 404),
        ("/nothing", "", BOTH, 404),
        (f"{runs_path()}/ar77a/more", "", BOTH, 404),
        (runs_path(), "limit=0", BOTH, 400),
        (runs_path(), "limit=101", BOTH, 400),
        (runs_path(), "limit=ten", BOTH, 400),
        (runs_path(), "limit=-1", BOTH, 400),
        (runs_path(), "limit=\u0661", BOTH, 400),
        (runs_path(), "limit=" + "9" * 5000, BOTH, 400),
        (runs_path(), "status=paused", BOTH, 400),
        (runs_path(), "cursor=nonsense", BOTH, 400),
        (runs_path(), "cursor=", BOTH, 400),
        (runs_path(), "cursor=\u00e9", BOTH, 400),
    ],
)
def test_refusals_have_the_documented_status_and_body(
    conduit: SimulatedConduit, path: str, query: str, token: str, status: int
) -> None:
    """What cannot be answered says so with the documented error object."""
    response = ask(conduit, path, query, token=token)
    assert response.status == status
    assert violations(documented_answer(404), json.loads(response.body)) == []


def test_only_get_is_known(conduit: SimulatedConduit) -> None:
    """Other methods find nothing."""
    headers = {"authorization": f"Bearer {BOTH}"}
    assert conduit.handle("POST", "/v1/workspaces", "", headers).status == 404


def test_a_token_is_sent_as_bearer(conduit: SimulatedConduit) -> None:
    """Another scheme is no authorization."""
    headers = {"authorization": f"Basic {BOTH}"}
    assert conduit.handle("GET", "/v1/workspaces", "", headers).status == 401


def test_the_runs_own_number_is_no_id(conduit: SimulatedConduit) -> None:
    """get-run takes the field `id`, not the field `run_id`."""
    assert ask(conduit, f"{runs_path()}/run_9f3a1c7e").status == 404
    assert ask(conduit, f"{runs_path()}/ar77a").status == 200


def test_an_encoded_slash_stays_inside_its_segment(clock: FakeClock) -> None:
    """Ids are decoded after the path is cut into segments."""
    conduit = small_conduit(clock, sim_run("ar/77"))
    assert ask(conduit, f"{runs_path()}/ar%2F77").status == 200
    assert ask(conduit, f"{runs_path()}/ar/77").status == 404


def test_default_page_has_twenty_rows(clock: FakeClock) -> None:
    """Without a limit there are 20 rows, with the largest 100."""
    conduit = small_conduit(clock, *(sim_run(f"ar77{at:03d}") for at in range(130)))
    assert len(ids_of(ask(conduit, runs_path()))) == 20
    assert len(ids_of(ask(conduit, runs_path(), "limit=100"))) == 100


def test_a_cursor_belongs_to_its_list(clock: FakeClock) -> None:
    """A cursor of another agent, another status or the other kind is refused."""
    runs = [sim_run(f"ar77{at}") for at in range(3)]
    conduit = small_conduit(clock, *runs)
    keyset = small_conduit(clock, *runs, cursors="keyset")
    cursor = parsed(ask(conduit, runs_path(), "limit=1"))["next_cursor"]
    assert ask(conduit, runs_path(), f"cursor={cursor}").status == 200
    assert ask(conduit, runs_path(AG2), f"cursor={cursor}").status == 400
    assert ask(conduit, runs_path(), f"status=completed&cursor={cursor}").status == 400
    assert ask(keyset, runs_path(), f"cursor={cursor}").status == 400


def test_no_sixty_seconds_hold_more_than_the_limit(
    clock: FakeClock, conduit: SimulatedConduit
) -> None:
    """The window slides: requests late in one minute are still there in the next."""
    clock.advance(59)
    assert {ask(conduit, runs_path()).status for _ in range(120)} == {200}
    clock.advance(2)
    refused = ask(conduit, runs_path())
    assert (refused.status, refused.headers["retry-after"]) == (429, "58")
    clock.advance(57.999)
    assert ask(conduit, runs_path()).status == 429
    clock.advance(0.001)
    assert ask(conduit, runs_path()).status == 200
    assert conduit.busiest_minute(WS1) == 120
    assert conduit.asked.over_limit == {WS1: 2}
    assert conduit.asked.answers[Endpoint.RUNS, 429] == 2


def test_each_workspace_and_each_token_has_its_own_limit(conduit: SimulatedConduit) -> None:
    """A workspace at its limit slows no other, nor the list of workspaces."""
    conduit.spend(WS1, 120)
    assert ask(conduit, runs_path(AG1)).status == 429
    assert ask(conduit, f"/agents/{AG2}").status == 429
    assert ask(conduit, runs_path(AG3)).status == 200
    assert {ask(conduit, "/workspaces").status for _ in range(120)} == {200}
    assert ask(conduit, "/workspaces").status == 429
    assert ask(conduit, "/workspaces", token=ONE).status == 200


def test_a_limit_of_zero_admits_nobody(clock: FakeClock) -> None:
    """There is always a number of seconds to wait."""
    response = ask(small_conduit(clock, requests_per_minute=0), runs_path())
    assert (response.status, response.headers["retry-after"]) == (429, "60")


def test_what_is_asked_is_counted(clock: FakeClock) -> None:
    """By endpoint and by run; an answer that was spoiled on its way served nobody."""
    running = sim_run("ar77b", completed_ns=None)
    conduit = small_conduit(clock, sim_run("ar77a"), running)
    conduit.faults.place(truncated(), when=of_run("ar77a"), times=1)
    conduit.faults.place(failing(Failure.READ_TIMEOUT), when=of_run("ar77a"), times=1)
    for _ in range(4):
        ask(conduit, f"{runs_path()}/ar77a")
    ask(conduit, f"{runs_path()}/ar77b")
    ask(conduit, runs_path())
    asked = conduit.asked
    assert asked.requests == {Endpoint.RUN: 5, Endpoint.RUNS: 1}
    assert asked.total == 6
    assert asked.runs_asked == {"ar77a": 4, "ar77b": 1}
    assert asked.runs_served == {"ar77a": 2}
    assert asked.runs_served_in_flight == {"ar77b": 1}
    assert asked.fetched_twice == {"ar77a": 2}
    assert asked.admitted == {WS1: 6}
