"""The error tree of the whole exporter, and how foreign text is quoted in its messages.

It never imports anything of ours.

ExporterError
 ├─ ConfigError                 settings or command line; exit code 2
 ├─ HttpError                   a request that cannot be sent; callers map these onto their own
 │   ├─ HttpUnreachable         no connection: nothing was sent
 │   └─ HttpNoAnswer            the deadline passed or the connection broke
 ├─ SourceError                 the Conduit API
 │   ├─ SourceUnavailable       no answer or 5xx: try again later
 │   │   └─ SourceUnreachable   no connection at all: refused, DNS, TLS
 │   ├─ SourceRateLimited       429: the workspace rests until Retry-After has passed
 │   ├─ SourceUnauthorized      401: the token is missing, wrong or expired
 │   ├─ SourceForbidden         403: the token has no access to that workspace
 │   ├─ SourceRejected          any other 4xx: the request itself is at fault
 │   │   └─ SourceNotFound      404 or 410: the thing, or the cursor, is gone
 │   └─ SourceMalformed         an answer that is not what the documentation promises
 └─ LedgerError                 the ledger
     ├─ LedgerUnavailable       the disk or database does not take writes now: try again later
     ├─ LedgerLocked            another process holds it
     └─ LedgerRefused           foreign, newer or damaged: a person must decide

What a trace backend answers is a value (`exporter.delivery.outcome`), not an exception.
"""

from base64 import b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, unquote_plus

HIDDEN: Final = "[hidden]"

_MAX_QUOTED_CHARACTERS: Final = 200
# A shorter one is a word that would tear holes into every message.
_MIN_SECRET_CHARACTERS: Final = 4


def quote(text: str, secrets: Iterable[str] = ()) -> str:
    """Foreign text for a message: short, on one line, printable, with the secrets hidden."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _MIN_SECRET_CHARACTERS:
            text = text.replace(secret, HIDDEN)
    line = " ".join(text[: 4 * _MAX_QUOTED_CHARACTERS].split())
    shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
    if len(shown) > _MAX_QUOTED_CHARACTERS:
        return f"{shown[:_MAX_QUOTED_CHARACTERS]}..."
    return shown


def url_secrets(url: str) -> tuple[str, ...]:
    """What no message may show of a URL, as it travels and as it reads: password and query."""
    rest, _, query = url.partition("?")
    credentials, at, _ = rest.partition("://")[2].rpartition("@")
    found = [query]
    for item in query.split("&"):
        name, equals, value = item.partition("=")
        found.append(value if equals else name)
    found += [unquote_plus(one) for one in found]
    if at:
        user, _, password = map(unquote, credentials.partition(":"))
        # A user without a password is a token; beside one it is a word that may stand anywhere.
        found += [credentials, credentials.partition(":")[2], password or user]
        found.append(b64encode(f"{user}:{password}".encode()).decode())
    return tuple(dict.fromkeys(one for one in found if one))


class ExporterError(Exception):
    """Something the exporter could not do."""

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        self.message = message or (self.__doc__ or "").splitlines()[0]
        self.hint = hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(ExporterError):
    """The settings cannot be used."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class HttpError(ExporterError):
    """The request cannot be sent."""


class HttpUnreachable(HttpError):
    """There is no connection: nothing was sent."""


class HttpNoAnswer(HttpError):
    """No whole answer came; the request may have been received."""


class SourceError(ExporterError):
    """The Conduit API could not be read; `status` is None where it is not about a status."""

    def __init__(
        self, message: str | None = None, *, status: int | None = None, hint: str | None = None
    ) -> None:
        self.status = status
        super().__init__(message, hint=hint)


class SourceUnavailable(SourceError):
    """The Conduit API did not answer, or answered with a server error."""


class SourceUnreachable(SourceUnavailable):
    """There is no connection to the Conduit API."""


class SourceRateLimited(SourceError):
    """The Conduit API asked for fewer requests (429)."""

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_s: float | None = None,
        absurd: bool = False,
    ) -> None:
        self.retry_after_s = retry_after_s
        self.absurd = absurd
        super().__init__(message, status=429)


class SourceUnauthorized(SourceError):
    """The Conduit API does not accept the token (401)."""


class SourceForbidden(SourceError):
    """The token has no access to this workspace (403)."""


class SourceRejected(SourceError):
    """The Conduit API rejected the request."""


class SourceNotFound(SourceRejected):
    """The Conduit API does not know this resource or cursor (404 or 410)."""


class SourceMalformed(SourceError):
    """The Conduit API's answer is not what its documentation promises."""


class LedgerError(ExporterError):
    """The ledger could not be used."""


class LedgerUnavailable(LedgerError):
    """The ledger does not take reads or writes at the moment."""


class LedgerLocked(LedgerError):
    """Another process holds the ledger."""


class LedgerRefused(LedgerError):
    """The ledger is foreign, newer than this program, or damaged."""
