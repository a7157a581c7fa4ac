"""The HTTP/1.1 transport over real sockets: reuse, slots, framing, broken peers, memory, TLS."""

import asyncio
import gc
import hashlib
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, cast

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.http1 import transport as transport_module
from exporter.http1.connection import Connection
from exporter.http1.transport import Http1Transport
from tests.conduit_support import RawServer, http_answer, raw_server, self_signed, serving

LIMIT_S = 30
KIB = 1024
MIB = 1024 * KIB
ONE, TWO, THREE = (http_answer(body) for body in (b"one", b"two", b"three"))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


def _run(scenario: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await scenario

    asyncio.run(limited())


@asynccontextmanager
async def _transport(
    *, tls: ssl.SSLContext | None = None, max_connections: int = 8, keepalive_s: float = LIMIT_S
) -> AsyncIterator[Http1Transport]:
    transport = Http1Transport(tls=tls, max_connections=max_connections, keepalive_s=keepalive_s)
    try:
        yield transport
    finally:
        await transport.aclose()


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def _request(
    url: str,
    *headers: tuple[str, str],
    method: str = "GET",
    body: Sequence[bytes] = (),
    pool_s: float | None = LIMIT_S,
    connect_s: float | None = LIMIT_S,
) -> httpx.Request:
    parsed = httpx.URL(url)
    return httpx.Request(
        method,
        parsed,
        headers=[("host", parsed.netloc.decode()), *headers],
        stream=_Pieces(body),
        extensions={"timeout": {"pool": pool_s, "connect": connect_s}},
    )


def _post(url: str, *pieces: bytes, length: int | None = None) -> httpx.Request:
    announced = sum(map(len, pieces)) if length is None else length
    return _request(url, ("content-length", str(announced)), method="POST", body=pieces)


async def _read(response: httpx.Response) -> bytes:
    stream = cast("httpx.AsyncByteStream", response.stream)
    try:
        return b"".join([piece async for piece in stream])
    finally:
        await stream.aclose()


async def _exchange(transport: Http1Transport, request: httpx.Request) -> tuple[int, bytes]:
    response = await transport.handle_async_request(request)
    return response.status_code, await _read(response)


async def _get(transport: Http1Transport, url: str) -> bytes:
    status, body = await _exchange(transport, _request(url))
    assert status == 200
    return body


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.001)


def _idle(transport: Http1Transport) -> list[Connection]:
    return [connection for kept in transport._idle.values() for _, connection in kept]


def _busy(transport: Http1Transport) -> Connection:
    (connection,) = transport._busy
    return connection


