"""HTTP over real sockets: ends, bounds, closed connections, TLS files, proxies."""

import asyncio
import gzip
import inspect
import ssl
import tracemalloc
import zlib
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from typing import Any, TypeVar

import httpx
import pytest

from exporter.errors import HttpError, HttpNoAnswer, HttpUnreachable
from exporter.http_client import HttpAnswer, HttpClient, TlsFiles
from tests.conduit_support import http_answer, serving
from tests.delivery_support import DROP, Backend, Certificates, backend

T = TypeVar("T")

MIB = 1024 * 1024
BODY = b'{"data": []}'
OK = http_answer(BODY)


def _run(scenario: Coroutine[Any, Any, T]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(30):
            return await scenario

    return asyncio.run(limited())


def _client(**over: Any) -> HttpClient:
    return HttpClient(**{"timeout_s": 10, "max_connections": 4, **over})


async def _get(client: HttpClient, url: str, **over: Any) -> HttpAnswer:
    return await client.request("GET", url, **{"max_body_bytes": MIB, **over})


def _ask(
    answer: bytes, *, then: bytes | None = DROP, timeout_s: float = 10, **over: Any
) -> tuple[HttpAnswer, Backend]:
    """Ask once; the answer, and what the server saw."""

    async def scenario() -> tuple[HttpAnswer, Backend]:
        async with backend(answer, then=then) as server:
            client = _client(timeout_s=timeout_s)
            try:
                return await _get(client, server.url, **over), server
            finally:
                await client.aclose()

    return _run(scenario())


def _gzip(body: bytes, *headers: str) -> bytes:
    return http_answer(body, "Content-Encoding: gzip", *headers)


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(BODY, "Content-Encoding: identity"),
        _gzip(gzip.compress(BODY)),
        http_answer(gzip.compress(BODY), "Content-Encoding: X-GZIP"),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"1\r\n%c\r\n" % one for one in BODY)
        + b"0\r\nX-Sum: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
        + b"".join(
            b"1\r\n%c\r\n" % one for one in gzip.compress(BODY[:5]) + gzip.compress(BODY[5:])
        )
        + b"0\r\n\r\n",
        _gzip(gzip.compress(BODY[:5]) + gzip.compress(BODY[5:])),
        _gzip(gzip.compress(BODY) + gzip.compress(b"")),
        _gzip(gzip.compress(BODY) + bytes(1000)),
        _gzip(gzip.compress(BODY[:5]) + bytes(9) + gzip.compress(BODY[5:]) + bytes(9)),
    ],
    ids=[
        *("identity", "gzip", "x-gzip", "until close", "chunked", "members in chunks of a byte"),
        *("two members", "an empty last member", "zero padding", "padding between members"),
    ],
)
def test_a_body_is_read_however_it_is_framed_and_compressed(answer: bytes) -> None:
    """With a length, in chunks, or until the server closes; gzip of several members."""
    found, _ = _ask(answer)
    assert (found.status, found.body, found.problem) == (200, BODY, None)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (_gzip(gzip.compress(BODY)[:-9]), "gzip encoding was cut short"),
        (_gzip(gzip.compress(BODY) + gzip.compress(BODY)[:9]), "gzip encoding was cut short"),
        (_gzip(BODY), "gzip encoding is damaged"),
        (_gzip(gzip.compress(BODY)[:-5] + b"xxxxx"), "gzip encoding is damaged"),
        (_gzip(gzip.compress(BODY) + b"more"), "gzip encoding is damaged"),
        (http_answer(zlib.compress(BODY), "Content-Encoding: deflate"), "not asked for"),
        (http_answer(BODY, "Content-Encoding: br"), "not asked for"),
        (http_answer(BODY, "Content-Encoding: gzip, gzip"), "not asked for"),
    ],
    ids=[
        *("gzip", "second member", "no gzip", "checksum", "more behind it"),
        *("deflate", "br", "gzip twice"),
    ],
)
def test_a_damaged_body_is_told(answer: bytes, problem: str) -> None:
    """Whether that matters is the caller's to say."""
    found, _ = _ask(answer)
    assert problem in (found.problem or "")


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(BODY[:-9], f"Content-Length: {len(BODY)}"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{",
    ],
    ids=["length", "chunked"],
)
def test_an_answer_that_is_cut_short_is_none(answer: bytes) -> None:
    """A page that is not whole is no page; where the status is no success, it says enough."""
    with pytest.raises(HttpNoAnswer, match="cut short"):
        _ask(answer)
    refusal, _ = _ask(answer.replace(b"200 OK", b"503 No"))
    assert (refusal.status, refusal.problem) == (503, "the answer was cut short")


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(b"x" * 65),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 65,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n" + b"x" * 65,
        _gzip(gzip.compress(b"x" * 65)),
        _gzip(gzip.compress(b"x" * 30) + gzip.compress(b"x" * 35)),
        _gzip(gzip.compress(b"x" * 16_000)),
        _gzip(gzip.compress(b"x") + bytes(64)),
    ],
    ids=["length", "endless", "endless chunks", "gzip", "two members", "much", "padding"],
)
def test_a_body_is_read_up_to_the_limit(answer: bytes) -> None:
    """On the wire and decoded; what is over the limit is neither kept nor waited for."""
    found, _ = _ask(answer, then=None, max_body_bytes=64)
    assert (found.status, found.problem) == (200, "the answer is larger than 64 bytes")
    assert found.body == b"x" * min(len(found.body), 64)


