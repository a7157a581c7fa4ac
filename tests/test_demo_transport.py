"""The simulated Conduit behind httpx: fails with httpx's own exceptions, in its own time."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import httpx
import pytest

from exporter.demo import faults
from exporter.demo.answers import Failure, SimRequest, SimResponse
from exporter.demo.conduit import SimulatedConduit
from exporter.demo.faults import Fault, Truthful
from exporter.demo.transport import SimulatedTransport
from tests.demo_support import BOTH, WS1, runs_path, sim_run, small_conduit
from tests.fakes import START_NS, FakeClock

URL = f"https://api.conduit.test/v1{runs_path()}"
TIMEOUTS = httpx.Timeout(connect=3.0, read=10.0, write=5.0, pool=5.0)

Talk = Callable[[httpx.AsyncClient], Awaitable[Any]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def conduit(clock: FakeClock) -> SimulatedConduit:
    return small_conduit(clock, sim_run())


def talk(conduit: SimulatedConduit, clock: FakeClock, say: Talk, **over: Any) -> Any:
    """Let `say` use a client of the simulation."""

    async def session() -> Any:
        transport = SimulatedTransport(conduit, clock=clock, rng=Random(1), **over)
        headers = {"Authorization": f"Bearer {BOTH}"}
        async with httpx.AsyncClient(
            transport=transport, headers=headers, timeout=TIMEOUTS
        ) as client:
            return await say(client)

    return asyncio.run(session())


def get_runs(client: httpx.AsyncClient) -> Awaitable[httpx.Response]:
    return client.get(URL)


def test_an_answer_is_an_answer(conduit: SimulatedConduit, clock: FakeClock) -> None:
    """Status, headers in any case, and a body of the length that is said."""
    response = talk(conduit, clock, get_runs)
    assert response.status_code == 200
    assert response.headers["Content-Length"] == str(len(response.content))
    assert response.json()["data"][0]["id"] == "ar77a"
    assert response.http_version == "HTTP/1.1"


def test_paths_and_queries_arrive_as_they_were_sent(
    conduit: SimulatedConduit, clock: FakeClock
) -> None:
    """Encoded characters stay inside their segment or value."""
    conduit.data.add_run(sim_run("ar/77 ?"))
    response = talk(conduit, clock, lambda client: client.get(f"{URL}/ar%2F77%20%3F"))
    assert response.json()["data"]["id"] == "ar/77 ?"
    query = {"workspace_id": WS1, "limit": "1", "cursor": "a&b=c"}
    assert talk(conduit, clock, lambda client: client.get(URL, params=query)).status_code == 400


def test_latency_is_half_before_and_half_after_the_answer_is_made(
    conduit: SimulatedConduit, clock: FakeClock
) -> None:
    """What happens in the first half is in the answer; the whole of it is waited for."""
    seen: list[int] = []

    def noted(request: SimRequest, truthful: Truthful) -> SimResponse:
        seen.append(request.now_ns)
        return truthful()

    conduit.faults.place(noted, when=faults.always)
    talk(conduit, clock, get_runs, latency_s=(2.0, 2.0))
    assert [(at - START_NS) / 1e9 for at in seen] == [1.0]
    assert sum(clock.slept) == 2.0


def test_a_delayed_answer_comes_within_the_timeout(
    conduit: SimulatedConduit, clock: FakeClock
) -> None:
    """Nine seconds are less than ten."""
    conduit.faults.place(faults.delayed(9.0), when=faults.always)
    assert talk(conduit, clock, get_runs).status_code == 200
    assert sum(clock.slept) == 9.0


def test_an_answer_that_is_too_late_serves_nobody(
    conduit: SimulatedConduit, clock: FakeClock
) -> None:
    """The client goes after its timeout; the run does not count as served."""
    conduit.faults.place(faults.delayed(60.0), when=faults.always)
    with pytest.raises(httpx.ReadTimeout):
        talk(conduit, clock, lambda client: client.get(f"{URL}/ar77a"))
    assert sum(clock.slept) == 10.0
    assert conduit.asked.runs_served.total() == 0
    assert conduit.asked.runs_asked == {"ar77a": 1}


@pytest.mark.parametrize(
    ("fault", "error", "waited_s"),
    [
        (faults.unreachable, httpx.ConnectError, 0.0),
        (faults.failing(Failure.CONNECT_ERROR), httpx.ConnectError, 0.0),
        (faults.failing(Failure.CONNECT_TIMEOUT), httpx.ConnectTimeout, 3.0),
        (faults.failing(Failure.READ_TIMEOUT), httpx.ReadTimeout, 10.0),
        (faults.failing(Failure.DISCONNECT), httpx.RemoteProtocolError, 0.0),
        (faults.truncated(), httpx.RemoteProtocolError, 0.0),
        (faults.truncated(0.5, Failure.READ_TIMEOUT), httpx.ReadTimeout, 10.0),
        (faults.wrong_content_length(3), httpx.RemoteProtocolError, 0.0),
    ],
)
def test_failures_are_httpx_own(
    conduit: SimulatedConduit,
    clock: FakeClock,
    fault: Fault,
    error: type[httpx.HTTPError],
    waited_s: float,
) -> None:
    """The same exception that a socket would raise, after as long as the timeout says."""
    conduit.faults.place(fault, when=faults.always)
    with pytest.raises(error) as caught:
        talk(conduit, clock, get_runs)
    assert caught.value.request.url == URL
    assert sum(clock.slept) == waited_s


def test_a_body_ends_where_its_length_says(conduit: SimulatedConduit, clock: FakeClock) -> None:
    """A length that is too small cuts the body, as a connection that is kept would."""
    whole = talk(conduit, clock, get_runs).content
    conduit.faults.place(faults.wrong_content_length(-7), when=faults.always)
    assert talk(conduit, clock, get_runs).content == whole[:-7]


def test_a_streamed_body_can_be_left_in_the_middle(
    conduit: SimulatedConduit, clock: FakeClock
) -> None:
    """A gigabyte costs nothing but what is read of it."""
    conduit.faults.place(faults.huge_json(), when=faults.always)

    async def read_some(client: httpx.AsyncClient) -> int:
        read = 0
        async with client.stream("GET", URL) as response:
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > 1 << 20:
                    break
        return read

    assert 1 << 20 < talk(conduit, clock, read_some) < 2 << 20


def test_packed_answers_are_unpacked_by_httpx(conduit: SimulatedConduit, clock: FakeClock) -> None:
    """The header and the body agree."""
    plain = talk(conduit, clock, get_runs).content
    conduit.faults.place(faults.gzipped, when=faults.always)
    assert talk(conduit, clock, get_runs).content == plain
