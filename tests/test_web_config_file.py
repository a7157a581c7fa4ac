"""The web config file in use: taken over whole when it changes, or not at all."""

import logging
from pathlib import Path

import pytest

from exporter.errors import ConfigError
from exporter.web.config_file import WebConfigFile
from tests.fakes import FakeClock
from tests.web_support import HASHED, HASHED_ANOTHER

ALICE = f"basic_auth_users: {{alice: {HASHED}}}\n"
BOB = f"basic_auth_users: {{bob: {HASHED_ANOTHER}}}\n"


class File:
    """A web config file in use, and the clock that it looks at."""

    def __init__(self, folder: Path, text: str = ALICE) -> None:
        self.clock = FakeClock()
        self.path = folder / "web.yml"
        self.path.write_text(text, encoding="utf-8")
        self.in_use = WebConfigFile(self.path, clock=self.clock)

    def write(self, text: str) -> None:
        """Put another file in its place, as with a mounted secret, and look a second later."""
        other = self.path.with_suffix(".new")
        other.write_text(text, encoding="utf-8")
        other.replace(self.path)
        self.look()

    def look(self) -> None:
        self.clock.advance(1)
        self.in_use.refresh()

    @property
    def users(self) -> list[str]:
        return list(self.in_use.config.users)


def test_no_file_is_an_empty_file() -> None:
    """And says nothing of reloads."""
    clock = FakeClock()
    in_use = WebConfigFile(None, clock=clock)
    clock.advance(10)
    in_use.refresh()
    assert (in_use.context, in_use.config.users, in_use.reloaded) == (None, {}, None)


def test_a_changed_file_is_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a restart, and the log says so."""
    file = File(tmp_path)
    assert (file.users, file.in_use.reloaded) == (["alice"], True)
    with caplog.at_level(logging.INFO):
        file.write(BOB)
    assert (file.users, file.in_use.reloaded) == (["bob"], True)
    assert caplog.messages == ["The web config file was reloaded"]


def test_the_file_is_looked_at_once_a_second(tmp_path: Path) -> None:
    """However many requests come."""
    file = File(tmp_path)
    file.path.write_text(BOB + "\n", encoding="utf-8")
    file.clock.advance(0.9)
    file.in_use.refresh()
    assert file.users == ["alice"]
    file.clock.advance(0.1)
    file.in_use.refresh()
    assert file.users == ["bob"]


def test_a_wrong_file_leaves_the_former_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once for each change, with the reason and without what the file holds."""
    file = File(tmp_path)
    file.write("basic_auth_users: {alice: hunter2, bob: hunter3}\n")
    file.look()
    assert (file.users, file.in_use.reloaded) == (["alice"], False)
    (message,) = caplog.messages
    assert message.startswith(f"The web config file was not reloaded: {file.path}: ")
    assert "hunter" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


def test_a_mended_file_is_taken_over(tmp_path: Path) -> None:
    """Also when it is again what it was before."""
    file = File(tmp_path)
    file.write("nonsense: 1\n")
    file.write(ALICE)
    assert (file.users, file.in_use.reloaded) == (["alice"], True)


def test_a_file_that_is_gone_leaves_the_former_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A volume that is remounted opens the door to nobody."""
    file = File(tmp_path)
    file.path.unlink()
    file.look()
    file.look()
    assert (file.users, file.in_use.reloaded) == (["alice"], False)
    (message,) = caplog.messages
    assert message.endswith(f"{file.path}: cannot be read: No such file or directory")
    file.write(BOB)
    assert (file.users, file.in_use.reloaded) == (["bob"], True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "is larger than 1 MiB"),
        (b"one: 1\ntwo: 2\n", "one: unknown key"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    """Each problem with the path of the file."""
    path = tmp_path / "web.yml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        WebConfigFile(path, clock=FakeClock())
    assert caught.value.problems[0] == f"{path}: {problem}"
    assert all(one.startswith(f"{path}: ") for one in caught.value.problems)


def test_a_file_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, or nothing at all."""
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "x", "No such file")):
        with pytest.raises(ConfigError, match=f"{path}: cannot be read: {words}"):
            WebConfigFile(path, clock=FakeClock())


def test_a_file_that_can_be_endless_is_not_read_to_its_end() -> None:
    """A device in its place costs a mebibyte."""
    with pytest.raises(ConfigError, match="/dev/zero: is larger than 1 MiB"):
        WebConfigFile(Path("/dev/zero"), clock=FakeClock())