def test_a_gzip_bomb_is_stopped_at_the_limit() -> None:
    """64 KiB that want to become 64 MiB become one; measured by the interpreter's own count."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(bytes(MIB)) for _ in range(64)), packer.flush()])
    assert len(bomb) < 70_000
    tracemalloc.start()
    try:
        found, _ = _ask(_gzip(bomb))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "larger than" in (found.problem or "")
    assert peak < 8 * MIB


Write = Callable[[asyncio.StreamWriter, int], None]


def _never_ending(write: Write) -> HttpAnswer:
    """Ask a server that goes on writing until the client is gone; the event loop stays alive."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        gone = asyncio.create_task(reader.read(1))
        number = 0
        while not gone.done():
            write(writer, number)
            number += 1
            with suppress(ConnectionError):
                await writer.drain()
            await asyncio.wait([gone], timeout=0.005)
        gone.exception()

    async def scenario() -> HttpAnswer:
        async with serving(serve) as url:
            client = _client(timeout_s=0.5)
            try:
                return await _get(client, url)
            finally:
                await client.aclose()

    return _run(scenario())


def _continue(writer: asyncio.StreamWriter, number: int) -> None:
    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def _drip_of(start: bytes, piece: bytes = b" ") -> Write:
    return lambda writer, number: writer.write(piece if number else start)


