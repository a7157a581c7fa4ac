"""The simulated Conduit behind real sockets on a free loopback port."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from decimal import Decimal
from typing import Any

import httpx
import pytest

from exporter.clock import SystemClock
from exporter.demo import faults
from exporter.demo.answers import Failure, SimRequest, SimResponse
from exporter.demo.conduit import SimulatedConduit
from exporter.demo.faults import Fault, Truthful
from exporter.demo.server import listening_socket, serve
from tests.demo_support import (
    AG1,
    AG3,
    BOTH,
    ONE,
    WS1,
    documented_answer,
    documented_row,
    runs_path,
    sim_run,
    small_conduit,
    violations,
)
from tests.fakes import FakeClock

RUNS = f"/v1{runs_path()}"
DEADLINE_S = 20.0

Talk = Callable[[httpx.AsyncClient], Awaitable[Any]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def conduit(clock: FakeClock) -> SimulatedConduit:
    return small_conduit(clock, *(sim_run(f"ar77{at}") for at in range(3)))


def talk(conduit: SimulatedConduit, say: Talk, *, token: str = BOTH) -> Any:
    """Serve, let `say` use a client, and stop serving."""

    async def session() -> Any:
        async with (
            asyncio.timeout(DEADLINE_S),
            serve(conduit, clock=SystemClock()) as base_url,
            httpx.AsyncClient(
                base_url=base_url,
                headers={"Authorization": f"Bearer {token}"},
                timeout=DEADLINE_S,
                trust_env=False,
            ) as client,
        ):
            return await say(client)

    return asyncio.run(session())


def test_answers_over_http_keep_to_the_schema(conduit: SimulatedConduit) -> None:
    """Workspaces, agents, a page of runs and a run, as JSON."""

    async def say(client: httpx.AsyncClient) -> list[httpx.Response]:
        paths = (
            "/v1/workspaces",
            f"/v1/agents?workspace_id={WS1}",
            f"/v1/agents/{AG1}",
            RUNS,
            f"{RUNS}/ar770",
        )
        return [await client.get(path) for path in paths]

    answers = talk(conduit, say)
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["content-type"] for answer in answers} == {
        "application/json; charset=utf-8"
    }
    rows = json.loads(answers[3].content, parse_float=Decimal)["data"]
    assert len(rows) == 3
    assert [violations(documented_row(), row) for row in rows] == [[]] * 3
    assert (
        violations(documented_answer(200), json.loads(answers[4].content, parse_float=Decimal))
        == []
    )


def test_refusals_over_http_have_the_documented_body(conduit: SimulatedConduit) -> None:
    """Status and error object, for paths of every kind."""
    expected = {
        f"{RUNS}?limit=0": 400,
        f"{RUNS}?status=paused": 400,
        "/v1/agents?workspace_id=j57unknown": 403,
        f"/v1{runs_path(AG3)}": 403,
        f"{RUNS}/nothing": 404,
        "/": 404,
        "/v1/agents/%2F%00%ff/runs": 404,
        "//evil.example/v1/workspaces": 404,
    }

    async def say(client: httpx.AsyncClient) -> dict[str, httpx.Response]:
        url = str(client.base_url).rstrip("/")
        return {path: await client.get(url + path) for path in expected}

    answers = talk(conduit, say, token=ONE)
    assert {path: answer.status_code for path, answer in answers.items()} == expected
    for answer in answers.values():
        assert violations(documented_answer(404), answer.json()) == []


def test_a_missing_token_is_401(conduit: SimulatedConduit) -> None:
    """Nothing is told to a stranger."""
    answer = talk(conduit, lambda client: client.get(RUNS), token="stranger")
    assert (answer.status_code, list(answer.json())) == (401, ["error"])


def test_the_hundred_and_twenty_first_request_of_a_minute_is_429(
    conduit: SimulatedConduit, clock: FakeClock
) -> None:
    """120 a minute for each workspace; Retry-After says in whole seconds when there is room."""

    async def say(client: httpx.AsyncClient) -> None:
        statuses = [(await client.get(RUNS)).status_code for _ in range(120)]
        assert statuses == [200] * 120
        clock.advance(13.5)
        refused = await client.get(RUNS)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "47"
        assert violations(documented_answer(429), refused.json()) == []
        assert (await client.get(f"/v1{runs_path(AG3)}")).status_code == 200
        clock.advance(int(refused.headers["Retry-After"]))
        assert (await client.get(RUNS)).status_code == 200

    talk(conduit, say)
    assert conduit.busiest_minute(WS1) == 120
    assert conduit.asked.over_limit == {WS1: 1}


def test_a_connection_serves_many_requests(conduit: SimulatedConduit) -> None:
    """Connections are kept open, so a client need not make a new one each time."""

    async def say(client: httpx.AsyncClient) -> list[object]:
        streams = []
        for _ in range(3):
            answer = await client.get(RUNS)
            streams.append(answer.extensions["network_stream"].get_extra_info("client_addr"))
        return streams

    assert len(set(talk(conduit, say))) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.failing(Failure.DISCONNECT), httpx.RemoteProtocolError),
        (faults.unreachable, httpx.RemoteProtocolError),
        (faults.truncated(), httpx.RemoteProtocolError),
        (faults.wrong_content_length(9), httpx.RemoteProtocolError),
        (faults.failing(Failure.READ_TIMEOUT), httpx.ReadTimeout),
        (faults.failing(Failure.CONNECT_TIMEOUT), httpx.ReadTimeout),
        (faults.truncated(0.5, Failure.READ_TIMEOUT), httpx.ReadTimeout),
    ],
)
def test_failures_reach_the_client(
    conduit: SimulatedConduit, fault: Fault, error: type[httpx.HTTPError]
) -> None:
    """A closed connection or a silence, and the next request is answered."""
    conduit.faults.place(fault, when=faults.always, times=1)

    async def say(client: httpx.AsyncClient) -> int:
        with pytest.raises(error):
            await client.get(RUNS, timeout=httpx.Timeout(DEADLINE_S, read=0.2))
        return (await client.get(RUNS)).status_code

    assert talk(conduit, say) == 200


def test_a_delay_is_waited_for(conduit: SimulatedConduit) -> None:
    """The answer comes after all."""
    conduit.faults.place(faults.delayed(0.05), when=faults.always)
    assert talk(conduit, lambda client: client.get(RUNS)).status_code == 200


def test_streamed_answers_are_sent_in_chunks(conduit: SimulatedConduit) -> None:
    """A body of no known length is JSON to the end."""
    conduit.faults.place(faults.huge_json(300_000), when=faults.always)
    answer = talk(conduit, lambda client: client.get(RUNS))
    assert "content-length" not in answer.headers
    assert len(json.loads(answer.content)["padding"]) == 300_000


def test_packed_answers_are_unpacked(conduit: SimulatedConduit) -> None:
    """What is compressed on the way is whole at its end."""
    conduit.faults.place(faults.gzipped, when=faults.always)
    answer = talk(conduit, lambda client: client.get(RUNS))
    assert len(answer.json()["data"]) == 3


def test_the_end_interrupts_a_silence(conduit: SimulatedConduit) -> None:
    """A server that keeps a client waiting for ever still stops when it is told to."""

    async def session() -> httpx.Response | BaseException:
        heard = asyncio.Event()

        def silent(request: SimRequest, truthful: Truthful) -> SimResponse:
            heard.set()
            return faults.failing(Failure.READ_TIMEOUT)(request, truthful)

        conduit.faults.place(silent, when=faults.always)
        async with asyncio.timeout(DEADLINE_S), httpx.AsyncClient(trust_env=False) as client:
            async with serve(conduit, clock=SystemClock()) as base_url:
                asking = asyncio.create_task(client.get(base_url + RUNS, timeout=None))
                await heard.wait()
            (outcome,) = await asyncio.gather(asking, return_exceptions=True)
            return outcome

    outcome = asyncio.run(session())
    if isinstance(outcome, BaseException):
        assert isinstance(outcome, httpx.TransportError)
    else:
        assert outcome.status_code == 500


def test_two_simulations_serve_side_by_side(clock: FakeClock) -> None:
    """Each takes a port of its own, and frees it."""

    async def session() -> list[str]:
        one, other = small_conduit(clock), small_conduit(clock)
        async with (
            serve(one, clock=SystemClock()) as first,
            serve(other, clock=SystemClock()) as second,
        ):
            return [first, second]

    urls = asyncio.run(session())
    assert len(set(urls)) == 2
    for url in urls:
        port = httpx.URL(url).port
        with pytest.raises(ConnectionRefusedError), closing(socket.socket()) as probe:
            probe.connect(("127.0.0.1", port))


def test_a_taken_port_is_an_os_error(conduit: SimulatedConduit) -> None:
    """Whoever starts it can say which address it was."""

    async def session(port: int) -> None:
        async with serve(conduit, clock=SystemClock(), port=port):
            pytest.fail("served on a port that is taken")

    with closing(listening_socket("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            asyncio.run(session(port))
