"""What holds for every test.

None of the developer's settings; logging given back as it was; properties tried without a clock,
the same each time.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.delivery_support import Certificates, make_certificates

settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("suite")

_OURS = ("CONDUIT_", "EXPORTER_", "OTEL_")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of real parts share programs by file: one process runs a whole file of them."""
    for item in items:
        if "real" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


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
