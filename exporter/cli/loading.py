"""The settings of a command, and the log as they want it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from exporter import logs

if TYPE_CHECKING:
    from exporter.settings.model import Settings


def load_settings(env_file: Path | None) -> "Settings":
    """Read and check the settings, and set up the log. Raises ConfigError."""
    from exporter.settings.loading import load

    settings = load(os.environ, env_file)
    logs.configure(level=settings.log_level, style=settings.log_format, secrets=settings.secrets())
    return settings
