"""The simulated Conduit behind a socket, on uvicorn inside the running loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Final

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from exporter.simulator.conduit import SimulatedConduit

_GRACE_S: Final = 2


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which belong to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serve(
    conduit: SimulatedConduit, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Serve inside the running loop and yield the base URL; port 0 takes a free one.

    Raises OSError where the address is taken or not this machine's.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        answer = conduit.handle(scope["method"], path, query, Headers(scope=scope))
        await Response(answer.body, answer.status, answer.headers)(scope, receive, send)

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
        # Whoever connects before it serves waits in the kernel.
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            at, bound_port = listener.getsockname()[:2]
            yield f"http://[{at}]:{bound_port}" if ":" in at else f"http://{at}:{bound_port}"
        finally:
            server.should_exit = True
            await serving


def listening_socket(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError where the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # asyncio sees to this only where a socket names its protocol; without it an answer in two
    # parts is held back until the client's delayed acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
