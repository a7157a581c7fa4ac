"""The HTTP server inside the daemon's own event loop, on uvicorn.

Knows nothing of what is served: an ASGI application is handed in. Leaves signals to the daemon,
and never waits for a client longer than its limits say.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from exporter.clock import Clock
from exporter.web.config import WebConfigFile
from exporter.web.protocol import BoundedProtocol, ConnectionTable, Door, WebLimits

_EVERYWHERE: Final = "::"
# So many connections are accepted in one turn of the loop. Their bound is a multiple of it: what
# was just accepted is read before it is the one to give way.
_ACCEPTED_AT_ONCE: Final = 16
# More than this wait in the kernel, where they cost us nothing.
_BACKLOG: Final = 1024
_RELOAD_EVERY_S: Final = 5.0
# How often the `Date` of answers is made anew.
_DATE_EVERY_S: Final = 1.0
# No script, nothing from elsewhere, no frame.
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
# On every answer.
_HEADERS: Final = [
    ("cache-control", "no-store"),
    ("content-security-policy", _POLICY),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "deny"),
]


class WebServer:
    """Serves an application at an address, with TLS where the web config file says so."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        config_file: WebConfigFile,
        clock: Clock,
        limits: WebLimits | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._config_file = config_file
        self._clock = clock
        self._limits = limits = limits or WebLimits()
        self._table = ConnectionTable(limits.connections)
        self._server = _Server(
            uvicorn.Config(
                app,
                http=self._door,  # type: ignore[arg-type]  # called as the class that it expects
                ws="none",
                lifespan="off",
                loop="none",
                interface="asgi3",
                log_config=None,
                # Its warnings are about what strangers send.
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                headers=_HEADERS,
                backlog=_ACCEPTED_AT_ONCE,
                # The table keeps connections below it; uvicorn still counts those that have given
                # way in this turn of the loop.
                limit_concurrency=2 * limits.connections,
                h11_max_incomplete_event_size=limits.header_bytes,
                timeout_keep_alive=limits.keep_alive_s,
                timeout_graceful_shutdown=int(limits.drain_s) + 1,
            )
        )
        self._serving: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The address that it listens on, with the port that the system chose for port 0."""
        scheme = "http" if self._config_file.context is None else "https"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self._port}"

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._table)

    async def start(self) -> None:
        """Listen; raises OSError where the address is taken or not this machine's."""
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve([listener]), name="web")
        self._reloading = asyncio.create_task(self._reload(), name="web config")
        started = asyncio.create_task(self._server.has_started.wait())
        await asyncio.wait({started, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._serving.done():
            listener.close()
            self._serving.result()
        # asyncio takes one number for both.
        listener.listen(_BACKLOG)

    async def wait(self) -> None:
        """Wait until it has stopped; raises what it failed with."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def stop(self) -> None:
        """Accept no more, let answers under way end for a while, and cut off what is left."""
        self._server.stop()
        if self._reloading is not None:
            self._reloading.cancel()
        if self._serving is not None:
            await asyncio.wait({self._serving}, timeout=self._limits.drain_s)
            self._table.abort_all()
            await asyncio.wait({self._serving})

    async def _reload(self) -> None:
        while True:
            await self._clock.sleep(_RELOAD_EVERY_S)
            await asyncio.to_thread(self._config_file.refresh)

    def _door(self, **parts: Any) -> Door:
        return Door(
            make_protocol=lambda raw: BoundedProtocol(
                raw=raw, table=self._table, limits=self._limits, **parts
            ),
            context=lambda: self._config_file.context,
            table=self._table,
            handshake_s=self._limits.exchange_s,
            tasks=self._server.server_state.tasks,
        )


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it serves, is told to stop, and leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = asyncio.Event()
        self._told = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        # uvicorn's own wakes ten times a second, to no end here.
        self.has_started.set()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _DATE_EVERY_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; `::` takes IPv4 as well. Raises OSError."""
    both = host == _EVERYWHERE and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, dualstack_ipv6=both)
    # Inherited by each connection: an answer is written in two parts, and none is held back.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
