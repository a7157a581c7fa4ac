"""Joins an exporter and the pages into its HTTP server."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from starlette.applications import Starlette

from exporter.app.assembly import Exporter
from exporter.app.runs import run_page, runs_page
from exporter.app.status import status_page
from exporter.errors import ConfigError
from exporter.metrics.catalogue import WEB_CONFIG_RELOADED
from exporter.metrics.collector import Sample
from exporter.web.config import WebConfigFile
from exporter.web.server import WebServer
from exporter.web.site import new_site

_LISTEN: Final = "EXPORTER_LISTEN"
_WEB_CONFIG_FILE: Final = "EXPORTER_WEB_CONFIG_FILE"


async def start_website(exporter: Exporter) -> WebServer:
    """The server, listening. Raises ConfigError for what of the settings cannot be used."""
    settings = exporter.settings
    try:
        config_file = WebConfigFile(settings.web_config_file)
    except ConfigError as error:
        raise ConfigError([f"{_WEB_CONFIG_FILE}: {one}" for one in error.problems]) from None
    if settings.web_config_file is not None:
        exporter.metrics.add_source(
            "web", lambda: [Sample(WEB_CONFIG_RELOADED, (), int(bool(config_file.reloaded)))]
        )
    site = new_pages(exporter, users=lambda: config_file.users)
    host, port = settings.listen
    server = WebServer(site, host=host, port=port, config_file=config_file, clock=exporter.clock)
    try:
        await server.start()
    except OSError as error:
        words = error.strerror or type(error).__name__
        raise ConfigError([f"{_LISTEN}: {settings.listen} cannot be used: {words}"]) from error
    return server


def new_pages(exporter: Exporter, *, users: Callable[[], Mapping[str, str]]) -> Starlette:
    """The application that shows an exporter; `users` are bcrypt hashes by name."""
    return new_site(
        metrics=exporter.metrics,
        not_ready=exporter.not_ready,
        status=partial(status_page, exporter),
        runs=partial(runs_page, exporter),
        run=partial(run_page, exporter),
        users=users,
    )
