"""What the simulation says is true: exact sums, and orders that change what there is."""

import json
from decimal import Decimal
from typing import Any

import pytest

from exporter.demo.conduit import SimulatedConduit
from exporter.demo.directory import SimAgent, SimWorkspace
from exporter.demo.edits import added, null, renamed, text, together, valued, without
from exporter.demo.runs import SECOND_NS, RunContent
from exporter.demo.scenario import DEMO_TOKEN, hospitality
from tests.demo_support import (
    AG1,
    AG2,
    ask,
    ids_of,
    parsed,
    runs_path,
    sim_run,
    small_conduit,
)
from tests.fakes import START_NS, FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_sums_are_exact(clock: FakeClock) -> None:
    """Ten dimes are a dollar, and the last digit of a tiny cost is kept."""
    runs = [sim_run(f"ar77{at}", cost="0.1") for at in range(10)]
    truth = small_conduit(clock, *runs, sim_run("ar77x", cost="1e-9")).data.truth()
    assert truth.cost_usd == {AG1: Decimal("1.000000001")}
    assert truth.runs == {(AG1, "completed", "resolved"): 11}
    assert truth.input_tokens == {AG1: 1100}
    assert truth.output_tokens == {AG1: 110}
    assert truth.unpriced == {}
    assert len(truth.run_ids) == 11


def test_runs_are_told_apart_by_agent_status_and_disposition(clock: FakeClock) -> None:
    """A null disposition is one of its own; a null cost is unknown, not zero."""
    conduit = small_conduit(
        clock,
        sim_run("ar77a", disposition=None, cost=None),
        sim_run("ar77b", status="failed", disposition=None, input_tokens=None, output_tokens=None),
        sim_run("ar77c", agent_id=AG2, cost="0"),
    )
    truth = conduit.data.truth()
    assert truth.runs == {
        (AG1, "completed", None): 1,
        (AG1, "failed", None): 1,
        (AG2, "completed", "resolved"): 1,
    }
    assert truth.unpriced == {AG1: 1}
    assert truth.cost_usd == {AG1: Decimal("0.01"), AG2: Decimal(0)}
    assert truth.input_tokens == {AG1: 100, AG2: 100}


def test_only_what_has_ended_and_is_visible_counts(clock: FakeClock) -> None:
    """Runs in flight, late, deleted, of unknown status, too old or left out by name do not."""
    later_ns = clock.now_ns() + 10 * SECOND_NS
    conduit = small_conduit(
        clock,
        sim_run("ar77counts"),
        sim_run("ar77flies", completed_ns=later_ns),
        sim_run("ar77gone"),
        sim_run("ar77odd", status="paused"),
        sim_run("ar77old", created_ns=0),
        sim_run("ar77named"),
    )
    conduit.data.add_run(sim_run("ar77late"), visible_ns=later_ns)
    conduit.data.delete_run("ar77gone")

    def counted() -> set[str]:
        return conduit.data.truth(created_from_ns=1, without=["ar77named"]).run_ids

    assert counted() == {"ar77counts"}
    clock.advance(10)
    assert counted() == {"ar77counts", "ar77flies", "ar77late"}


def test_tools_count_when_asked_for(clock: FakeClock) -> None:
    """Calls and failures by agent and tool; null traces have none."""
    conduit = small_conduit(clock, sim_run("ar77a"))
    tools = (("search_kb", False), ("search_kb", True), ("unknown", False))
    conduit.data.add_run(sim_run("ar77b"), RunContent(tools=tools))
    conduit.data.add_run(sim_run("ar77c", completed_ns=None), RunContent(tools=tools))
    assert conduit.data.truth().tool_calls == {}
    truth = conduit.data.truth(with_tools=True)
    assert truth.tool_calls == {(AG1, "search_kb"): 2, (AG1, "unknown"): 1}
    assert truth.tool_errors == {(AG1, "search_kb"): 1}


def test_the_truth_is_what_the_answers_add_up_to() -> None:
    """Sums over the JSON of all lists, and over all tool traces, are the sums of the truth."""
    clock = FakeClock()
    scenario = hospitality(seed=5, start_ns=clock.now_ns(), history_s=1800.0)
    conduit = SimulatedConduit(now_ns=clock.now_ns, scenario=scenario)
    cost, tokens, items, ended = Decimal(0), 0, 0, set()
    for agent in scenario.agents:
        query: str | None = "limit=100"
        while query is not None:
            page = parsed(ask(conduit, runs_path(agent.id), query, token=DEMO_TOKEN))
            query = f"limit=100&cursor={page['next_cursor']}" if page["has_more"] else None
            for row in page["data"]:
                if row["status"] in ("completed", "failed"):
                    ended.add(row["id"])
                    cost += row["total_cost"] or 0
                    tokens += sum((row["token_usage"] or {}).values())
    for run_id in ended:
        trace = conduit.data.content(run_id).tool_trace
        items += sum(item is not None for item in json.loads(trace or "[]"))

    truth = conduit.data.truth(with_tools=True)
    assert len(ended) > 300
    assert truth.run_ids == ended
    assert cost == sum(truth.cost_usd.values())
    assert tokens == sum((truth.input_tokens + truth.output_tokens).values())
    assert items == sum(truth.tool_calls.values())