async def _assert_free(transport: Http1Transport, url: str) -> None:
    """With room for one request, one gets through at once."""
    assert not transport._busy
    assert await _exchange(transport, _request(url, pool_s=0.0)) == (200, b"free")


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _reset(writer: asyncio.StreamWriter) -> None:
    """Hang up without a goodbye, as a crashed machine's kernel does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


class _Scripted:
    """A server whose first connection does what a test says; later ones answer `free`."""

    def __init__(
        self,
        first: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
    ) -> None:
        self._first = first
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.connections == 1:
            await self._first(reader, writer)
            return
        while True:
            await _head(reader)
            writer.write(http_answer(b"free"))


# Reuse


def _bodies(
    *answers: bytes, times: int, keepalive_s: float = LIMIT_S
) -> tuple[list[bytes], RawServer]:
    """What so many requests, one after the other, were answered, and what the server saw."""
    bodies: list[bytes] = []
    servers: list[RawServer] = []

    async def scenario() -> None:
        async with raw_server(*answers) as server, _transport(keepalive_s=keepalive_s) as transport:
            servers.append(server)
            bodies.extend([await _get(transport, server.url) for _ in range(times)])

    _run(scenario())
    return bodies, servers[0]


def test_a_connection_is_used_again() -> None:
    """Handshakes cost more than requests do."""
    bodies, server = _bodies(ONE, TWO, THREE, times=3)
    assert (bodies, server.connections) == ([b"one", b"two", b"three"], 1)


def test_a_connection_that_rested_too_long_is_not_used_again() -> None:
    """The server may be hanging up at that very moment."""
    # A moment that has passed already, whatever the clock says.
    bodies, server = _bodies(ONE, TWO, times=2, keepalive_s=-1.0)
    assert (bodies, server.connections) == ([b"one", b"two"], 2)


@pytest.mark.parametrize(
    "answer",
    [
        ONE + TWO,
        ONE + b"\r\n",
        http_answer(b"one", "Connection: close"),
        ONE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\none",
    ],
    ids=["a second answer", "an empty line", "close", "HTTP/1.0", "HTTP/1.0 that offers more"],
)
def test_what_follows_on_no_clean_end_is_a_new_connection(answer: bytes) -> None:
    """An answer that nobody asked for must not become the answer to the next question."""
    bodies, server = _bodies(answer, THREE, times=2)
    assert (bodies, server.connections) == ([b"one", b"three"], 2)


def test_the_connection_used_last_is_used_next() -> None:
    """So that those in excess grow old, and are given up."""
    events = [asyncio.Event(), asyncio.Event()]
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        number = connections
        while True:
            await _head(reader)
            await events[number - 1].wait()
            writer.write(http_answer(b"%d" % number))

    async def scenario() -> None:
        async with serving(serve) as url, _transport() as transport:
            first = asyncio.create_task(_get(transport, url))
            await _until(lambda: connections == 1)
            second = asyncio.create_task(_get(transport, url))
            await _until(lambda: connections == 2)
            events[1].set()
            assert await second == b"2"
            events[0].set()
            assert await first == b"1"
            assert [await _get(transport, url) for _ in range(3)] == [b"1"] * 3
            assert len(_idle(transport)) == 2

    _run(scenario())


def test_two_origins_share_no_connection() -> None:
    """A request, and its secrets, go to the server that they are for."""

    async def scenario() -> None:
        async with (
            raw_server(ONE, ONE) as one,
            raw_server(TWO, TWO) as two,
            _transport(max_connections=1) as transport,
        ):
            for _ in range(2):
                assert await _get(transport, one.url) == b"one"
                assert await _get(transport, two.url) == b"two"
            assert (one.connections, two.connections) == (1, 1)

    _run(scenario())


@pytest.mark.parametrize("how", ["closed", "reset", "spoken on"])
def test_a_resting_connection_that_stirs_is_given_up(how: str) -> None:
    """The server hung up, or says something that nobody asked for."""
    stir = asyncio.Event()

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(ONE)
        await stir.wait()
        if how == "reset":
            _reset(writer)
        elif how == "spoken on":
            writer.write(TWO)
            await reader.read()

    async def scenario() -> None:
        async with serving(_Scripted(first)) as url, _transport(max_connections=1) as transport:
            assert await _get(transport, url) == b"one"
            (resting,) = _idle(transport)
            stir.set()
            await _until(lambda: not resting.is_quiet())
            await _assert_free(transport, url)

    _run(scenario())


def test_what_came_while_the_loop_was_busy_is_not_the_next_answer() -> None:
    """The kernel knows already what asyncio has not read yet."""
    writers: list[asyncio.StreamWriter] = []

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await _head(reader)
        writer.write(ONE)
        await reader.read()

    async def scenario() -> None:
        async with serving(_Scripted(first)) as url, _transport() as transport:
            assert await _get(transport, url) == b"one"
            writers[0].write(TWO)
            assert await _get(transport, url) == b"free"

    _run(scenario())


def test_a_server_that_hung_up_while_the_loop_was_busy_costs_no_request() -> None:
    """As after any long piece of work that is not asynchronous."""
    writers: list[asyncio.StreamWriter] = []

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await _head(reader)
        writer.write(ONE)
        await reader.read()

    async def scenario() -> None:
        async with serving(_Scripted(first)) as url, _transport() as transport:
            assert await _get(transport, url) == b"one"
            writers[0].write_eof()
            assert await _get(transport, url) == b"free"

    _run(scenario())


def test_an_answer_read_late_leaves_a_connection_that_listens() -> None:
    """It was too much to be read at once; at rest, its socket must be watched again."""
    stir = asyncio.Event()

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(http_answer(b"x" * 300 * KIB))
        await stir.wait()

    async def scenario() -> None:
        async with serving(_Scripted(first)) as url, _transport() as transport:
            response = await transport.handle_async_request(_request(url))
            connection = _busy(transport)
            await _until(lambda: len(connection._h11.trailing_data[0]) == 300 * KIB)
            assert len(await _read(response)) == 300 * KIB
            (resting,) = _idle(transport)
            listens = cast("asyncio.Transport", resting._transport).is_reading()
            stir.set()
            assert listens
            await _until(lambda: not resting.is_quiet())
            assert await _get(transport, url) == b"free"

    _run(scenario())


def test_an_answer_not_read_to_its_end_costs_the_connection() -> None:
    """The rest of it would be taken for the next answer."""

    async def scenario() -> None:
        async with (
            raw_server(ONE, http_answer(b"free"), hold_open=True) as server,
            _transport(max_connections=1) as transport,
        ):
            response = await transport.handle_async_request(_request(server.url))
            await response.aclose()
            await response.aclose()
            assert not _idle(transport)
            await _assert_free(transport, server.url)
            assert server.connections == 2

    _run(scenario())


# Slots


def test_no_more_requests_than_connections() -> None:
    """The next waits, or gives up when its time for waiting is over."""
    going_on = asyncio.Event()
    heads = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heads
        while True:
            await _head(reader)
            heads += 1
            await going_on.wait()
            writer.write(ONE)

    async def scenario() -> None:
        async with serving(serve) as url, _transport(max_connections=2) as transport:
            tasks = [asyncio.create_task(_get(transport, url)) for _ in range(6)]
            await _until(lambda: heads == 2)
            with pytest.raises(httpx.PoolTimeout):
                await transport.handle_async_request(_request(url, pool_s=0.01))
            assert (heads, len(transport._busy)) == (2, 2)
            going_on.set()
            assert await asyncio.gather(*tasks) == [b"one"] * 6
            assert transport._turns._value == 2

    _run(scenario())


def test_a_request_cancelled_while_it_waits_for_its_turn_leaves_the_queue() -> None:
    """Also where the turn was just given to it."""
    going_on = asyncio.Event()

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        await going_on.wait()
        writer.write(ONE)

    async def scenario() -> None:
        async with serving(_Scripted(first)) as url, _transport(max_connections=1) as transport:
            holder = asyncio.create_task(transport.handle_async_request(_request(url)))
            await _until(lambda: bool(transport._busy))
            waiting = [asyncio.create_task(_get(transport, url)) for _ in range(2)]
            await asyncio.sleep(0)
            await _cancelled(waiting[0])
            going_on.set()
            response = await holder
            await response.aclose()
            await _cancelled(waiting[1])
            await _assert_free(transport, url)

    _run(scenario())


@pytest.mark.parametrize("stage", ["sending", "before the answer", "in the head", "in the body"])
def test_a_request_cancelled_under_way_frees_its_slot(stage: str) -> None:
    """The caller's deadline can strike at any moment."""
    said = {"in the head": b"HTTP/1.1 200 OK\r\n", "in the body": UNTIL_CLOSE + b"begin"}
    reached, over = asyncio.Event(), asyncio.Event()

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(said.get(stage, b""))
        reached.set()
        await over.wait()

    async def scenario() -> None:
        async with serving(_Scripted(first)) as url, _transport(max_connections=1) as transport:
            body = [b"x" * MIB] * (32 if stage == "sending" else 0)
            task = asyncio.create_task(_exchange(transport, _post(url, *body)))
            await reached.wait()
            if stage == "sending":
                await _until(lambda: _busy(transport)._is_full)
            else:
                await asyncio.sleep(0.005)
            await _cancelled(task)
            over.set()
            await _assert_free(transport, url)

    _run(scenario())


