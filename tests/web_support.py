"""What tests of the website share: a running server, a client that sees every byte, a status."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from exporter.clock import Clock, SystemClock
from exporter.metrics.exposition import new_registry
from exporter.metrics.reading import Source
from exporter.web.auth import Executor
from exporter.web.config_file import WebConfigFile
from exporter.web.connections import WebLimits
from exporter.web.guard import Guard
from exporter.web.server import WebServer
from exporter.web.site import Site
from exporter.web.view import (
    AgentView,
    DeliveryView,
    LedgerView,
    OutboxView,
    Readiness,
    StatusView,
    WorkspaceView,
)
from tests.fakes import START_NS, inline
from tests.metrics_support import one_reading_each

LIMIT_S = 30.0
SECOND_NS = 1_000_000_000
PASSWORD = "correct horse battery"
# Of the password above, at bcrypt's lowest cost; the second one of "another".
HASHED = "$2b$04$anqw8UuYQx/SORZXx7S0rO9N1BL2gsYxjixdhSTz9WZB4gaUSYNDW"
HASHED_ANOTHER = "$2b$04$cQ5YbkyI57nYGqNMTMlYsOV050/JF0Gf2qp7yKPpQWFXIv0S86vfC"


def make_status(**over: Any) -> StatusView:
    """A status in which every value is another one."""
    agent = AgentView(
        id="ag_1",
        name="Concierge",
        last_poll_ns=START_NS - 5 * SECOND_NS,
        runs_counted=1234567,
        runs_in_flight=37,
    )
    workspace = WorkspaceView(
        id="ws_1",
        name="Harbor Hotels",
        up=True,
        problem=None,
        last_contact_ns=START_NS - 4 * SECOND_NS,
        requests_per_minute=90,
        runs_awaiting_detail=289,
        agents=(agent,),
    )
    view = StatusView(
        version="9.8.7",
        revision="c0ffee",
        now_ns=START_NS,
        started_ns=START_NS - 93_784 * SECOND_NS,
        readiness=Readiness(),
        workspaces=(workspace,),
        delivery=DeliveryView(
            endpoint="http://collector:4318/v1/traces",
            problem=None,
            last_delivered_ns=START_NS - 61 * SECOND_NS,
            traces_delivered=5501,
            spans_delivered=22_003,
            traces_rejected=41,
            spans_rejected=173,
        ),
        outbox=OutboxView(
            traces_pending=68,
            traces_parked=0,
            stored_bytes=5_000,
            limit_bytes=1024**3,
            oldest_ns=START_NS - 3_660 * SECOND_NS,
        ),
        ledger=LedgerView(location="sqlite:///ledger.db", stored_bytes=1_700_000, problem=None),
    )
    return replace(view, **over)


def make_registry(*sources: Source) -> CollectorRegistry:
    """A registry of these sources; of one reading of every metric if there is none."""
    registry, collector = new_registry(process=False)
    for number, source in enumerate(sources or (one_reading_each,)):
        collector.add_source(f"source{number}", source)
    return registry


def make_app(
    *,
    config_file: WebConfigFile | None = None,
    limits: WebLimits | None = None,
    clock: Clock | None = None,
    registry: CollectorRegistry | None = None,
    readiness: Callable[[], Readiness] = Readiness,
    status: Callable[[], StatusView] = make_status,
    app: ASGIApp | None = None,
    executor: Executor = inline,
) -> Guard:
    """The whole application; `app` stands in for the pages."""
    clock = clock or SystemClock()
    site = Site(
        registry=registry or make_registry(), readiness=readiness, status=status, clock=clock
    )
    return Guard(
        app or site.app,
        config_file=config_file or WebConfigFile(None, clock=clock),
        limits=limits or WebLimits(),
        clock=clock,
        executor=executor,
    )


@asynccontextmanager
async def running(
    *,
    host: str = "127.0.0.1",
    limits: WebLimits | None = None,
    config_file: WebConfigFile | None = None,
    **parts: Any,
) -> AsyncIterator[WebServer]:
    """A server on loopback at a free port, stopped at the end; all of it within a time limit."""
    limits = limits or WebLimits()
    config_file = config_file or WebConfigFile(None, clock=SystemClock())
    app = make_app(config_file=config_file, limits=limits, **parts)
    server = WebServer(app, host=host, port=0, config_file=config_file, limits=limits)
    async with asyncio.timeout(LIMIT_S):
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


def web_config_file(folder: Path, text: str, **over: Any) -> WebConfigFile:
    """A web config file with this text."""
    path = folder / "web.yml"
    path.write_text(text, encoding="utf-8")
    return WebConfigFile(path, clock=over.get("clock") or SystemClock())


@dataclass
class Answer:
    """One answer as it came."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """A connection whose every byte is under control."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def request(self, target: str = "/-/healthy", method: str = "GET", **headers: str) -> None:
        """Send a request; underscores of header names become dashes."""
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        self.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\n{''.join(lines)}\r\n".encode())

    async def answer(self, *, head: bool = False) -> Answer:
        """The next answer; `head`: of a HEAD request, which has no body."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        line, *rest = text.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in rest)}
        assert len(headers) == len(rest), "no header comes twice"
        length = 0 if head else int(headers["content-length"])
        return Answer(int(line.split()[1]), headers, await self.reader.readexactly(length))

    async def ask(self, target: str = "/-/healthy", method: str = "GET", **headers: str) -> Answer:
        self.request(target, method, **headers)
        return await self.answer(head=method == "HEAD")

    async def rest(self) -> bytes:
        """What still comes until the server closes the connection."""
        received = b""
        with suppress(ConnectionError):
            while piece := await self.reader.read(1 << 16):
                received += piece
        return received

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connected(server: WebServer, **over: Any) -> AsyncIterator[Client]:
    """A connection to the server; `over` goes to asyncio, such as `ssl`."""
    url = urlsplit(server.url)
    client = Client(*await asyncio.open_connection(url.hostname, url.port, **over))
    try:
        yield client
    finally:
        await client.close()


async def ask(
    server: WebServer, target: str = "/-/healthy", method: str = "GET", **headers: str
) -> Answer:
    """One request on a connection of its own."""
    async with connected(server) as client:
        return await client.ask(target, method, **headers)


def address_of(server: WebServer) -> tuple[str, int]:
    """Where a server on loopback listens."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    return host, int(port)


def small_window() -> socket.socket:
    """A socket that takes little before it is read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)  # noqa: FBT003 - the library's signature
    return client


class Gate:
    """An application that answers once it is opened, and says when it is asked."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.opened = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.release()
        await self.opened.wait()
        headers = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"done"})
