"""What tests of the website share: a running server, a client that sees every byte."""

import asyncio
import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette
from starlette.types import ASGIApp

from exporter.app.status import status_page
from exporter.clock import Clock, SystemClock
from exporter.web.config import WebConfigFile
from exporter.web.protocol import WebLimits
from exporter.web.server import WebServer
from exporter.web.site import new_site
from tests.metrics_support import make_metrics, one_sample_each
from tests.pages_support import empty

LIMIT_S = 30.0
PASSWORD = "correct horse battery"
# Of the password above, at bcrypt's lowest cost; the second one of "another".
HASHED = "$2b$04$anqw8UuYQx/SORZXx7S0rO9N1BL2gsYxjixdhSTz9WZB4gaUSYNDW"
HASHED_ANOTHER = "$2b$04$cQ5YbkyI57nYGqNMTMlYsOV050/JF0Gf2qp7yKPpQWFXIv0S86vfC"


async def show_status() -> dict[str, Any]:
    """The status page of an exporter that was just started."""
    with TemporaryDirectory() as folder:
        exporter = empty(Path(folder)).exporter
        try:
            return await status_page(exporter)
        finally:
            await exporter.close()


async def show_nothing(*_: object) -> None:
    """Stands in for the pages of runs."""


def make_site(config_file: WebConfigFile, limits: WebLimits | None, **parts: Any) -> Starlette:
    """The application of the product."""
    given = {
        "metrics": make_metrics(one_sample_each),
        "not_ready": tuple,
        "status": show_status,
        **parts,
    }
    given = {"runs": show_nothing, "run": show_nothing, **given}
    return new_site(users=lambda: config_file.users, limits=limits, **given)


class Served:
    """A server that runs in a thread; `faults` are what its event loop could not handle."""

    def __init__(self, server: WebServer, stop: asyncio.Event) -> None:
        self.server = server
        self.url = server.url
        self.finished: Future[None] | None = None
        self.faults: list[dict[str, Any]] = []
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _, context: self.faults.append(context))

    def ask(self, path: str = "/-/healthy", method: str = "GET", **given: Any) -> httpx.Response:
        """One request on a connection of its own; `given` are headers and the like."""
        verify = given.pop("verify", False)
        with httpx.Client(verify=verify, trust_env=False, timeout=LIMIT_S) as client:
            return client.request(method, self.url + path, **given)

    def call(self, function: Any) -> None:
        """Call it on the server's event loop."""
        self._loop.call_soon_threadsafe(function)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Look at the server until this is so."""
        pause = threading.Event()
        for _ in range(round(LIMIT_S * 100)):
            if condition():
                return
            pause.wait(0.01)
        raise TimeoutError("It never came to be so")

    def begin_stop(self) -> None:
        self.call(self._stop.set)

    def stop(self) -> None:
        """Stop, and wait until all of it has ended."""
        # Its loop may be closed already.
        with contextlib.suppress(RuntimeError):
            self.begin_stop()
        assert self.finished is not None
        self.finished.result(LIMIT_S)


@contextmanager
def serving(
    app: ASGIApp | None = None,
    *,
    host: str = "127.0.0.1",
    config_file: WebConfigFile | None = None,
    limits: WebLimits | None = None,
    clock: Clock | None = None,
    **site: Any,
) -> Iterator[Served]:
    """A server on loopback at a free port; `app` stands in for the site."""
    file = config_file or WebConfigFile(None)
    started: Future[Served] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        server = WebServer(
            app or make_site(file, limits, **site),
            host=host,
            port=0,
            config_file=file,
            clock=clock or SystemClock(),
            limits=limits,
        )
        await server.start()
        started.set_result(Served(server, stop))
        await stop.wait()
        await server.stop()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            if not started.done():
                started.set_exception(error)
            raise

    with ThreadPoolExecutor(1) as pool:
        finished = pool.submit(run)
        served = started.result(LIMIT_S)
        served.finished = finished
        try:
            yield served
        finally:
            served.stop()
            assert served.faults == []


class Client:
    """A TCP connection whose every byte is under control."""

    def __init__(
        self, served: Served, *, context: ssl.SSLContext | None = None, window: int | None = None
    ) -> None:
        url = urlsplit(served.url)
        connection = socket.socket()
        if window is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        connection.settimeout(LIMIT_S)
        connection.connect((url.hostname, url.port))
        if context is not None:
            connection = context.wrap_socket(connection, server_hostname=url.hostname)
        self.socket = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, target: str = "/-/healthy") -> None:
        self.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def until(self, end: bytes) -> bytes:
        """What comes up to `end`, or until the server closes."""
        received = b""
        while not received.endswith(end) and (piece := self.socket.recv(65536)):
            received += piece
        return received

    def rest(self) -> bytes:
        """What still comes until the server closes the connection."""
        received = b""
        # Cut off is cut off, with TLS as without.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while piece := self.socket.recv(65536):
                received += piece
        return received


class Gate:
    """An application that answers once it is opened, and says when it is asked."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.opened = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.set()
        await self.opened.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


def basic(name: str, password: str) -> dict[str, str]:
    """The header that carries a name and a password."""
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def web_config_file(folder: Path, text: str) -> WebConfigFile:
    """A web config file with this text."""
    path = folder / "web.yml"
    path.write_text(text, encoding="utf-8")
    return WebConfigFile(path)
