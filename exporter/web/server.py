"""The HTTP server inside the daemon's own event loop: sockets, connections and their end.

Knows nothing of what is served: an ASGI application is handed in. It never installs signal
handlers, and never waits for a client longer than its limits say.
"""

import asyncio
import ssl
from typing import Final

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from exporter.errors import ConfigError
from exporter.web.config_file import WebConfigFile
from exporter.web.connections import BACKLOG, ConnectionTable, Slot, WebLimits
from exporter.web.listening import open_listeners
from exporter.web.protocol import BoundedProtocol
from exporter.web.tls import TlsDoor

# So many are accepted in one turn of the loop: a crowd must not push those out of the table whose
# request is there already and was not read yet.
_AT_ONCE: Final = 16
# How long connections that were cut off may take to be gone.
_FAREWELL_S: Final = 1.0


class WebServer:
    """Serves an application at an address, with TLS where the web config file says so."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        config_file: WebConfigFile,
        limits: WebLimits,
    ) -> None:
        self._host = host
        self._port = port
        self._config_file = config_file
        self._limits = limits
        self._uvicorn = Config(
            app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            loop="none",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=limits.keep_alive_s,
            h11_max_incomplete_event_size=limits.header_bytes,
        )
        self._uvicorn.load()
        self._state = ServerState()
        self._table = ConnectionTable(limits.connections)
        self._handshakes: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

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

    async def emptied(self) -> None:
        """Wait until there is no connection."""
        await self._table.emptied()

    async def start(self) -> None:
        """Listen; raises OSError where the address is taken or not this machine's."""
        loop = asyncio.get_running_loop()
        listeners = await open_listeners(self._host, self._port)
        try:
            for listener in listeners:
                server = await loop.create_server(self._door, sock=listener, backlog=_AT_ONCE)
                self._servers.append(server)
                # The queue of the kernel may be longer than what is taken from it in one go.
                listener.listen(BACKLOG)
        except OSError:
            # Two programs can bind a port at once, and one of them learns of it here.
            await self.stop()
            for listener in listeners:
                listener.close()
            raise
        self._port = listeners[0].getsockname()[1]

    async def stop(self) -> None:
        """Accept no more, let answers under way end for a while, and cut off what is left."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self._limits.drain_s):
                await self._table.emptied()
        except TimeoutError:
            self._table.close_all()
        tasks = self._handshakes | self._state.tasks
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_FAREWELL_S)

    def _door(self) -> asyncio.Protocol:
        if self._config_file.context is None:
            return self._protocol(None, None)
        return TlsDoor(
            table=self._table,
            settings=self._tls_settings,
            handshake_s=self._limits.header_s,
            make_protocol=self._protocol,
            tasks=self._handshakes,
        )

    def _protocol(self, slot: Slot | None, raw: asyncio.WriteTransport | None) -> BoundedProtocol:
        return BoundedProtocol(
            config=self._uvicorn,
            server_state=self._state,
            table=self._table,
            limits=self._limits,
            slot=slot,
            raw=raw,
        )

    def _tls_settings(self) -> tuple[ssl.SSLContext, frozenset[str] | None]:
        """The context and the allowed names for a connection that begins now."""
        self._config_file.refresh()
        context, tls = self._config_file.context, self._config_file.config.tls
        if context is None or tls is None:
            raise ConfigError(["TLS cannot be switched off while the server runs"])
        return context, tls.allowed_names
