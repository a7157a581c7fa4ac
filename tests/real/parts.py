"""Finds the real programs that these tests run against, and runs those that end by themselves.

Never builds or downloads anything: `make real-parts` does.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FOLDER = Path(
    os.environ.get("CONDUIT_EXPORTER_REAL_PARTS") or _CACHE / "conduit-exporter" / "real-parts"
)
BUILT = "`make real-parts` builds it"
DEBIAN = "`.ci/real-parts --debian` installs it"
REQUIRED = os.environ.get("CONDUIT_EXPORTER_REQUIRE_REAL_PARTS") == "1"


def find(name: str) -> Path | None:
    """The program from the cache folder or else from PATH, None if it is in neither."""
    built = FOLDER / "bin" / name
    if os.access(built, os.X_OK) and built.is_file():
        return built
    found = shutil.which(name)
    return Path(found) if found else None


def require(name: str, *, hint: str = BUILT) -> Path:
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


def run(
    name: str, *arguments: str | Path, stdin: str = "", hint: str = BUILT, timeout_s: float = 60.0
) -> str:
    """What a program prints; that it ends with 0 is asserted."""
    result = subprocess.run(
        [require(name, hint=hint), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
