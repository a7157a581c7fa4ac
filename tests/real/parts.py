"""Finds the real programs that these tests run against.

Never builds or downloads anything: `make real-parts` does.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FOLDER = Path(
    os.environ.get("CONDUIT_EXPORTER_REAL_PARTS") or _CACHE / "conduit-exporter" / "real-parts"
)
REQUIRED = os.environ.get("CONDUIT_EXPORTER_REQUIRE_REAL_PARTS") == "1"


def find(name: str) -> Path | None:
    """The program from the cache folder or else from PATH, None if it is in neither."""
    built = FOLDER / "bin" / name
    if os.access(built, os.X_OK) and built.is_file():
        return built
    found = shutil.which(name)
    return Path(found) if found else None


def require(name: str, *, hint: str = "`make real-parts` builds it") -> Path:
    """The program; without it the test is skipped, or fails where real parts are compulsory."""
    program = find(name)
    if program is None:
        unavailable(f"{name} is neither in {FOLDER / 'bin'} nor on PATH; {hint}")
    return program


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it if CONDUIT_EXPORTER_REQUIRE_REAL_PARTS=1."""
    if REQUIRED:
        pytest.fail(f"{reason} (CONDUIT_EXPORTER_REQUIRE_REAL_PARTS=1 allows no skip)")
    pytest.skip(reason)