@pytest.mark.parametrize(
    "write",
    [
        _continue,
        _drip_of(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"),
        _drip_of(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    ],
    ids=["100 Continue for ever", "a body that drips", "headers that drip"],
)
def test_the_exchange_ends_at_its_deadline(write: Write) -> None:
    """A byte now and then would satisfy a timeout for each read for ever."""
    with pytest.raises(HttpNoAnswer, match=r"no answer within 0\.\d s"):
        _never_ending(write)


def test_an_error_whose_body_never_ends_is_still_its_status() -> None:
    """Waiting for the explanation must not cost the message."""
    head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 9\r\nContent-Length: 100\r\n\r\n{"
    answer, _ = _ask(head, then=None, timeout_s=1)
    assert (answer.status, answer.headers["retry-after"]) == (429, "9")
    assert (answer.body, answer.problem) == (b"", "the answer was cut short")


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x16\x03\x01\x02"),
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (2 * MIB),
    ],
    ids=["nothing", "ssh", "no status", "tls", "headers without an end"],
)
def test_what_is_not_http_is_no_answer(answer: bytes) -> None:
    """Nothing came from the service, so nothing can be said about it."""
    with pytest.raises(HttpNoAnswer):
        _ask(answer)


@pytest.mark.parametrize("host", ["127.0.0.1", "conduit.invalid"])
def test_no_connection_is_told_from_no_answer(host: str) -> None:
    """A closed port, and a name that is reserved never to exist."""

    async def scenario() -> None:
        async with backend() as server:
            url = server.url
        client = _client()
        with pytest.raises(HttpUnreachable, match=r"no connection: \[Errno"):
            await _get(client, url.replace("127.0.0.1", host))
        await client.aclose()

    _run(scenario())


@pytest.mark.parametrize(
    ("answers", "said", "connections"),
    [
        ([OK, DROP, OK], "", 2),
        ([OK, DROP, DROP, OK], "the connection broke", 2),
        ([OK, http_answer(b"12345", "Connection: close")[:-1], OK], "cut short", 1),
    ],
    ids=["while it was idle", "and again at once", "in the middle of its answer"],
)
def test_a_connection_that_the_server_closes_is_replaced_once(
    answers: list[bytes], said: str, connections: int
) -> None:
    """A request that met a closed one goes once more, at once; one that was answered does not."""

    async def scenario() -> None:
        async with backend(*answers) as server:
            client = _client()
            await _get(client, server.url)
            with pytest.raises(HttpNoAnswer, match=said) if said else nullcontext():
                await _get(client, server.url)
            await client.aclose()
            assert server.connections == connections

    _run(scenario())


def test_a_redirect_is_not_followed() -> None:
    """What a request carries goes nowhere but where it was sent, wherever the answer points."""
    for location in ("http://127.0.0.1:9/x", "http://[", "//"):
        found = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        with suppress(HttpError):  # httpx refuses what is no URL
            answer, server = _ask(found.encode())
            assert (answer.status, len(server.requests)) == (302, 1)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is shown to a proxy that nobody asked for."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    _ask(OK)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(MIB):
        writer.write(data)
    writer.close()


def _through_proxy(certificates: Certificates, refusal: bytes | None) -> tuple[bytes, HttpAnswer]:
    """What the proxy was asked, and the answer."""
    heads: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if refusal is not None:
            writer.write(refusal)
            return
        _, port = heads[0].split()[1].split(b":")
        there, back = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(_pipe(reader, back), _pipe(there, writer), return_exceptions=True)

    async def scenario() -> HttpAnswer:
        async with (
            backend(OK, tls=certificates.server_context()) as server,
            serving(proxy) as url,
        ):
            proxy_url = url.replace("//", "//user:s3cr3t@")
            client = _client(proxy=proxy_url, tls=TlsFiles(ca=certificates.ca))
            try:
                return await _get(client, server.url)
            finally:
                await client.aclose()

    answer = _run(scenario())
    return heads[0], answer


def test_a_proxy_is_asked_to_connect_and_sees_no_request(certificates: Certificates) -> None:
    """With its credentials; TLS is spoken with the server itself."""
    head, answer = _through_proxy(certificates, None)
    assert head.startswith(b"CONNECT 127.0.0.1:")
    assert b"proxy-authorization: basic dxnlcjpzm2nym3q=" in head.lower()
    assert answer.body == BODY


def test_a_proxy_that_refuses_is_no_connection(certificates: Certificates) -> None:
    """And its password is not told."""
    refusal = http_answer(b"", status="407 Proxy Authentication Required")
    with pytest.raises(HttpUnreachable, match="407 Proxy Authentication Required") as caught:
        _through_proxy(certificates, refusal)
    assert "s3cr3t" not in str(caught.value)


_UNSENT = ("LocalProtocolError", "UnsupportedProtocol", "InvalidURL")
_UNREACHABLE = ("ConnectError", "ConnectTimeout", "ProxyError")
# Raised only by what this client does not use: `raise_for_status`, cookies, sync streams.
_NEVER = ("CookieConflict", "HTTPStatusError")


def _foreign() -> list[Exception]:
    kinds = [
        kind
        for name, kind in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(kind, Exception) and name not in _NEVER
    ]
    raised: list[Exception] = [OSError(5, "Input/output error"), ssl.SSLError(1, "bad record")]
    for kind in kinds:
        exception = kind.__new__(kind)
        Exception.__init__(exception, "broken")
        raised.append(exception)
    return raised


@pytest.mark.parametrize("foreign", _foreign(), ids=lambda foreign: type(foreign).__name__)
def test_every_exception_of_the_library_is_mapped(foreign: Exception) -> None:
    """None gets through as it is, and a new one is found by this test."""

    def handle(_: httpx.Request) -> httpx.Response:
        raise foreign

    client = _client(transport=httpx.MockTransport(handle))
    with pytest.raises(HttpError) as caught:
        _run(_get(client, "http://conduit.test"))
    name = type(foreign).__name__
    expected: type[HttpError] = HttpNoAnswer
    if name in _UNSENT:
        expected = HttpError
    elif name in _UNREACHABLE:
        expected = HttpUnreachable
    assert type(caught.value) is expected
    assert caught.value.__cause__ is foreign
