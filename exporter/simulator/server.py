"""The simulated Conduit behind a socket: an ASGI application, and uvicorn inside the running loop.

A failure below HTTP is shown as far as a server can show it: silence until the client leaves, or a
connection closed inside the body. A refused connection cannot be shown by somebody who accepted it,
so it becomes a connection closed before the body.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final

import uvicorn

from exporter.simulator.conduit import SimulatedConduit
from exporter.simulator.messages import Failure

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_GRACE_S: Final = 2


class ConduitApp:
    """The ASGI application; `close` ends the silences that are still being kept."""

    def __init__(self, conduit: SimulatedConduit) -> None:
        self._conduit = conduit
        self._closing = asyncio.Event()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        path = scope.get("raw_path") or scope["path"].encode()
        response = self._conduit.handle(
            scope["method"],
            path.decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        )
        if response.failure is Failure.READ_TIMEOUT:
            await self._keep_silent(receive)
            return
        # A promise of one byte more than comes makes the server close the connection.
        length = len(response.body) + (response.failure is not None)
        headers = {"content-length": str(length), **response.headers}
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        if response.failure is None:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def close(self) -> None:
        self._closing.set()

    async def _keep_silent(self, receive: Receive) -> None:
        """Say nothing until the client has gone or the server closes."""

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        waits = [asyncio.ensure_future(gone()), asyncio.ensure_future(self._closing.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which belong to the program, and with a ready event."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextlib.asynccontextmanager
async def serve(
    conduit: SimulatedConduit, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Serve inside the running loop and yield the base URL; port 0 takes a free one.

    Raises OSError where the address is taken or not this machine's.
    """
    app = ConduitApp(conduit)
    with listening_socket(host, port) as listener:
        server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                loop="none",
                ws="none",
                http="h11",
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        ready = asyncio.create_task(server.ready.wait())
        try:
            await asyncio.wait((serving, ready), return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
            at, bound_port = listener.getsockname()[:2]
            yield f"http://[{at}]:{bound_port}" if ":" in at else f"http://{at}:{bound_port}"
        finally:
            ready.cancel()
            app.close()
            server.should_exit = True
            await serving


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket; raises OSError where the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # asyncio sees to this only where a socket names its protocol; without it an answer in two
    # parts is held back until the client's delayed acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
