"""What clients may take: time, bytes and connections; and how the server ends."""

import resource
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from exporter.web.config import WebConfigFile
from exporter.web.protocol import WebLimits
from tests.delivery_support import Certificates
from tests.web_support import Client, Gate, serving, web_config_file

SOON_S = 0.2
HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(params=["plain", "tls"])
def config_file(request: pytest.FixtureRequest, certificates: Certificates) -> WebConfigFile:
    """Without TLS and with it."""
    text = "tls_server_config: {cert_file: server.crt, key_file: server.key}"
    return web_config_file(certificates.folder, text if request.param == "tls" else "")


def context_of(config_file: WebConfigFile, certificates: Certificates) -> ssl.SSLContext | None:
    """What a client needs to speak to a server with this file."""
    if config_file.context is None:
        return None
    return ssl.create_default_context(cafile=certificates.ca)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (HEAD + b"Host: y\r\n\r\n", b"400 Bad Request"),
        (HEAD + b"Content-Length: -1\r\n\r\n", b"400 Bad Request"),
        (HEAD + b"Transfer-Encoding: odd\r\n\r\n", b"501 Not Implemented"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400 Bad Request"),
        (HEAD + b"X: " + b"x" * 20_000, b"431 Request Header Fields Too Large"),
        (b"GET /" + b"x" * 20_000, b"431 Request Header Fields Too Large"),
    ],
    ids=["words", "two hosts", "length", "coding", "TLS", "endless header", "endless target"],
)
def test_what_is_no_request_is_refused_and_closed(request_bytes: bytes, status: bytes) -> None:
    """With the status that fits, and nothing more."""
    with serving() as served, Client(served) as client:
        client.send(request_bytes)
        head, _, body = client.rest().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in head
    assert body == status.partition(b" ")[2] + b"\n"


