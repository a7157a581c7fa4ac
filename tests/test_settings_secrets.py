"""Secrets among the settings: known to whoever masks logs, shown by nothing else."""

import traceback
from pathlib import Path

import pytest

from exporter.app.assembly import token_source
from exporter.delivery.endpoint import resolve_endpoint
from exporter.errors import ConfigError
from exporter.settings.addresses import ListenAddress
from exporter.settings.demo import DemoOptions
from exporter.settings.loading import load
from exporter.settings.model import Settings

ENVIRON = {
    "CONDUIT_API_TOKEN": "cdt_hunter2",
    "EXPORTER_LEDGER": "postgresql://exporter:ledger-hunter2@db/ledger",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:endpoint-hunter2@collector",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=header%20hunter2,x-tenant=gzip",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-key=hunter2-traces",
}


@pytest.fixture
def settings() -> Settings:
    return load(ENVIRON)


def test_no_text_of_the_settings_shows_a_secret(settings: Settings) -> None:
    """repr, str, a format, a dump: all that a debugger or a log may take."""
    shown = (
        repr(settings),
        str(settings),
        f"{settings}",
        str(settings.model_dump()),
        repr(list(settings)),
        repr(vars(settings)),
    )
    for text in shown:
        assert "hunter2" not in text
        assert "**********" in text


def test_every_secret_is_known_to_whoever_masks(settings: Settings) -> None:
    """As given and percent-decoded; words too short to be secrets would tear holes into lines."""
    assert settings.secrets() == (
        "cdt_hunter2",
        "ledger-hunter2",
        "endpoint-hunter2",
        "header%20hunter2",
        "header hunter2",
        "hunter2-traces",
    )


def test_settings_without_secrets_have_none_to_mask() -> None:
    """A token file is not read for it, and an address that is no URL holds no password."""
    environ = {
        "CONDUIT_API_TOKEN_FILE": "/run/secrets/token",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://[broken",
        "OTEL_EXPORTER_OTLP_HEADERS": "compress=gzip",
    }
    assert load(environ).secrets() == ()


@pytest.mark.parametrize(
    "broken",
    [
        {"CONDUIT_API_TOKEN": "Bearer hunter2"},
        {"CONDUIT_API_TOKEN": "hunter2 hunter2"},
        {"CONDUIT_BASE_URL": "https://me:hunter2@api"},
        {"CONDUIT_BASE_URL": "https://api?key=hunter2"},
        {"EXPORTER_LEDGER": "postgresql://me:hunter2@db"},
        {"EXPORTER_LEDGER": "postgresql://me:hunter2@db:x/ledger"},
        {"EXPORTER_LEDGER": "mysql://me:hunter2@db/ledger"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:hunter2@collector"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "hunter2"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "key=hunter2\u00e9"},
        {"OTEL_RESOURCE_ATTRIBUTES": "hunter2"},
        {"CONDUIT_TOKEN": "hunter2"},
    ],
)
def test_no_error_shows_a_secret(broken: dict[str, str]) -> None:
    """Neither its text nor its traceback, causes included."""
    with pytest.raises(ConfigError) as caught:
        load({**ENVIRON, **broken}, check_otlp=resolve_endpoint)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in repr(caught.value)


def test_the_demo_shows_no_header() -> None:
    """The options of a demonstration keep the backend's settings to themselves."""
    options = DemoOptions(listen=ListenAddress("127.0.0.1", 0), otlp=ENVIRON)
    assert "hunter2" not in repr(options)


def test_the_token_is_read_from_its_file(tmp_path: Path) -> None:
    """The last line break that every editor leaves is not part of it; a new one is used at once."""
    file = tmp_path / "token"
    file.write_text("  cdt_first\n")
    source = token_source(load({"CONDUIT_API_TOKEN_FILE": str(file)}))
    assert source.current() == "cdt_first"
    file.write_text("cdt_second_is_longer\n")
    assert source.current() == "cdt_second_is_longer"
    assert "cdt_" not in repr(source)


def test_settings_cannot_be_changed(settings: Settings) -> None:
    """What was checked stays as it was checked."""
    with pytest.raises(ValueError, match="frozen"):
        settings.lookback_s = 0.0
