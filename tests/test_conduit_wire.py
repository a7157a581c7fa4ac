"""The client over real sockets: timeouts, truncation, compression, TLS, reuse of connections."""

import asyncio
import gzip
import ssl
import zlib
from pathlib import Path
from typing import Any

import pytest

from exporter.conduit.client import ConduitClient
from exporter.conduit.token import TokenSource
from exporter.conduit.transport import open_transport
from exporter.errors import (
    ConfigError,
    SourceError,
    SourceMalformed,
    SourceNotFound,
    SourceRateLimited,
    SourceUnauthorized,
    SourceUnavailable,
)
from exporter.models import Page, Workspace
from tests.conduit_support import (
    TOKEN,
    RawServer,
    as_json,
    http_answer,
    page_of,
    raw_server,
    self_signed,
    serving,
)
from tests.fakes import FakeClock

BODY = as_json(page_of({"id": "ws1", "name": "Hotel"}))
PAGE = Page((Workspace("ws1", "Hotel"),), (), None)
MIB = 1024 * 1024
LIMIT_S = 30


def _client(url: str, *, ca_file: Path | None = None, **over: Any) -> ConduitClient:
    settings: dict[str, Any] = {
        "base_url": url,
        "token": TokenSource(text=TOKEN),
        "transport": open_transport(ca_file=ca_file),
        "clock": FakeClock(),
        "observe": lambda *_: None,
        **over,
    }
    return ConduitClient(**settings)


def _ask(*answers: bytes, hold_open: bool = False, times: int = 1, **over: Any) -> RawServer:
    """Ask so many times and expect the page each time; give back what the server saw."""

    async def scenario() -> RawServer:
        async with asyncio.timeout(LIMIT_S), raw_server(*answers, hold_open=hold_open) as server:
            client = _client(server.url, **over)
            try:
                for _ in range(times):
                    assert await client.workspaces_page() == PAGE
            finally:
                await client.aclose()
            return server

    return asyncio.run(scenario())


def _gzip(body: bytes, *headers: str) -> bytes:
    return http_answer(body, "Content-Encoding: gzip", *headers)


def test_a_request_on_the_wire_is_plain_http() -> None:
    """What a server receives, byte by byte."""
    server = _ask(http_answer(BODY))
    host = server.url.removeprefix("http://")
    assert server.heads == [
        (
            "GET /v1/workspaces?limit=100 HTTP/1.1\r\n"
            f"host: {host}\r\n"
            "accept: application/json\r\n"
            "accept-encoding: gzip\r\n"
            "user-agent: conduit-exporter/0.1.0\r\n"
            f"authorization: Bearer {TOKEN}\r\n"
            "\r\n"
        ).encode()
    ]


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(BODY, "Content-Encoding: identity"),
        _gzip(gzip.compress(BODY)),
        http_answer(gzip.compress(BODY), "Content-Encoding: X-GZIP"),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"1\r\n%c\r\n" % one for one in BODY)
        + b"0\r\n\r\n",
    ],
    ids=["identity", "gzip", "x-gzip", "until close", "chunked"],
)
def test_a_body_is_read_however_it_is_framed(answer: bytes) -> None:
    """Compressed or not, with a length, in chunks, or until the server hangs up."""
    _ask(answer)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (http_answer(BODY[:-9], f"Content-Length: {len(BODY)}"), "cut short"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{", "cut short"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY[:-1], "not JSON"),
        (_gzip(gzip.compress(BODY)[:-9]), "gzip encoding was cut short"),
        (_gzip(BODY), "gzip encoding is damaged"),
        (_gzip(gzip.compress(BODY)[:-5] + b"xxxxx"), "gzip encoding is damaged"),
        (_gzip(gzip.compress(BODY) + b"more"), "goes on after the end"),
        (_gzip(gzip.compress(BODY) * 2), "goes on after the end"),
        (_gzip(b""), "gzip encoding was cut short"),
        (http_answer(zlib.compress(BODY), "Content-Encoding: deflate"), "not asked for"),
        (http_answer(BODY, "Content-Encoding: br"), "not asked for"),
        (http_answer(BODY, "Content-Encoding: gzip, gzip"), "not asked for"),
    ],
)
def test_a_damaged_body_is_malformed(answer: bytes, problem: str) -> None:
    """A page that is not whole is discarded whole."""
    with pytest.raises(SourceMalformed, match=problem):
        _ask(answer)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (http_answer(b"x" * 65), "announces 65 bytes"),
        (http_answer(b"", "Content-Length: 99999999999999999"), "announces 9"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"[" * 65, "larger than 64"),
        (_gzip(gzip.compress(b"x" * 65)), "inflates to more than 64"),
        (_gzip(gzip.compress(b"\0" * 16_000)), "inflates to more than 64"),
    ],
)
def test_a_body_beyond_the_limit_is_malformed(answer: bytes, problem: str) -> None:
    """On the wire, and inflated; an announcement is enough."""
    with pytest.raises(SourceMalformed, match=problem):
        _ask(answer, max_body_bytes=64)


def test_a_body_of_exactly_the_limit_is_read() -> None:
    """The limit is inclusive, whichever way the body comes."""
    _ask(http_answer(BODY), max_body_bytes=len(BODY))
    padded = BODY + b" " * 1000
    _ask(_gzip(gzip.compress(padded)), max_body_bytes=len(padded))