def test_a_request_cancelled_while_it_connects_frees_its_slot() -> None:
    """Here while the TLS handshake waits for an answer."""
    greeted = asyncio.Event()
    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        greeted.set()
        await reader.read()
        left.set()

    async def scenario() -> None:
        async with (
            serving(silent) as mute,
            raw_server(http_answer(b"free")) as server,
            _transport(tls=ssl.create_default_context(), max_connections=1) as transport,
        ):
            request = _request(mute.replace("http:", "https:"))
            task = asyncio.create_task(transport.handle_async_request(request))
            await greeted.wait()
            await _cancelled(task)
            await _assert_free(transport, server.url)
            await left.wait()

    _run(scenario())


def test_a_request_cancelled_at_any_step_frees_its_slot() -> None:
    """Its own or, where it was only waiting, the one that it was about to get."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await _head(reader):
            await reader.readexactly(10 * KIB)
            writer.write(http_answer(b"x" * 300 * KIB))
            await writer.drain()

    async def scenario() -> None:
        async with serving(serve) as url, _transport(max_connections=1) as transport:
            for step in range(200):
                for connection in _idle(transport) if step % 4 < 2 else ():
                    connection.drop()
                requests = [_post(url, b"x" * 10 * KIB) for _ in range(2)]
                tasks = [asyncio.create_task(_exchange(transport, one)) for one in requests]
                for _ in range(step // 4):
                    await asyncio.sleep(0)
                tasks[step % 2].cancel()
                await asyncio.wait(tasks)
                for task in tasks:
                    assert task.cancelled() or task.result() == (200, b"x" * 300 * KIB)
                assert not transport._busy
                assert transport._turns._value == 1
            # asyncio's race of addresses may leave a socket behind when it is cancelled.
            gc.collect()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        _run(scenario())


def test_connecting_has_its_own_deadline() -> None:
    """A handshake that is not answered; the slot is free afterwards."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def scenario() -> None:
        async with (
            serving(silent) as mute,
            raw_server(http_answer(b"free")) as server,
            _transport(tls=ssl.create_default_context(), max_connections=1) as transport,
        ):
            request = _request(mute.replace("http:", "https:"), connect_s=0.05)
            with pytest.raises(httpx.ConnectTimeout):
                await transport.handle_async_request(request)
            await _assert_free(transport, server.url)

    _run(scenario())


