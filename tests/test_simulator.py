"""The simulated Conduit answers as Conduit's documentation says, and no other way."""

import pytest

from exporter.simulator.hotel import DEMO_TOKEN, PRIVATE_MARKS, hospitality
from tests.fakes import START_NS, FakeClock
from tests.simulation.conduit import ScriptedConduit
from tests.simulator_support import (
    AG1,
    AG3,
    ONE,
    WS1,
    WS2,
    ask,
    documented_answer,
    documented_row,
    parsed,
    runs_path,
    small_conduit,
    violations,
)


def test_every_run_of_the_hotel_group_is_of_the_published_schema() -> None:
    """In lists and in get-run, in flight and ended; private marks occur only in free text."""
    clock = FakeClock()
    scenario = hospitality(seed=1, start_ns=START_NS, history_s=600.0)
    conduit = ScriptedConduit(now_ns=clock.now_ns, scenario=scenario, requests_per_minute=10_000)
    seen, marked = 0, 0
    for agent_id in conduit.data.agents:
        rows = parsed(ask(conduit, runs_path(agent_id), "limit=100", token=DEMO_TOKEN))["data"]
        for row in rows:
            path = f"{runs_path(agent_id)}/{row['id']}"
            answer = parsed(ask(conduit, path, token=DEMO_TOKEN))
            assert violations(documented_row(), row) == []
            assert violations(documented_answer(200), answer) == []
            assert answer["data"] | row == answer["data"]
            said = str(answer["data"])
            seen += 1
            marked += any(mark in said for mark in PRIVATE_MARKS)
    assert seen > 100
    assert marked > seen / 2


@pytest.mark.parametrize(
    ("path", "query", "token", "status"),
    [
        ("/workspaces", "", "nobody", 401),
        ("/agents", "", "token-of-both", 400),
        ("/agents", f"workspace_id={WS2}", ONE, 403),
        (f"/agents/{AG3}/runs", "", ONE, 403),
        ("/agents/ag77nobody/runs", f"workspace_id={WS1}", ONE, 404),
        (f"/agents/{AG1}/runs/ar77nothing", "", ONE, 404),
        (f"/agents/{AG1}/runs", "limit=101", ONE, 400),
        (f"/agents/{AG1}/runs", "cursor=abc", ONE, 400),
        (f"/agents/{AG1}/runs", "status=done", ONE, 400),
        ("/contacts", "", ONE, 404),
    ],
)
def test_what_is_refused_is_an_error_text(path: str, query: str, token: str, status: int) -> None:
    """As documented: `{"error": "<text>"}`; every answer tells Conduit's time."""
    response = ask(small_conduit(FakeClock()), path, query, token=token)
    assert response.status == status
    assert isinstance(parsed(response)["error"], str)
    assert response.headers["date"] == "Fri, 03 Apr 2026 03:04:15 GMT"


def test_a_workspace_is_limited_to_its_requests_a_minute() -> None:
    """429 with the seconds to wait; the other workspace has its own limit."""
    clock = FakeClock()
    conduit = small_conduit(clock, requests_per_minute=3)
    answers = [ask(conduit, runs_path()) for _ in range(4)]
    assert [one.status for one in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["retry-after"] == "60"
    assert ask(conduit, runs_path(AG3)).status == 200
    clock.advance(60)
    assert ask(conduit, runs_path()).status == 200
