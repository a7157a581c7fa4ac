"""Joins the settings, the registry and the views into the exporter's own HTTP server."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry

from exporter.clock import Clock
from exporter.errors import ConfigError
from exporter.metrics.catalogue import WEB_CONFIG_RELOADED
from exporter.metrics.collector import ReadingCollector
from exporter.metrics.reading import Reading
from exporter.settings.addresses import ListenAddress
from exporter.settings.model import Settings
from exporter.web.config_file import WebConfigFile
from exporter.web.connections import WebLimits
from exporter.web.guard import Guard
from exporter.web.server import WebServer
from exporter.web.site import Site
from exporter.web.view import Readiness, StatusView

_LISTEN: Final = "EXPORTER_LISTEN"
_WEB_CONFIG_FILE: Final = "EXPORTER_WEB_CONFIG_FILE"


class Website:
    """A server that names the setting at fault when it cannot start."""

    def __init__(self, server: WebServer, listen: ListenAddress) -> None:
        self._server = server
        self._listen = listen

    @property
    def url(self) -> str:
        """Where it is served, with the real port once it has started."""
        return self._server.url

    async def start(self) -> None:
        """Listen. Raises ConfigError."""
        try:
            await self._server.start()
        except OSError as error:
            words = error.strerror or type(error).__name__
            raise ConfigError([f"{_LISTEN}: {self._listen} cannot be used: {words}"]) from error

    async def stop(self) -> None:
        """Let answers under way end, and close every connection."""
        await self._server.stop()


def open_website(
    settings: Settings,
    *,
    clock: Clock,
    registry: CollectorRegistry,
    collector: ReadingCollector,
    readiness: Callable[[], Readiness],
    status: Callable[[], StatusView],
) -> Website:
    """A website that is not started yet. Raises ConfigError for an unusable web config file."""
    try:
        config_file = WebConfigFile(settings.web_config_file, clock=clock)
    except ConfigError as error:
        raise ConfigError([f"{_WEB_CONFIG_FILE}: {one}" for one in error.problems]) from None
    if settings.web_config_file is not None:
        collector.add_source("web", lambda: _readings(config_file))
    limits = WebLimits()
    site = Site(registry=registry, readiness=readiness, status=status, clock=clock)
    guard = Guard(
        site.app, config_file=config_file, limits=limits, clock=clock, executor=asyncio.to_thread
    )
    host, port = settings.listen
    server = WebServer(guard, host=host, port=port, config_file=config_file, limits=limits)
    return Website(server, settings.listen)


def _readings(config_file: WebConfigFile) -> Iterator[Reading]:
    yield Reading(WEB_CONFIG_RELOADED, (), int(bool(config_file.reloaded)))
