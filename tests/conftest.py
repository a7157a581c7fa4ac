"""What holds for every test.

None of the developer's settings; logging given back as it was; properties tried without a clock,
the same each time.
"""

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.delivery_support import Certificates, make_certificates

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("suite")

_OURS = ("CONDUIT_", "EXPORTER_", "OTEL_")


class RealPartsByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Tests of real parts share programs: one process runs a file of them. Others go one by one."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if nodeid.startswith("tests/real/") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> RealPartsByFile:
    """Not xdist's groups by marker: since pytest 9.2 they have no effect (pytest-xdist #1386)."""
    return RealPartsByFile(config, log)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests set what they mean to be set; what CI requires was read when they were imported."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Commands and servers configure the whole process's loggers."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    levels = {name: logging.getLogger(name).level for name in root.manager.loggerDict}
    level = root.level
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in root.manager.loggerDict:
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of a server, a client and strangers, made once: openssl takes a moment."""
    return make_certificates(tmp_path_factory.mktemp("tls"))
