"""The token, from a text or a file."""

import os
from pathlib import Path

import pytest

from exporter.conduit.token import TokenSource
from exporter.errors import ConfigError, SourceUnauthorized

TOKEN = "tok_s3cr3t_9f81"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that holds the token, as editors write it."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def _replace(path: Path, content: str) -> None:
    other = path.with_name("other")
    other.write_text(content)
    other.rename(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("two words", "more than one word"),
        ("two\nlines", "more than one word"),
        ("tök", "more than one word"),
        ("tok\x00", "more than one word"),
        (f"Bearer {TOKEN}", "give the token alone"),
    ],
)
def test_an_unusable_token_is_refused_with_its_reason(
    path: Path, content: str, problem: str
) -> None:
    """At once where it was given as text, when it is needed where it stands in a file."""
    with pytest.raises(ConfigError, match=problem) as refused:
        TokenSource(text=content)
    path.write_text(content)
    source = TokenSource(path=path)
    with pytest.raises(SourceUnauthorized, match=problem) as unread:
        source.current()
    for error in (refused.value, unread.value):
        assert not content.strip() or content.strip() not in str(error)


def test_a_file_is_read_without_its_frame(path: Path) -> None:
    """A byte order mark and line ends are no part of the token."""
    path.write_bytes(b"\xef\xbb\xbf" + TOKEN.encode() + b"\r\n")
    assert TokenSource(path=path).current() == TOKEN


def test_a_changed_file_is_read_again(path: Path) -> None:
    """Rotation needs no restart, whether the file is replaced or written over."""
    source = TokenSource(path=path)
    assert source.current() == TOKEN
    _replace(path, "tok_replaced")
    assert source.current() == "tok_replaced"
    path.write_text("tok_written_over")
    assert source.current() == "tok_written_over"


def test_half_a_rotation_keeps_the_token(path: Path) -> None:
    """An empty or missing file is a moment of somebody's writing, until the API refuses."""
    source = TokenSource(path=path)
    assert source.current() == TOKEN
    path.write_text("")
    assert source.current() == TOKEN
    path.unlink()
    assert source.current() == TOKEN
    source.invalidate()
    with pytest.raises(SourceUnauthorized, match="No such file"):
        source.current()
    path.write_text("tok_new")
    assert source.current() == "tok_new"


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """Neither a directory, nor a pipe that would hold up the event loop, nor a disk image."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    large = tmp_path / "large"
    large.write_bytes(b"x" * 20_000)
    for path, problem in ((tmp_path, "regular"), (pipe, "regular"), (large, "too large")):
        with pytest.raises(SourceUnauthorized, match=problem):
            TokenSource(path=path).current()


def test_the_repr_shows_no_token(path: Path) -> None:
    """Where it comes from is enough."""
    source = TokenSource(path=path)
    source.current()
    assert TOKEN not in repr(source)
    assert str(path) in repr(source)
    assert TOKEN not in repr(TokenSource(text=TOKEN))
