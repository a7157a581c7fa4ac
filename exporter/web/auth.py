"""Basic authentication against bcrypt hashes, one check at a time and none twice.

Never compares a password on the event loop, never keeps one, and takes as long for a user that
does not exist as for one that does.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import partial
from typing import Final, Protocol, TypeVar

R = TypeVar("R")

# bcrypt looks at so many bytes of a password; the library refuses longer ones.
_BCRYPT_BYTES: Final = 72
_MOST_ACCEPTED: Final = 64
_MOST_DENIED: Final = 256
# Checks that wait for their turn; who comes then is told to come again.
_MOST_WAITING: Final = 8
_NO_USER_COST: Final = "10"


class Executor(Protocol):
    """Runs a blocking call somewhere and gives back its result: a thread, or inline."""

    def __call__(self, call: Callable[[], R], /) -> Awaitable[R]:
        """Run `call` and give back what it returns."""


class Verdict(Enum):
    """What became of a request's credentials."""

    ACCEPTED = "accepted"
    DENIED = "denied"
    BUSY = "busy"


class BasicAuth:
    """Judges Authorization headers; remembers verdicts by a keyed digest that names nobody."""

    def __init__(self, *, executor: Executor) -> None:
        self._executor = executor
        self._key = secrets.token_bytes(32)
        self._accepted: dict[bytes, None] = {}
        self._denied: dict[bytes, None] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def judge(self, header: str, users: Mapping[str, str]) -> Verdict:
        """Whether the header names one of `users` with the right password."""
        credentials = _parse(header)
        if credentials is None:
            return Verdict.DENIED
        name, password = credentials
        hashed = users.get(name)
        digest = self._digest(name, password, hashed or "")
        known = self._known(digest)
        if known is not None:
            return known
        if self._waiting >= _MOST_WAITING:
            return Verdict.BUSY
        self._waiting += 1
        try:
            async with self._turn:
                known = self._known(digest)
                if known is not None:
                    return known
                check = partial(_matches, password, hashed or _nobody(users))
                matches = await self._executor(check)
        finally:
            self._waiting -= 1
        if matches and hashed is not None:
            _remember(self._accepted, digest, _MOST_ACCEPTED)
            return Verdict.ACCEPTED
        _remember(self._denied, digest, _MOST_DENIED)
        return Verdict.DENIED

    def _known(self, digest: bytes) -> Verdict | None:
        if digest in self._accepted:
            _remember(self._accepted, digest, _MOST_ACCEPTED)
            return Verdict.ACCEPTED
        return Verdict.DENIED if digest in self._denied else None

    def _digest(self, name: str, password: bytes, hashed: str) -> bytes:
        """Stands for these credentials as long as the user's hash is this one."""
        parts = (name.encode(), hashed.encode(), password)
        text = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hmac.digest(self._key, text, hashlib.sha256)


def _parse(header: str) -> tuple[str, bytes] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


def _remember(verdicts: dict[bytes, None], digest: bytes, most: int) -> None:
    """Put it last and drop the first beyond `most`."""
    verdicts.pop(digest, None)
    verdicts[digest] = None
    if len(verdicts) > most:
        del verdicts[next(iter(verdicts))]


def _nobody(users: Mapping[str, str]) -> str:
    """A hash that no password matches, as dear to check as that of a user."""
    cost = next((hashed.split("$")[2] for hashed in users.values()), _NO_USER_COST)
    return f"$2b${cost}${'.' * 53}"


def _matches(password: bytes, hashed: str) -> bool:
    import bcrypt  # noqa: PLC0415 - costs memory, and only who sets users needs it

    return bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed.encode())