def test_a_gzip_bomb_is_stopped_at_the_limit() -> None:
    """64 KiB that want to become 64 MiB become one; measured by the interpreter's own count."""
    import tracemalloc  # noqa: PLC0415 - slows down whatever runs after its import

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(bytes(MIB)) for _ in range(64)), packer.flush()])
    assert len(bomb) < 70_000
    tracemalloc.start()
    try:
        with pytest.raises(SourceMalformed, match="inflates to more than"):
            _ask(_gzip(bomb), max_body_bytes=MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB


def test_silence_ends_at_the_deadline() -> None:
    """A server that takes the request and says nothing."""
    with pytest.raises(SourceUnavailable, match="in time"):
        _ask(b"", hold_open=True, timeout_s=0.2)


def test_a_drip_ends_at_the_deadline() -> None:
    """A byte now and then would satisfy a timeout for each read for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        hung_up = asyncio.create_task(reader.read(1))
        while not hung_up.done():
            writer.write(b" ")
            await asyncio.wait([hung_up], timeout=0.02)

    async def scenario() -> None:
        async with asyncio.timeout(LIMIT_S), serving(serve) as url:
            client = _client(url, timeout_s=0.3)
            with pytest.raises(SourceUnavailable, match="in time"):
                await client.workspaces_page()
            await client.aclose()

    asyncio.run(scenario())


def test_a_request_that_was_given_up_frees_its_connection() -> None:
    """With room for one connection, the next request gets through, and on a fresh one."""

    async def scenario() -> RawServer:
        async with asyncio.timeout(LIMIT_S), raw_server(b"", http_answer(BODY)) as server:
            transport = open_transport(max_connections=1)
            client = _client(server.url, transport=transport, timeout_s=0.5)
            with pytest.raises(SourceUnavailable):
                await client.workspaces_page()
            assert await client.workspaces_page() == PAGE
            await client.aclose()
            return server

    assert asyncio.run(scenario()).connections == 2


def test_an_error_whose_body_never_ends_is_still_its_status() -> None:
    """Waiting for the explanation must not cost the message."""
    head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 9\r\nContent-Length: 100\r\n\r\n{"
    with pytest.raises(SourceRateLimited) as caught:
        _ask(head, hold_open=True)
    assert caught.value.retry_after_s == 9.0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http_answer(b"{", "Content-Length: 50", status="401 Unauthorized"), SourceUnauthorized),
        (http_answer(b"x" * 100_000, status="404 Not Found"), SourceNotFound),
        (_gzip(b"not gzip").replace(b"200 OK", b"503 Busy"), SourceUnavailable),
    ],
)
def test_a_damaged_error_body_leaves_the_status(answer: bytes, kind: type[SourceError]) -> None:
    """The status says enough."""
    with pytest.raises(kind):
        _ask(answer)


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x16\x03\x01\x02"]
)
def test_what_is_not_http_is_unavailable(answer: bytes) -> None:
    """Nothing came from the API, so nothing can be said about it."""
    with pytest.raises(SourceUnavailable):
        _ask(answer)


def test_a_closed_port_is_unavailable() -> None:
    """The server is away."""

    async def scenario() -> None:
        async with raw_server() as server:
            url = server.url
        client = _client(url)
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            await client.workspaces_page()
        await client.aclose()

    asyncio.run(scenario())


def test_a_name_that_does_not_resolve_is_unavailable() -> None:
    """As in a DNS outage; the name is reserved never to exist."""

    async def scenario() -> None:
        client = _client("http://conduit.invalid")
        with pytest.raises(SourceUnavailable):
            await client.workspaces_page()
        await client.aclose()

    asyncio.run(scenario())


def test_a_connection_serves_many_requests() -> None:
    """Handshakes cost more than requests do."""
    server = _ask(http_answer(BODY), _gzip(gzip.compress(BODY)), http_answer(BODY), times=3)
    assert server.connections == 1


def test_a_redirect_is_not_followed() -> None:
    """The token goes nowhere but to the base URL."""
    found = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/x\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(SourceUnavailable, match=r"redirect to http://127\.0\.0\.1:9/x"):
        _ask(found.encode())


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is not shown to a proxy that nobody asked for."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    _ask(http_answer(BODY))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key in the same file."""
    return self_signed(tmp_path_factory.mktemp("tls"))


def _ask_over_tls(certificate: Path, ca_file: Path | None, host: str = "127.0.0.1") -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)

    async def scenario() -> None:
        async with asyncio.timeout(LIMIT_S), raw_server(http_answer(BODY), tls=tls) as server:
            client = _client(server.url.replace("127.0.0.1", host), ca_file=ca_file)
            try:
                assert await client.workspaces_page() == PAGE
            finally:
                await client.aclose()

    asyncio.run(scenario())


def test_a_given_authority_is_trusted(certificate: Path) -> None:
    """A gateway with a certificate of the house."""
    _ask_over_tls(certificate, certificate)


def test_an_unknown_authority_is_refused(certificate: Path) -> None:
    """There is no switch to look away."""
    with pytest.raises(SourceUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        _ask_over_tls(certificate, None)


def test_a_certificate_of_another_host_is_refused(certificate: Path) -> None:
    """Signed by the right authority, for somebody else."""
    with pytest.raises(SourceUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        _ask_over_tls(certificate, certificate, host="localhost")


def test_an_unusable_authority_is_a_setting_at_fault(tmp_path: Path) -> None:
    """Absent, or something else than certificates."""
    with pytest.raises(ConfigError, match="absent"):
        open_transport(ca_file=tmp_path / "absent")
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(ConfigError, match="text"):
        open_transport(ca_file=tmp_path / "text")
