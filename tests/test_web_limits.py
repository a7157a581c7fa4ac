"""What clients may take: time, bytes and connections."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from exporter.web.connections import BACKLOG, WebLimits
from exporter.web.server import WebServer
from tests.web_support import (
    Answer,
    Client,
    Gate,
    address_of,
    ask,
    connected,
    running,
    small_window,
)

SOON_S = 0.2


def answers_to(*requests: bytes, limits: WebLimits | None = None, **parts: Any) -> bytes:
    """Everything that comes back on one connection until the server closes it."""

    async def scenario() -> bytes:
        async with running(limits=limits, **parts) as server, connected(server) as client:
            for request in requests:
                client.send(request)
                await client.writer.drain()
            return await client.rest()

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n", b"501 Not Implemented"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, b"431 Request Header Fields Too Large"),
        (b"GET /" + b"x" * 20_000, b"431 Request Header Fields Too Large"),
    ],
    ids=["words", "two hosts", "length", "coding", "TLS", "endless header", "endless target"],
)
def test_what_is_no_request_is_refused_and_closed(request_bytes: bytes, status: bytes) -> None:
    """With the status that fits, and nothing more."""
    head, _, body = answers_to(request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in head
    assert body == status.partition(b" ")[2] + b"\n"


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/metrics?" + "x" * 2041, {}, 414),
        ("/" + "x" * 2048, {}, 414),
        ("/metrics?" + "x" * 2040, {}, 200),
        ("/metrics", {"x": "x" * 15_900}, 200),
        ("/metrics", {f"x{number}": "x" * 190 for number in range(90)}, 431),
        ("/metrics", {"content_length": "5"}, 413),
        ("/metrics", {"content_length": "0"}, 200),
        ("/metrics", {"transfer_encoding": "chunked"}, 413),
    ],
    ids=[
        "query", "path", "longest", "largest header", "header", "body", "empty body", "chunks",
    ],
)  # fmt: skip
def test_a_request_has_a_size(target: str, headers: dict[str, str], status: int) -> None:
    """Each limit has its own status."""

    async def scenario() -> Answer:
        async with running() as server:
            return await ask(server, target, **headers)

    assert asyncio.run(scenario()).status == status


def test_a_whole_header_may_not_be_larger_either() -> None:
    """What arrives in one piece is never incomplete, and the parser lets it pass."""

    async def scenario() -> int:
        async with running(limits=WebLimits(header_bytes=500)) as server:
            return (await ask(server, x="x" * 500)).status

    assert asyncio.run(scenario()) == 431


def test_a_body_is_never_taken_for_a_request() -> None:
    """It is read past, not kept, and the connection goes on after it."""
    inner = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    size = 3_000_000

    async def scenario() -> tuple[Answer, Answer]:
        async with running() as server, connected(server) as client:
            client.request("/-/healthy", "POST", content_length=str(size))
            first = await client.answer()
            client.send(inner * (size // len(inner)) + b"x" * (size % len(inner)))
            await client.writer.drain()
            return first, await client.ask("/nothing")

    first, second = asyncio.run(scenario())
    assert first.status == 413
    assert second.status == 404


def test_a_body_that_is_none_ends_the_connection() -> None:
    """What follows it could be taken for a request; nothing is answered any more."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert answers_to(head + b"nonsense\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") == b""


def test_nobody_is_told_to_go_on_with_a_body() -> None:
    """Who asks first before sending it is refused without."""

    async def scenario() -> Answer:
        async with running() as server:
            return await ask(server, content_length="10", expect="100-continue")

    assert asyncio.run(scenario()).status == 413


