"""Basic authentication against the bcrypt hashes of the web config file, for every path.

Never compares a password on the event loop, never keeps one, and takes as long for a user that
does not exist as for one that does.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

import bcrypt
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
)
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response

# bcrypt looks at so many bytes of a password; the library refuses longer ones.
_BCRYPT_BYTES: Final = 72
# Checks that wait for their turn; a request beyond them is told to come again.
_MAX_WAITING: Final = 8
_CHALLENGE: Final = 'Basic realm="conduit-exporter", charset="UTF-8"'


class _TooManyChecks(AuthenticationError):
    """As many passwords as may wait are waiting to be checked."""


class BasicAuthBackend(AuthenticationBackend):
    """Lets in whoever is one of `users()` (bcrypt hashes by name); anybody where there is none.

    One password is checked at a time. The last credentials that were accepted of each user are
    known by a keyed digest, so that a flood of guesses does not keep a scraper waiting.
    """

    def __init__(self, users: Callable[[], Mapping[str, str]]) -> None:
        self._users = users
        self._key = secrets.token_bytes(32)
        self._accepted: dict[str, bytes] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """The user of a request; raises AuthenticationError for a wrong or missing password."""
        users = self._users()
        if not users:
            return None
        name, password = _parse(conn.headers.get("authorization", ""))
        hashed = users.get(name)
        digest = self._digest(password, hashed or "")
        if hashed is None or not hmac.compare_digest(self._accepted.get(name, b""), digest):
            if not await self._check(password, hashed or _nobody(users)) or hashed is None:
                raise AuthenticationError(HTTPStatus.UNAUTHORIZED.phrase)
            self._accepted[name] = digest
        return AuthCredentials(["authenticated"]), SimpleUser(name)

    async def _check(self, password: bytes, hashed: str) -> bool:
        if self._waiting >= _MAX_WAITING:
            raise _TooManyChecks(HTTPStatus.SERVICE_UNAVAILABLE.phrase)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(bcrypt.checkpw, password, hashed.encode())
        finally:
            self._waiting -= 1

    def _digest(self, password: bytes, hashed: str) -> bytes:
        """Stands for this password as long as the user's hash is this one."""
        return hmac.digest(self._key, hashed.encode() + b"\0" + password, hashlib.sha256)


def refuse(_: HTTPConnection, error: AuthenticationError) -> Response:
    """The answer to a request without valid credentials."""
    if isinstance(error, _TooManyChecks):
        return PlainTextResponse(f"{error}\n", 503, {"retry-after": "1"})
    return PlainTextResponse(f"{error}\n", 401, {"www-authenticate": _CHALLENGE})


def _parse(header: str) -> tuple[str, bytes]:
    """Name and password of an Authorization header; raises AuthenticationError."""
    scheme, _, encoded = header.partition(" ")
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        if scheme.lower() == "basic" and colon:
            return name.decode(), password[:_BCRYPT_BYTES]
    except ValueError:
        pass
    raise AuthenticationError(HTTPStatus.UNAUTHORIZED.phrase)


def _nobody(users: Mapping[str, str]) -> str:
    """A hash that no password matches, as expensive to check as that of a user."""
    cost = next(iter(users.values())).split("$")[2]
    return f"$2b${cost}${'.' * 53}"