# Connecting


def _refused(url: str, kind: type[Exception], *, tls: ssl.SSLContext | None = None) -> None:
    async def scenario() -> None:
        async with (
            raw_server(http_answer(b"free")) as server,
            _transport(tls=tls, max_connections=1) as transport,
        ):
            with pytest.raises(kind):
                await transport.handle_async_request(_request(url))
            await _assert_free(transport, server.url)

    _run(scenario())


@pytest.mark.parametrize(
    "url",
    ["http://conduit.invalid/", "http://a..b/", f"http://{'a' * 64}.test/", "http://.leading/"],
    ids=["unknown", "empty label", "long label", "leading dot"],
)
def test_a_name_that_leads_nowhere_is_a_connect_error(url: str) -> None:
    """Unknown, or none that DNS could know."""
    _refused(url, httpx.ConnectError)


def test_a_closed_port_is_a_connect_error() -> None:
    """The server is away."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    _refused(f"http://127.0.0.1:{port}/", httpx.ConnectError)


def test_a_server_without_tls_is_a_connect_error() -> None:
    """It answers a handshake with something else."""

    async def scenario() -> None:
        async with (
            raw_server() as server,
            _transport(tls=ssl.create_default_context()) as transport,
        ):
            with pytest.raises(httpx.ConnectError):
                await _get(transport, server.url.replace("http:", "https:"))

    _run(scenario())


def test_https_needs_tls() -> None:
    """Nothing is sent in the clear that was to be secret."""
    _refused("https://127.0.0.1/", httpx.UnsupportedProtocol)


def test_other_schemes_are_not_spoken() -> None:
    """Whatever settings they come from."""
    _refused("ftp://127.0.0.1/", httpx.UnsupportedProtocol)


def test_the_name_connected_to_is_the_one_in_the_url() -> None:
    """IDNA's two editions disagree: one makes fass.de of this name, another owner's domain."""
    hosts: list[str] = []

    async def connect(_: object, host: str, *__: object, **___: object) -> NoReturn:
        hosts.append(host)
        raise OSError("not connected in this test")

    async def scenario() -> None:
        async with _transport() as transport:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(asyncio.get_running_loop(), "create_connection", connect)
                with pytest.raises(httpx.ConnectError):
                    await _get(transport, "http://xn--fa-hia.de/")

    _run(scenario())
    assert [host.encode("idna") for host in hosts] == [b"xn--fa-hia.de"]


# Answers


def _answered(*answers: bytes, request: httpx.Request | None = None) -> tuple[int, bytes]:
    """The status and the body that a request gets; the server hangs up after the last answer."""
    got: list[tuple[int, bytes]] = []

    async def scenario() -> None:
        async with raw_server(*answers) as server, _transport() as transport:
            sent = request or _request(server.url)
            sent.url = httpx.URL(server.url)
            try:
                got.append(await _exchange(transport, sent))
            finally:
                assert not transport._busy
                assert transport._turns._value == 8

    _run(scenario())
    return got[0]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + ONE, b"one"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil close", b"until close"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none, and more", b"one"),
        (UNTIL_CLOSE + b"until close", b"until close"),
        (UNTIL_CLOSE, b""),
        (
            CHUNKED + b"3;ext=1\r\none\r\n4\r\n two\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
            b"one two",
        ),
        (http_answer(b""), b""),
    ],
    ids=["informational", "1.0 until close", "1.0", "until close", "empty", "chunked", "length 0"],
)
def test_a_body_is_read_however_it_is_framed(answer: bytes, expected: bytes) -> None:
    """With a length, in chunks with trailers, or until the server hangs up."""
    assert _answered(answer) == (200, expected)


def test_a_chunked_answer_with_trailers_leaves_the_connection_fit_for_use() -> None:
    """The trailers belong to it, and are read."""
    chunked = CHUNKED + b"3\r\none\r\n0\r\nX-Sum: 1\r\n\r\n"
    bodies, server = _bodies(chunked, TWO, times=2)
    assert (bodies, server.connections) == ([b"one", b"two"], 1)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"),
    ],
)
def test_an_answer_without_a_body_is_whole(method: str, answer: bytes) -> None:
    """Whatever length it tells of."""
    request = _request("http://127.0.0.1/", method=method)
    assert _answered(answer, request=request)[1] == b""


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200", "closed"),
        (http_answer(b"on", "Content-Length: 3"), "without sending complete message body"),
        (CHUNKED + b"3\r\non", "incomplete chunked"),
        (CHUNKED + b"0\r\nX-Sum:", "closed connection"),
        (CHUNKED + b"no\r\n", "illegal chunk header"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "chunked is supported"),
        (http_answer(b"one", "Content-Length: 3", "Content-Length: 2"), "conflicting"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 65 * KIB, "too long"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\0\0\0", "SWITCH_UPGRADE"),
        (b"HTTP/1.1 099 What\r\n\r\n", "status_code"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "illegal status line|without|closed|illegal request"),
        (b"\x16\x03\x01\x02", "illegal"),
    ],
)
def test_what_breaks_http_is_a_remote_protocol_error(answer: bytes, problem: str) -> None:
    """Cut short, too long, or not HTTP; never taken for an answer."""
    with pytest.raises(httpx.RemoteProtocolError, match=problem):
        _answered(answer)


def test_a_switch_of_protocols_is_refused_even_where_the_request_allows_it() -> None:
    """Nothing here could speak the other one."""
    request = _request("http://127.0.0.1/", ("upgrade", "h2c"), ("connection", "upgrade"))
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    with pytest.raises(httpx.RemoteProtocolError, match="protocol nobody asked for"):
        _answered(answer, request=request)


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200", UNTIL_CLOSE, UNTIL_CLOSE + b"begin", ONE[:-1]]
)
def test_a_reset_is_a_read_error(said: bytes) -> None:
    """A body that lasts until the connection closes is not whole when the connection breaks."""

    async def scenario() -> None:
        reset = asyncio.Event()

        async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _head(reader)
            writer.write(said)
            await reset.wait()
            _reset(writer)

        async with serving(_Scripted(first)) as url, _transport(max_connections=1) as transport:
            task = asyncio.create_task(_get(transport, url))
            await _until(lambda: bool(transport._busy))
            await asyncio.sleep(0.005)
            reset.set()
            with pytest.raises(httpx.ReadError):
                await task
            await _assert_free(transport, url)

    _run(scenario())


# Memory and large bodies


def test_an_answer_that_nobody_reads_does_not_pile_up() -> None:
    """The server is held back; once read, the answer is whole."""
    body = b"".join(b"%015d\n" % number for number in range(20 * MIB // 16))
    sent = 0

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await _head(reader)
        writer.write(http_answer(b"", f"Content-Length: {len(body)}"))
        for start in range(0, len(body), 64 * KIB):
            writer.write(body[start : start + 64 * KIB])
            await writer.drain()
            sent = start

    async def scenario() -> None:
        async with serving(_Scripted(first)) as url, _transport() as transport:
            response = await transport.handle_async_request(_request(url))
            connection = _busy(transport)
            carrier = cast("asyncio.Transport", connection._transport)
            await _until(lambda: not carrier.is_reading())
            before = -1
            while before != sent:
                before = sent
                for _ in range(20):
                    await asyncio.sleep(0.001)
            # What was unread and what one more read brought; a read is at most 256 KiB.
            assert len(connection._h11.trailing_data[0]) <= 512 * KIB
            assert sent < len(body) // 2
            assert await _read(response) == body

    _run(scenario())


def test_a_large_request_arrives_whole_at_a_slow_server() -> None:
    """What the socket does not take waits, and is sent when there is room."""
    body = [b"%015d\n" % number * (MIB // 16) for number in range(16)]
    digest = hashlib.sha256(b"".join(body)).hexdigest()
    reading = asyncio.Event()

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        await reading.wait()
        received = hashlib.sha256()
        left = 16 * MIB
        while left:
            piece = await reader.read(50_000)
            received.update(piece)
            left -= len(piece)
            await asyncio.sleep(0)
        writer.write(http_answer(received.hexdigest().encode()))

    async def scenario() -> None:
        async with serving(_Scripted(first)) as url, _transport() as transport:
            task = asyncio.create_task(_exchange(transport, _post(url, *body)))
            await _until(lambda: bool(transport._busy) and _busy(transport)._is_full)
            reading.set()
            assert await task == (200, digest.encode())

    _run(scenario())


@pytest.mark.parametrize("goodbye", ["reset", "end"])
@pytest.mark.parametrize("pieces", [1, 8])
def test_an_answer_before_all_was_sent_is_what_the_caller_sees(pieces: int, goodbye: str) -> None:
    """A request that is too large gets 413 and a dead line; that there was a 413 matters."""
    refusal = http_answer(b"too large", "Connection: close", status="413 Too Large")
    over = asyncio.Event()
    transports: list[Http1Transport] = []

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(refusal)
        await _until(lambda: _busy(transports[0])._unread_bytes == len(refusal))
        if goodbye == "reset":
            _reset(writer)
        else:
            writer.write_eof()
            await over.wait()

    async def scenario() -> None:
        async with serving(_Scripted(first)) as url, _transport(max_connections=1) as transport:
            transports.append(transport)
            request = _post(url, *[b"x" * (32 * MIB // pieces)] * pieces)
            answer = await _exchange(transport, request)
            over.set()
            assert answer == (413, b"too large")
            await _assert_free(transport, url)

    _run(scenario())


def test_a_broken_connection_that_said_nothing_is_a_write_error() -> None:
    """It is known then that there is no answer to wait for."""

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        _reset(writer)

    async def scenario() -> None:
        async with serving(_Scripted(first)) as url, _transport(max_connections=1) as transport:
            with pytest.raises(httpx.WriteError):
                await _exchange(transport, _post(url, *[b"x" * MIB] * 32))
            await _assert_free(transport, url)

    _run(scenario())


@pytest.mark.parametrize("length", [2, 4])
def test_a_request_that_frames_its_body_wrong_is_not_sent_to_its_end(length: int) -> None:
    """The rest would be taken for another request."""

    async def scenario() -> None:
        async with (
            raw_server(http_answer(b"free"), hold_open=True) as server,
            _transport(max_connections=1) as transport,
        ):
            with pytest.raises(httpx.LocalProtocolError):
                await _exchange(transport, _post(server.url, b"one", length=length))
            await _until(lambda: server.connections == 1)
            assert not _idle(transport)
            assert not transport._busy
            assert transport._turns._value == 1

    _run(scenario())


@pytest.mark.parametrize("header", [("x", "a\r\nb: c"), ("bad name", "x"), ("x", "\0")])
def test_a_header_that_http_forbids_is_not_sent(header: tuple[str, str]) -> None:
    """It would be taken for two."""
    with pytest.raises(httpx.LocalProtocolError):
        _answered(ONE, request=_request("http://127.0.0.1/", header))


# Closing


@pytest.mark.parametrize("stage", ["turn", "sending", "answer", "body"])
def test_requests_under_way_fail_when_the_transport_closes(stage: str) -> None:
    """None hangs, and none is answered from a connection that is gone."""
    over = asyncio.Event()

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        if stage == "body":
            writer.write(UNTIL_CLOSE + b"begin")
        await over.wait()

    async def scenario() -> None:
        async with serving(_Scripted(first)) as url, _transport(max_connections=1) as transport:
            body = [b"x" * MIB] * (32 if stage == "sending" else 0)
            tasks = [asyncio.create_task(_exchange(transport, _post(url, *body)))]
            await _until(lambda: bool(transport._busy))
            if stage == "sending":
                await _until(lambda: _busy(transport)._is_full)
            if stage == "turn":
                tasks.append(asyncio.create_task(_exchange(transport, _post(url))))
            await asyncio.sleep(0.005)
            await transport.aclose()
            for failed in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(failed, httpx.NetworkError)
            with pytest.raises(httpx.ConnectError, match="closed"):
                await _get(transport, url)
            assert not transport._busy
            assert transport._turns._value == 1
            over.set()

    _run(scenario())


def test_a_request_that_is_connecting_fails_when_the_transport_closes() -> None:
    """Nothing leaves once it is closed."""

    async def scenario() -> None:
        async with raw_server(ONE) as server, _transport() as transport:
            loop = asyncio.get_running_loop()
            connect = loop.create_connection
            begun, go_on = asyncio.Event(), asyncio.Event()

            async def slowly(*what: Any, **more: Any) -> Any:
                begun.set()
                await go_on.wait()
                return await connect(*what, **more)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(loop, "create_connection", slowly)
                task = asyncio.create_task(_get(transport, server.url))
                await begun.wait()
                await transport.aclose()
                go_on.set()
                with pytest.raises(httpx.ConnectError):
                    await task

    _run(scenario())


def test_closing_twice_is_closing() -> None:
    """Whoever comes second finds nothing to do."""

    async def scenario() -> None:
        async with raw_server(ONE, hold_open=True) as server, _transport() as transport:
            assert await _get(transport, server.url) == b"one"
            await transport.aclose()
            await transport.aclose()

    _run(scenario())


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key in the same file."""
    return self_signed(tmp_path_factory.mktemp("tls"))