@pytest.mark.parametrize("begun", [b"G", b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_a_header_that_trickles_in_is_cut_off(begun: bytes) -> None:
    """A deadline for the whole header, which more bytes do not move."""

    async def scenario() -> tuple[bytes, float]:
        limits = WebLimits(header_s=SOON_S)
        loop = asyncio.get_running_loop()
        async with running(limits=limits) as server, connected(server) as client:
            begin_s = loop.time()
            client.send(begun)
            reading = asyncio.create_task(client.rest())
            while not reading.done():
                client.send(b"x")
                await asyncio.wait({reading}, timeout=0.02)
            return await reading, loop.time() - begin_s

    received, took_s = asyncio.run(scenario())
    assert received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert SOON_S * 0.9 < took_s < SOON_S + 5


def test_a_silent_client_is_sent_away_without_a_word() -> None:
    """Whoever never asks is owed no answer."""
    assert answers_to(limits=WebLimits(header_s=SOON_S)) == b""


def test_a_later_header_has_the_same_deadline() -> None:
    """From its first byte on, on a connection that has been used."""

    async def scenario() -> tuple[Answer, bytes]:
        limits = WebLimits(header_s=SOON_S)
        async with running(limits=limits) as server, connected(server) as client:
            first = await client.ask()
            client.send(b"GET /")
            return first, await client.rest()

    first, rest = asyncio.run(scenario())
    assert first.status == 200
    assert rest.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed() -> None:
    """Later than a header's deadline, which does not run while nobody asks."""

    async def scenario() -> tuple[Answer, bytes, float]:
        limits = WebLimits(keep_alive_s=1, header_s=SOON_S)
        loop = asyncio.get_running_loop()
        async with running(limits=limits) as server, connected(server) as client:
            answer = await client.ask()
            idle_since = loop.time()
            rest = await client.rest()
            return answer, rest, loop.time() - idle_since

    answer, rest, idle_s = asyncio.run(scenario())
    assert (answer.status, rest) == (200, b"")
    assert idle_s > 0.9


def test_an_answer_that_was_taken_has_no_deadline_left() -> None:
    """A scraper that rests longer than an answer may take keeps its connection."""

    async def scenario() -> tuple[bool, int]:
        limits = WebLimits(response_s=SOON_S)
        async with running(limits=limits) as server, connected(server) as client:
            await client.ask()
            closed = asyncio.create_task(server.emptied())
            await asyncio.wait({closed}, timeout=2 * SOON_S)
            was_closed = closed.done()
            closed.cancel()
            return was_closed, (await client.ask()).status

    assert asyncio.run(scenario()) == (False, 200)


class Flood:
    """An application whose answer no kernel buffers; says how much of it was handed over."""

    size = 64 * 1024 * 1024

    def __init__(self) -> None:
        self.handed_over = 0
        self.begun = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", str(self.size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        piece = bytes(64 * 1024)
        while self.handed_over < self.size:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            self.handed_over += len(piece)
            self.begun.set()
        await send({"type": "http.response.body", "body": b""})


def test_a_slow_reader_is_cut_off_and_holds_little() -> None:
    """An answer waits for its reader piece by piece, and not for long."""

    async def scenario() -> tuple[int, bytes]:
        flood = Flood()
        limits = WebLimits(response_s=SOON_S)
        async with running(limits=limits, app=flood) as server:
            client = small_window()
            await asyncio.get_running_loop().sock_connect(client, address_of(server))
            async with of_socket(client) as reader:
                reader.request()
                await flood.begun.wait()
                await server.emptied()
                held = flood.handed_over
                return held, await reader.rest()

    held, received = asyncio.run(scenario())
    assert held < Flood.size / 4
    assert len(received) < Flood.size / 4


def test_a_patient_reader_gets_everything() -> None:
    """All of a large answer, within the time that there is."""

    async def scenario() -> int:
        async with running(app=Flood()) as server, connected(server) as client:
            return len((await client.ask()).body)

    assert asyncio.run(scenario()) == Flood.size


@pytest.fixture
def many_files() -> Iterator[None]:
    """A thousand clients and their server are in one process here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_silent_clients_do_not_keep_a_scraper_out() -> None:
    """Those that wait longest give way; never are there more connections than the limit."""

    async def scenario() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        async with running() as server:
            crowd = [socket.socket() for _ in range(1000)]
            try:
                for one in crowd:
                    one.setblocking(False)  # noqa: FBT003 - the library's signature
                    await loop.sock_connect(one, address_of(server))
                answer = await ask(server, "/metrics")
                return answer.status, server.connections
            finally:
                for one in crowd:
                    one.close()

    status, connections = asyncio.run(scenario())
    assert status == 200
    assert connections <= WebLimits().connections


@pytest.mark.usefixtures("many_files")
def test_a_thousand_scrapers_at_once_are_answered_or_sent_away() -> None:
    """Nobody hangs: a full answer, a 503 or a closed connection, and most get the answer."""

    async def scrape(server: WebServer) -> int:
        try:
            answer = await ask(server, "/metrics")
        except (ConnectionError, asyncio.IncompleteReadError):
            return 0
        assert answer.status == 503 or answer.body.endswith(b"\n")
        return answer.status

    async def scenario() -> list[int]:
        async with running() as server:
            return await asyncio.gather(*(scrape(server) for _ in range(1000)))

    statuses = asyncio.run(scenario())
    assert set(statuses) <= {0, 200, 503}
    assert statuses.count(200) >= 64


def test_a_request_that_is_there_already_is_answered() -> None:
    """However many connections wait to be accepted: none gives way before it was read."""

    async def scenario() -> list[bytes]:
        async with running() as server:
            # The kernel takes all of it before the server's loop runs again.
            crowd = [socket.create_connection(address_of(server)) for _ in range(BACKLOG)]
            for one in crowd:
                one.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            clients = [Client(*await asyncio.open_connection(sock=one)) for one in crowd]
            received = [await client.rest() for client in clients]
            for client in clients:
                await client.close()
            return received

    received = asyncio.run(scenario())
    assert len(received) > WebLimits().connections
    assert all(one.endswith(b"\r\n\r\nHealthy\n") for one in received)


def test_who_comes_when_all_are_busy_is_told_to_come_again() -> None:
    """An answer under way is never given up for a new client."""

    async def scenario() -> tuple[bytes, list[Answer]]:
        gate = Gate()
        async with (
            running(limits=WebLimits(connections=2), app=gate) as server,
            connected(server) as one,
            connected(server) as two,
        ):
            for client in (one, two):
                client.request()
                await gate.asked.acquire()
            async with connected(server) as third:
                refused = await third.rest()
            gate.opened.set()
            return refused, [await client.answer() for client in (one, two)]

    refused, answers = asyncio.run(scenario())
    assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert [one.body for one in answers] == [b"done", b"done"]


@asynccontextmanager
async def of_socket(connection: socket.socket) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection(sock=connection, limit=1024))
    try:
        yield client
    finally:
        await client.close()
