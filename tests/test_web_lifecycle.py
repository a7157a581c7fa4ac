"""How the server begins and ends: the addresses it takes, the answers it lets finish."""

import asyncio
import socket

import pytest

from exporter.web.connections import WebLimits
from exporter.web.listening import open_listeners
from tests.web_support import Client, Gate, ask, connected, running

SOON_S = 0.2


def has_ipv6() -> bool:
    """Whether this machine can listen on IPv6's loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def test_an_answer_under_way_is_finished_before_the_end() -> None:
    """The idle go at once, new ones find nobody, and the answer closes its connection."""

    async def scenario() -> tuple[bytes, bytes]:
        gate = Gate()
        async with (
            running(app=gate) as server,
            connected(server) as idle,
            connected(server) as busy,
        ):
            busy.request()
            await gate.asked.acquire()
            stopping = asyncio.create_task(server.stop())
            gone = await idle.rest()
            with pytest.raises(ConnectionError):
                await ask(server)
            assert not stopping.done()
            gate.opened.set()
            answer = await busy.rest()
            await stopping
            return gone, answer

    gone, answer = asyncio.run(scenario())
    assert gone == b""
    assert answer.endswith(b"\r\n\r\ndone")


def test_an_answer_that_does_not_end_is_cut_off_at_the_end() -> None:
    """Stopping takes no longer than the time to drain."""

    async def scenario() -> bytes:
        gate = Gate()
        limits = WebLimits(drain_s=SOON_S)
        async with running(limits=limits, app=gate) as server, connected(server) as client:
            client.request()
            await gate.asked.acquire()
            await server.stop()
            return await client.rest()

    assert asyncio.run(scenario()) == b""


def test_stopping_twice_is_stopping_once() -> None:
    """Also before anything was started."""

    async def scenario() -> None:
        async with running() as server:
            await server.stop()
            await server.stop()

    asyncio.run(scenario())


def test_every_address_of_a_name_has_the_same_port() -> None:
    """The one that was free on the first of them."""

    async def scenario() -> set[int]:
        listeners = await open_listeners("localhost", 0)
        try:
            return {one.getsockname()[1] for one in listeners}
        finally:
            for one in listeners:
                one.close()

    assert len(asyncio.run(scenario())) == 1


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        pytest.param("::1", "http://[::1]:", marks=needs_ipv6),
    ],
)
def test_the_url_is_the_real_one(host: str, url: str) -> None:
    """With the port that the system chose, and IPv6 in brackets."""

    async def scenario() -> str:
        async with running(host=host) as server:
            assert (await ask(server)).status == 200
            return server.url

    found = asyncio.run(scenario())
    assert found.startswith(url)
    assert not found.endswith(":0")


@needs_ipv6
def test_all_of_ipv6_takes_ipv4_as_well() -> None:
    """As servers in Go do with the same address."""

    async def scenario() -> int:
        async with running(host="::") as server:
            port = server.url.rpartition(":")[2]
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
            client = Client(reader, writer)
            try:
                return (await client.ask()).status
            finally:
                await client.close()

    assert asyncio.run(scenario()) == 200