def test_a_body_is_never_taken_for_a_request() -> None:
    """It is read past, not kept, and the connection goes on after it."""
    inner = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving() as served, Client(served) as client:
        client.send(b"POST /-/healthy HTTP/1.1\r\nHost: x\r\nContent-Length: 3400000\r\n\r\n")
        assert b" 405 " in client.until(b"Method Not Allowed")
        client.send(inner * (3_400_000 // len(inner)) + b"x" * (3_400_000 % len(inner)))
        client.request("/nothing")
        assert b" 404 " in client.until(b"Not Found")


@pytest.mark.parametrize("begun", [b"", b"G", HEAD + b"X-A: "])
def test_a_request_that_trickles_in_is_cut_off(begun: bytes) -> None:
    """A deadline for the whole of it, which more bytes do not move."""
    limits = WebLimits(exchange_s=SOON_S)
    with serving(limits=limits) as served, Client(served) as client:
        client.send(begun)
        assert trickle(client, b"x" if begun else b"") == b""


def trickle(client: Client, piece: bytes) -> bytes:
    """Send a piece whenever nothing has come for a while; what comes, none once it is closed."""
    client.socket.settimeout(0.02)
    while True:
        try:
            return client.socket.recv(1)
        except TimeoutError:
            client.send(piece)
        except ConnectionError:
            return b""


class Flood:
    """An application whose answer no kernel buffers, in so many pieces."""

    size = 64 * 1024 * 1024

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        piece = bytes(self.size // self.pieces)
        for left in reversed(range(self.pieces)):
            await send({"type": "http.response.body", "body": piece, "more_body": left > 0})


@pytest.mark.parametrize(
    ("app", "config_file"),
    [(Flood(1024), "plain"), (Flood(1), "tls")],
    indirect=["config_file"],
    ids=["pieces", "whole, TLS"],
)
def test_a_client_that_does_not_read_is_cut_off(
    app: Flood, config_file: WebConfigFile, certificates: Certificates
) -> None:
    """An answer waits for its reader, but not for long."""
    limits = WebLimits(exchange_s=SOON_S)
    context = context_of(config_file, certificates)
    with (
        serving(app, limits=limits, config_file=config_file) as served,
        Client(served, window=4096, context=context) as client,
    ):
        client.request()
        served.wait_for(lambda: served.server.connections == 1)
        served.wait_for(lambda: served.server.connections == 0)
        assert len(client.rest()) < Flood.size / 4


@pytest.fixture
def many_files() -> Iterator[None]:
    """A thousand clients and their server are in one process here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize(
    ("begun", "config_file"),
    [(b"", "tls"), (HEAD + b"X-A: ", "plain")],
    indirect=["config_file"],
    ids=["silent, TLS", "half a header"],
)
def test_a_thousand_slow_clients_do_not_keep_a_scraper_out(
    begun: bytes, config_file: WebConfigFile, certificates: Certificates
) -> None:
    """Those that were never answered give way; there are never more connections than the limit."""
    verify = context_of(config_file, certificates) or False
    with serving(config_file=config_file) as served, ExitStack() as stack:
        for _ in range(1000):
            client = stack.enter_context(Client(served))
            client.send(begun)
        for _ in range(20):
            assert served.ask("/metrics", verify=verify).status_code == 200
        assert served.server.connections <= WebLimits().connections


def test_a_scraper_keeps_its_connection_before_those_that_were_never_answered() -> None:
    """Whoever was answered last gives way last."""
    with (
        serving(limits=WebLimits(connections=4)) as served,
        Client(served) as silent,
        Client(served) as scraper,
        ExitStack() as stack,
    ):
        for _ in range(2):
            stack.enter_context(Client(served))
        served.wait_for(lambda: served.server.connections == 4)
        scraper.request()
        scraper.until(b"Healthy\n")
        for _ in range(3):
            stack.enter_context(Client(served))
        assert silent.rest() == b""
        scraper.request()
        assert scraper.until(b"Healthy\n").startswith(b"HTTP/1.1 200 ")


def test_an_answer_under_way_never_gives_way() -> None:
    """However many new connections come; one that finds all of them busy is turned away."""
    gate = Gate()
    with (
        serving(gate, limits=WebLimits(connections=2)) as served,
        Client(served) as busy,
        Client(served) as waits,
    ):
        busy.request()
        assert gate.asked.wait(10)
        for _ in range(5):
            with Client(served):
                served.wait_for(lambda: served.server.connections == 2)
        assert waits.rest() == b""
        served.call(gate.opened.set)
        assert b"done" in busy.until(b"0\r\n\r\n")


def test_a_handshake_has_a_deadline(certificates: Certificates) -> None:
    """A silent client holds its place no longer than a request may take."""
    text = "tls_server_config: {cert_file: server.crt, key_file: server.key}"
    config_file = web_config_file(certificates.folder, text)
    limits = WebLimits(exchange_s=SOON_S)
    with serving(config_file=config_file, limits=limits) as served, Client(served) as client:
        assert client.rest() == b""


def test_an_answer_under_way_is_finished_before_the_end() -> None:
    """The idle go at once, new ones find nobody, and the answer closes its connection."""
    gate = Gate()
    with serving(gate) as served, Client(served) as idle, Client(served) as busy:
        busy.request()
        assert gate.asked.wait(10)
        served.begin_stop()
        assert idle.rest() == b""
        with pytest.raises(httpx.ConnectError):
            served.ask()
        served.call(gate.opened.set)
        assert b"done" in busy.rest()


def test_clients_that_do_not_read_do_not_delay_the_end(
    config_file: WebConfigFile,
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They are cut off after the time to drain, without a traceback or a word in the log."""
    limits = WebLimits(drain_s=SOON_S)
    context = context_of(config_file, certificates)
    with (
        serving(Flood(1), limits=limits, config_file=config_file) as served,
        Client(served, window=4096, context=context) as client,
        Client(served, window=4096, context=context) as silent,
        Client(served) as unfinished,
    ):
        client.request()
        assert client.socket.recv(1)
        served.stop()
        assert served.server.connections == 0
        for one in (silent, unfinished):
            assert one.rest() == b""
    assert caplog.messages == []
