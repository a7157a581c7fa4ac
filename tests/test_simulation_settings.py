"""What an operator switches between two starts holds for what waits in the ledger as well."""

from exporter.convert.spans import CONTENT_ATTRIBUTES
from exporter.delivery.outcome import Unavailable
from exporter.simulator.conduit import Endpoint
from tests.simulation.promises import settle, total, truth_of
from tests.simulation.scenarios import HOUR_S, MINUTE_S, TOKEN, agents
from tests.simulation.world import World

AWAY = Unavailable("no connection", answered=False)


def content_in(world: World) -> set[str]:
    """The attributes with content that the backend has."""
    spans = world.backend.spans.values()
    return {name for name in CONTENT_ATTRIBUTES if any(name.encode() in span for span in spans)}


def test_what_was_captured_does_not_leave_once_capture_is_off() -> None:
    """Neither what waited for the backend nor what is sent again."""
    world = World(scenario=agents(1), settings={"EXPORTER_CAPTURE_CONTENT": "true"})
    outage = [AWAY]
    world.backend.before.append(lambda _: outage[0] if outage else None)
    world.run_for(HOUR_S / 2)
    assert total(world, "conduit_exporter_traces_pending") > 0

    outage.clear()
    world.environ["EXPORTER_CAPTURE_CONTENT"] = "false"
    world.run(settle)
    assert not content_in(world)
    assert world.run_replay(since_s=HOUR_S) > 0
    assert not content_in(world)
    assert not world.backend.changed


def test_captured_content_leaves_while_it_is_asked_for() -> None:
    """So that the test above looks for what is there."""
    world = World(scenario=agents(1), settings={"EXPORTER_CAPTURE_CONTENT": "true"})
    world.run_for(HOUR_S / 2)
    assert content_in(world)


def test_with_traces_off_nothing_is_fetched_or_late() -> None:
    """Runs are counted from lists alone, whatever waited, and no alert asks for a backend."""
    world = World(
        scenario=agents(2, per_hour=120, history_s=2 * HOUR_S),
        settings={"CONDUIT_REQUESTS_PER_MINUTE": "10"},
    )
    world.backend.before.append(lambda _: AWAY)
    world.run_for(5 * MINUTE_S)
    assert total(world, "conduit_exporter_runs_awaiting_detail") > 0
    assert total(world, "conduit_exporter_traces_pending") > 0
    fetched = world.conduit.asked.answers[Endpoint.RUN, 200]

    world.environ["OTEL_TRACES_EXPORTER"] = "none"
    awaiting = total(world, "conduit_exporter_runs_awaiting_detail")
    world.run_reconcile(since_s=HOUR_S, repair=False)
    assert total(world, "conduit_exporter_runs_awaiting_detail") == awaiting, "it only compares"
    world.run_for(HOUR_S)
    assert world.conduit.asked.answers[Endpoint.RUN, 200] == fetched
    assert total(world, "conduit_exporter_runs_awaiting_detail") == 0
    names = {name for name, _ in world.samples()}
    assert "conduit_exporter_oldest_pending_trace_timestamp_seconds" not in names
    assert abs(total(world, "conduit_runs_total") - len(truth_of(world).run_ids)) < 10

    waiting = total(world, "conduit_exporter_traces_pending")
    world.environ["OTEL_TRACES_EXPORTER"] = "otlp"
    world.backend.before.clear()
    world.run_for(5 * MINUTE_S)
    assert total(world, "conduit_exporter_traces_delivered_total") >= waiting > 0


def test_a_token_that_sees_no_workspace_is_not_ready() -> None:
    """It may be another deployment's: said where people look, and no pass with it is done."""
    world = World(scenario=agents(1))
    world.conduit.data.tokens[TOKEN] = ()

    async def script(_: World) -> None:
        await world.sleep(MINUTE_S)
        assert world.exporter is not None
        assert world.exporter.not_ready() == [
            "No workspace is known yet: the token sees no workspace; is it the right one?"
        ]

    world.run(script)
    assert world.run_once() == 1
