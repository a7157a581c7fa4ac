"""The delivery stage of an exporter at work: what travels together, is told, and is drained."""

import logging

import pytest

from exporter.delivery import service
from exporter.delivery.outcome import Accepted, Refused, Unavailable
from exporter.delivery.service import DeliveryService
from tests.simulation.promises import total
from tests.simulation.scenarios import HOUR_S, MINUTE_S, agent_id, agents
from tests.simulation.world import World
from tests.simulator_support import sim_run

AWAY = Unavailable("no connection", answered=False)


def delivery_of(world: World) -> DeliveryService:
    assert world.exporter is not None
    assert world.exporter.delivery is not None
    return world.exporter.delivery


def requests_of(world: World) -> float:
    return total(world, "conduit_exporter_delivery_attempts_total")


def test_news_of_the_same_seconds_travel_together() -> None:
    """A request costs more than a trace; each is acknowledged once."""
    world = World(scenario=agents(1, per_hour=3600))
    world.run_for(3 * MINUTE_S)
    traced = len(world.backend.traced)
    assert traced > 5 * requests_of(world)
    assert total(world, "conduit_exporter_trace_delay_seconds_count") == traced


def test_a_state_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """An outage is two lines, however long it is; what was wrong stays to be seen."""
    world = World(scenario=agents(1, per_hour=60))
    outage = [AWAY]
    world.backend.before.append(lambda _: outage[0] if outage else None)

    async def script(_: World) -> None:
        await world.sleep(HOUR_S / 2)
        delivery = delivery_of(world)
        assert (delivery.backend_up, delivery.problem) == (False, "no connection")
        outage.clear()
        await world.sleep(5 * MINUTE_S)
        assert (delivery.backend_up, delivery.problem) == (True, None)
        assert delivery.last_error == "no connection"
        assert (delivery.last_error_ns or 0) < world.clock.now_ns() - 3 * MINUTE_S * 1e9

    with caplog.at_level(logging.INFO, logger="exporter.delivery"):
        world.run(script)
    gone, back = [one.message for one in caplog.records if one.name == "exporter.delivery"]
    assert gone.startswith("traces do not reach simulated backend: no connection; they are kept")
    assert back == "traces reach simulated backend again"


def test_a_mended_destination_gets_what_was_parked() -> None:
    """A fixed token does not wait an hour."""
    world = World(scenario=agents(1, per_hour=0.001))
    of_both, of_the_first, of_the_third = (Refused("401") for _ in range(3))
    answers = [of_both, of_the_first, None, of_the_first, of_the_third]
    world.backend.before.append(lambda _: answers.pop(0) if answers else None)

    async def script(_: World) -> None:
        for names, parked in ((("first", "second"), 1), (("third",), 0)):
            for name in names:
                world.conduit.data.add_run(sim_run(name, agent_id=agent_id()))
            await world.sleep(2 * MINUTE_S)
            assert total(world, "conduit_exporter_traces_parked") == parked

    world.run(script)
    assert world.backend.traced == {"first", "second", "third"}


def test_spans_that_were_rejected_are_said_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """And never sent again; the same remark without any is said once."""
    world = World(scenario=agents(1, per_hour=60))
    answers = [Accepted(2, "too old")]
    remark = Accepted(0, "please update")
    world.backend.after.append(lambda _: answers.pop() if answers else remark)
    with caplog.at_level(logging.WARNING):
        world.run_for(10 * MINUTE_S)
    assert caplog.text.count("rejected 2 of its spans: too old") == 1
    assert caplog.text.count("please update") == 1
    assert total(world, "conduit_exporter_spans_rejected_total") == 2
    assert max(world.backend.received.values()) == 1


def test_an_answer_is_recorded_once_the_disk_takes_it() -> None:
    """Nothing is sent in between, and nothing again."""
    world = World(scenario=agents(1, per_hour=60))
    disk_is_full: list[bool] = []
    world.disk.before.append(lambda _: bool(disk_is_full))
    # From the first answer on.
    world.backend.after.append(lambda _: disk_is_full.append(True))

    async def script(_: World) -> None:
        await world.sleep(10 * MINUTE_S)
        assert requests_of(world) == 1
        world.backend.after.clear()
        disk_is_full.clear()
        await world.sleep(10 * MINUTE_S)

    world.run(script)
    assert set(world.backend.received.values()) == {1}


def test_a_drain_empties_the_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fetched is delivered before the end, in requests that receivers take."""
    monkeypatch.setattr(service, "MAX_BYTES", 2_000)
    world = World(scenario=agents(1, per_hour=600))
    outage = [AWAY]
    world.backend.before.append(lambda _: outage[0] if outage else None)

    async def script(_: World) -> None:
        await world.sleep(12 * MINUTE_S)
        outage.clear()
        before = requests_of(world)
        assert await delivery_of(world).drain(deadline_s=6.0)
        assert total(world, "conduit_exporter_traces_pending") == 0
        assert requests_of(world) > before + 50

    world.run(script)
    assert len(world.backend.traced) > 100


@pytest.mark.parametrize("seconds_before", [0.0, 120.0], ids=["its own", "under way"])
def test_a_drain_ends_at_its_deadline(seconds_before: float) -> None:
    """A backend that hangs does not hold up the end, whoever made the request."""
    world = World(scenario=agents(1, per_hour=60))
    world.backend.before.append(lambda _: AWAY)

    async def script(_: World) -> None:
        await world.sleep(5 * MINUTE_S)
        world.backend._latency_s = (HOUR_S, HOUR_S)
        await world.sleep(seconds_before)
        began_s = world.clock.monotonic_s()
        assert not await delivery_of(world).drain(deadline_s=6.0)
        assert world.clock.monotonic_s() - began_s == pytest.approx(6.0)

    world.run(script)


def test_a_drain_tries_a_failing_destination_once_more() -> None:
    """Ten seconds of retries would help nobody who wants to stop."""
    world = World(scenario=agents(1, per_hour=60))
    world.backend.before.append(lambda _: AWAY)

    async def script(_: World) -> None:
        await world.sleep(10 * MINUTE_S)
        before, began_s = requests_of(world), world.clock.monotonic_s()
        assert not await delivery_of(world).drain(deadline_s=6.0, patient=False)
        assert requests_of(world) == before + 1
        assert world.clock.monotonic_s() - began_s < 1.0

    world.run(script)