def test_a_revised_run_changes_where_it_stands(clock: FakeClock) -> None:
    """Lists and get-run show the new values at once, in the old place."""
    runs = [sim_run(f"ar77{at}") for at in range(3)]
    conduit = small_conduit(clock, *runs)
    assert ask(conduit, runs_path()).status == 200
    conduit.data.revise_run("ar771", cost="5", content=RunContent(response="again"))
    (_, row, _) = parsed(ask(conduit, runs_path()))["data"]
    assert (row["id"], row["total_cost"]) == ("ar771", 5)
    whole = parsed(ask(conduit, f"{runs_path()}/ar771"))["data"]
    assert (whole["total_cost"], whole["response"]) == (5, "again")
    assert conduit.data.truth().cost_usd == {AG1: Decimal("5.02")}


def test_a_generated_run_can_be_revised_and_deleted(clock: FakeClock) -> None:
    """Orders reach runs of the scenario as they reach those placed by hand."""
    scenario = hospitality(seed=1, start_ns=clock.now_ns(), history_s=600.0)
    conduit = small_conduit(clock)
    agent = scenario.agents[0]
    conduit.data.add_agent(agent)
    ids = conduit.data.run_ids(agent.id)
    revised, deleted = ids[5], ids[6]
    conduit.data.revise_run(revised, status="failed", error="taken back")
    conduit.data.delete_run(deleted)
    assert conduit.data.run_ids(agent.id) == [one for one in ids if one != deleted]
    assert conduit.data.run(revised).error == "taken back"
    with pytest.raises(LookupError):
        conduit.data.run(deleted)
    clock.advance(3600)
    assert set(ids) - {deleted} < set(conduit.data.run_ids(agent.id))


def test_a_run_is_reopened(clock: FakeClock) -> None:
    """A terminal run that goes on is in flight again, until its new end."""
    conduit = small_conduit(clock, sim_run())
    conduit.data.revise_run("ar77a", completed_ns=START_NS + 5 * SECOND_NS)
    assert ids_of(ask(conduit, runs_path(), "status=running")) == ["ar77a"]
    assert conduit.data.truth().run_ids == set()
    clock.advance(5)
    assert ids_of(ask(conduit, runs_path(), "status=running")) == []
    assert conduit.data.truth().run_ids == {"ar77a"}


def test_an_id_is_placed_once(clock: FakeClock) -> None:
    """Two runs of one id would be a fault of the test."""
    conduit = small_conduit(clock, sim_run())
    with pytest.raises(ValueError, match="ar77a"):
        conduit.data.add_run(sim_run())


def test_agents_and_workspaces_come_and_go(clock: FakeClock) -> None:
    """What is added is listed; what is deleted is 404."""
    conduit = small_conduit(clock, sim_run())
    conduit.data.workspaces["j57new"] = SimWorkspace("j57new", "New House")
    conduit.data.tokens["t"] = ("j57new",)
    conduit.data.add_agent(SimAgent(id="ag77new", workspace_id="j57new", name="Fresh"))
    assert ids_of(ask(conduit, "/agents", token="t")) == ["ag77new"]
    conduit.data.delete_agent(AG1)
    assert ask(conduit, runs_path()).status == 404
    assert ask(conduit, f"/agents/{AG1}").status == 404


def test_orders_for_later_are_done_before_the_next_request(clock: FakeClock) -> None:
    """In order of their time, however they were given."""
    conduit = small_conduit(clock)
    done: list[str] = []
    conduit.data.at(START_NS + 2 * SECOND_NS, lambda: done.append("second"))
    conduit.data.at(START_NS + SECOND_NS, lambda: done.append("first"))
    conduit.data.at(START_NS + 9 * SECOND_NS, lambda: done.append("never"))
    ask(conduit, "/workspaces")
    assert done == []
    clock.advance(2)
    ask(conduit, "/workspaces")
    assert done == ["first", "second"]


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        (without("error", "total_cost"), {"error": ..., "total_cost": ...}),
        (null("status"), {"status": None}),
        (renamed("error", "failure"), {"error": ..., "failure": None}),
        (valued("total_cost", "-3"), {"total_cost": -3}),
        (text("status", "<b>\r\n\x1b[31m"), {"status": "<b>\r\n\x1b[31m"}),
        (added("model", '"m-1"'), {"model": "m-1"}),
        (added("status", '"failed"'), {"status": "failed"}),
        (together(null("error"), renamed("error", "e")), {"error": ..., "e": None}),
    ],
)
def test_an_edit_spoils_one_run_everywhere(
    clock: FakeClock, edit: Any, changed: dict[str, Any]
) -> None:
    """Lists and get-run show the same spoilt JSON, beside sound rows; `...` is a missing field."""
    conduit = small_conduit(clock, sim_run("ar77a"), sim_run("ar77b"))
    sound = parsed(ask(conduit, runs_path()))["data"]
    conduit.data.edit_run("ar77a", edit)
    rows = parsed(ask(conduit, runs_path()))["data"]
    whole = parsed(ask(conduit, f"{runs_path()}/ar77a"))["data"]
    expected = {**sound[1], **changed}
    assert rows == [sound[0], {key: value for key, value in expected.items() if value is not ...}]
    for name, value in changed.items():
        assert whole.get(name, ...) == value