def _server_tls(certificate: Path) -> ssl.SSLContext:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    return tls


def _client_tls(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@asynccontextmanager
async def _tls_thread(
    certificate: Path, serve: Callable[[ssl.SSLSocket], None]
) -> AsyncIterator[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]:
    """Serve one connection with blocking calls, which show how the other side says goodbye."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(LIMIT_S)

        def accept() -> None:
            connection, _ = listening.accept()
            connection.settimeout(LIMIT_S)
            with _server_tls(certificate).wrap_socket(
                connection, server_side=True, suppress_ragged_eofs=False
            ) as secure:
                serve(secure)

        served = asyncio.create_task(asyncio.to_thread(accept))

        async def over() -> None:
            await served

        try:
            yield f"https://127.0.0.1:{listening.getsockname()[1]}", over
        finally:
            await served


def _blocking_head(secure: ssl.SSLSocket) -> None:
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += secure.recv(4096)


def test_http_1_1_is_what_a_handshake_announces(certificate: Path) -> None:
    """A server that could speak HTTP/2 must not begin to."""
    chosen: list[str | None] = []
    tls = _server_tls(certificate)
    tls.set_alpn_protocols(["h2", "http/1.1"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await _head(reader)
        writer.write(ONE)
        await reader.read()

    async def scenario() -> None:
        async with (
            serving(serve, tls=tls) as url,
            _transport(tls=_client_tls(certificate)) as transport,
        ):
            assert await _get(transport, url) == b"one"

    _run(scenario())
    assert chosen == ["http/1.1"]


def test_closing_takes_leave_of_a_tls_server(certificate: Path) -> None:
    """Else its log has an error for every restart of this program."""
    goodbyes: list[bytes] = []

    def serve(secure: ssl.SSLSocket) -> None:
        _blocking_head(secure)
        secure.sendall(ONE)
        goodbyes.append(secure.recv(1))  # raises where there is none
        with suppress(OSError):
            secure.unwrap()

    async def scenario() -> None:
        async with _tls_thread(certificate, serve) as (url, over):
            async with _transport(tls=_client_tls(certificate)) as transport:
                assert await _get(transport, url) == b"one"
                assert len(_idle(transport)) == 1
            await over()

    _run(scenario())
    assert goodbyes == [b""]


def test_closing_does_not_wait_for_a_server_that_takes_no_leave(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends before the server does, which is told to end only afterwards."""
    monkeypatch.setattr(transport_module, "_FAREWELL_S", 0.05)
    closed = threading.Event()

    def serve(secure: ssl.SSLSocket) -> None:
        _blocking_head(secure)
        secure.sendall(ONE)
        assert closed.wait(LIMIT_S)

    async def scenario() -> None:
        async with _tls_thread(certificate, serve) as (url, over):
            async with _transport(tls=_client_tls(certificate)) as transport:
                assert await _get(transport, url) == b"one"
            closed.set()
            await over()

    _run(scenario())


def test_a_tls_server_that_took_leave_costs_no_request(certificate: Path) -> None:
    """Its connection is not used again."""
    stir = asyncio.Event()

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(ONE)
        await stir.wait()

    async def scenario() -> None:
        async with (
            serving(_Scripted(first), tls=_server_tls(certificate)) as url,
            _transport(tls=_client_tls(certificate), max_connections=1) as transport,
        ):
            assert await _get(transport, url) == b"one"
            (resting,) = _idle(transport)
            stir.set()
            await _until(lambda: not resting.is_quiet())
            await _assert_free(transport, url)

    _run(scenario())


@pytest.mark.parametrize("framing", ["length", "until close"])
def test_a_large_answer_over_tls_waits_and_arrives_whole(certificate: Path, framing: str) -> None:
    """Paused and resumed, also where the server hung up long before it was all read."""
    body = b"".join(b"%015d\n" % number for number in range(4 * MIB // 16))
    head = (
        UNTIL_CLOSE if framing == "until close" else http_answer(b"", f"Content-Length: {4 * MIB}")
    )

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(head + body)

    async def scenario() -> None:
        async with (
            serving(_Scripted(first), tls=_server_tls(certificate)) as url,
            _transport(tls=_client_tls(certificate), max_connections=1) as transport,
        ):
            response = await transport.handle_async_request(_request(url))
            carrier = cast("asyncio.Transport", _busy(transport)._transport)
            await _until(lambda: not carrier.is_reading())
            assert len(_busy(transport)._h11.trailing_data[0]) <= 512 * KIB
            pieces = []
            stream = cast("httpx.AsyncByteStream", response.stream)
            async for piece in stream:
                pieces.append(piece)
                await asyncio.sleep(0.001)
            await stream.aclose()
            assert b"".join(pieces) == body
            await _assert_free(transport, url)

    _run(scenario())


def test_a_body_that_lasts_until_the_close_may_end_without_the_leave_that_tls_prescribes(
    certificate: Path,
) -> None:
    """Many servers leave it out; that a body was cut on the way shows when it is parsed."""

    def serve(secure: ssl.SSLSocket) -> None:
        _blocking_head(secure)
        secure.sendall(UNTIL_CLOSE + b"begin")
        # Closing the socket alone sends FIN but no close_notify.

    async def scenario() -> None:
        async with (
            _tls_thread(certificate, serve) as (url, _),
            _transport(tls=_client_tls(certificate)) as transport,
        ):
            assert await _get(transport, url) == b"begin"

    _run(scenario())


# Any way in which the network cuts a stream of bytes


class _Wire(asyncio.Transport):
    """Stands for a socket: takes what is written, and says what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False
        self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def abort(self) -> None:
        self.aborted = True


Outcome = tuple[int, list[tuple[bytes, bytes]], bytes, bool]


async def _heard(segments: Sequence[bytes], *, ends: bool, at_once: bool) -> Outcome:
    """What a connection makes of an answer that comes in these segments."""
    connection = Connection()
    wire = _Wire()
    connection.connection_made(wire)
    await connection.send(_request("http://conduit.test/"))
    assert wire.written.startswith(b"GET / HTTP/1.1\r\n")

    async def read() -> Outcome:
        head = await connection.response()
        body = b""
        while (data := await connection.data()) is not None:
            body += data
        return head.status_code, list(head.headers), body, connection.finish()

    reading = asyncio.create_task(read())
    for segment in segments:
        connection.data_received(segment)
        if not at_once:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    if ends:
        connection.eof_received()
        connection.connection_lost(None)
    try:
        return await reading
    finally:
        assert not wire.paused


VALID = [
    (http_answer(b"a body\r\n\r\nwith lines", "X-One: 1", "X-Two: 2"), False),
    (http_answer(b"", status="404 Not Found"), False),
    (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ONE,
        False,
    ),
    (CHUNKED + b"5;a=b\r\none\r\n\r\n1\r\nx\r\n000\r\nX-Sum: 1\r\n\r\n", False),
    (UNTIL_CLOSE + b"until the connection closes", True),
    (b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nuntil the connection closes", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", False),
]


@st.composite
def _cuts(draw: st.DrawFn) -> tuple[bytes, bool, list[bytes]]:
    answer, ends = draw(st.sampled_from(VALID))
    at = sorted(draw(st.sets(st.integers(1, len(answer) - 1), max_size=40)))
    bounds = [0, *at, len(answer)]
    return answer, ends, [answer[a:b] for a, b in pairwise(bounds)]


@given(cut=_cuts(), at_once=st.booleans())
@settings(deadline=None)
def test_the_network_may_cut_an_answer_anywhere(
    cut: tuple[bytes, bool, list[bytes]], *, at_once: bool
) -> None:
    """Segments are nothing that HTTP knows of."""
    answer, ends, segments = cut

    async def scenario() -> None:
        whole = await _heard([answer], ends=ends, at_once=True)
        assert await _heard(segments, ends=ends, at_once=at_once) == whole
        assert whole[-1] is not ends

    _run(scenario())


@given(
    answer=st.sampled_from(VALID).map(lambda pair: pair[0]) | st.binary(max_size=50),
    at=st.integers(0, 200),
    noise=st.binary(max_size=8),
    cut=st.integers(0, 250),
)
@settings(deadline=None)
def test_whatever_a_server_writes_is_an_answer_or_a_protocol_error(
    answer: bytes, at: int, noise: bytes, cut: int
) -> None:
    """No other exception gets out, and nothing waits once the server has hung up."""
    damaged = answer[:at] + noise + answer[at + len(noise) :]

    async def scenario() -> None:
        segments = [part for part in (damaged[:cut], damaged[cut:]) if part]
        with suppress(httpx.RemoteProtocolError):
            await _heard(segments, ends=True, at_once=False)

    _run(scenario())
