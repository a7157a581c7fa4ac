"""The API token, given as text or read from a file that may be replaced at any time.

The token leaves only through `current`: it is never part of a repr, an error or a log.
"""

import re
from pathlib import Path
from typing import Final

from exporter.errors import ConfigError, SourceUnauthorized
from exporter.http_client import file_state

# What may stand in a header without quoting: visible ASCII.
_USABLE: Final = re.compile(r"[\x21-\x7e]+")
_MAX_BYTES: Final = 16 * 1024


class TokenSource:
    """The token as it is now.

    Of a file, the outside white space is dropped, and it is read again when it has been replaced or
    changed. While a new file cannot be read, being half written perhaps, the token last read stays
    in use, until `invalidate` says that it is no good.
    """

    def __init__(self, *, text: str | None = None, path: Path | None = None) -> None:
        if (text is None) == (path is None):
            raise ConfigError(["The token is given either as text or as a file"])
        self._path = path
        self._state: tuple[int, int, int] | None = None
        self._token: str | None = None
        if text is not None:
            self._token = text.strip()
            if problem := _problem_of(self._token):
                raise ConfigError([f"The token {problem}"])

    def __repr__(self) -> str:
        return f"TokenSource({'text' if self._path is None else str(self._path)!r})"

    def current(self) -> str:
        """The token to use now; raises SourceUnauthorized where the file yields none."""
        if self._path is not None:
            state = file_state(self._path)
            if self._token is None or state != self._state:
                try:
                    self._token = _read(self._path)
                    self._state = state
                except SourceUnauthorized:
                    if self._token is None:
                        raise
        return self._token or ""

    def invalidate(self) -> None:
        """Forget what was read from the file: the API did not accept it."""
        if self._path is not None:
            self._token = None


def _read(path: Path) -> str:
    try:
        # Opening a pipe would wait for a writer, and the event loop with it.
        if path.exists() and not path.is_file():
            raise SourceUnauthorized(f"The token file {path} is not a regular file")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        raise SourceUnauthorized(f"The token file {path} cannot be read: {reason}") from exc
    if len(content) > _MAX_BYTES:
        raise SourceUnauthorized(f"The token file {path} is too large to hold a token")
    token = content.decode("utf-8-sig", "replace").strip()
    if problem := _problem_of(token):
        raise SourceUnauthorized(f"The token file {path} {problem}")
    return token


def _problem_of(token: str) -> str | None:
    if not token:
        return "is empty"
    if token.lower().startswith("bearer "):
        return 'starts with "Bearer": give the token alone'
    if _USABLE.fullmatch(token) is None:
        return "holds more than one word, or characters that no token has"
    return None
