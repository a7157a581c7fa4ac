"""What can go wrong with a request, mapped once onto the exporter's own errors.

Foreign exceptions on one side, HTTP statuses on the other. Whatever the other end wrote is quoted
short, escaped and without the token; nothing here decides whether a request is repeated.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

import httpx

from exporter.errors import (
    SourceError,
    SourceForbidden,
    SourceNotFound,
    SourceRateLimited,
    SourceRejected,
    SourceUnauthorized,
    SourceUnavailable,
)
from exporter.quoting import quote
from exporter.retry_after import parse_retry_after

LONGEST_RETRY_AFTER_S: Final = 3600.0

# The hint for an answer that may not come from Conduit.
ELSEWHERE: Final = "is a proxy in the way, or CONDUIT_BASE_URL wrong?"

_FIRST_REDIRECT: Final = 300
_FIRST_CLIENT_ERROR: Final = 400
_FIRST_SERVER_ERROR: Final = 500
_HTML: Final = re.compile(r"\s*(?:text/html|application/xhtml)", re.IGNORECASE)

_UNAVAILABLE: Final = (SourceUnavailable, "The Conduit API cannot be reached")
_LATE: Final = (SourceUnavailable, "The Conduit API did not answer in time")
_UNSENDABLE: Final = (SourceRejected, "The request cannot be sent")

# The most specific class of an exception that stands here decides.
_MEANINGS: Final[dict[type[Exception], tuple[type[SourceError], str]]] = {
    httpx.HTTPError: _UNAVAILABLE,
    httpx.TimeoutException: _LATE,
    httpx.PoolTimeout: (SourceUnavailable, "No connection to the Conduit API became free in time"),
    httpx.ConnectTimeout: (SourceUnavailable, "Connecting to the Conduit API took too long"),
    httpx.RemoteProtocolError: (SourceUnavailable, "The connection broke before an answer came"),
    httpx.LocalProtocolError: _UNSENDABLE,
    httpx.UnsupportedProtocol: _UNSENDABLE,
    httpx.TooManyRedirects: _UNSENDABLE,
    httpx.InvalidURL: _UNSENDABLE,
    httpx.CookieConflict: _UNSENDABLE,
    # The transport was closed under the request.
    httpx.StreamError: _UNAVAILABLE,
    OSError: _UNAVAILABLE,
    TimeoutError: _LATE,
}
_FOREIGN: Final = tuple(_MEANINGS)

_NOT_FOUND: Final = (SourceNotFound, "The Conduit API does not know what was asked for")
_AILING: Final = (SourceUnavailable, "The Conduit API cannot answer now")
_MEANINGS_OF_STATUS: Final[dict[int, tuple[type[SourceError], str]]] = {
    HTTPStatus.UNAUTHORIZED: (SourceUnauthorized, "The Conduit API does not accept the token"),
    HTTPStatus.FORBIDDEN: (SourceForbidden, "The token has no access to what was asked for"),
    HTTPStatus.NOT_FOUND: _NOT_FOUND,
    HTTPStatus.GONE: _NOT_FOUND,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: (SourceUnavailable, "A proxy asks for credentials"),
    HTTPStatus.REQUEST_TIMEOUT: _AILING,
    HTTPStatus.TOO_EARLY: _AILING,
}
_TRUSTED_FROM_ANYONE: Final = frozenset((HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN))


@contextmanager
def source_errors() -> Iterator[None]:
    """Raise whatever the HTTP library raises inside as a SourceError, `from` the original."""
    try:
        yield
    except _FOREIGN as exc:
        meaning = next(_MEANINGS[kind] for kind in type(exc).__mro__ if kind in _MEANINGS)
        error, message = meaning
        reason = quote(str(exc))
        raise error(f"{message}: {reason}" if reason else message, hint=_hint(str(exc))) from exc


def error_for_status(
    status: int, headers: httpx.Headers, *, text: str | None, now_ns: int, secret: str
) -> SourceError:
    """The error that an answer other than 200 stands for.

    `text` is what the body's `error` says, if it says anything; `secret` is kept out of what is
    quoted from the answer.
    """
    said = f"{status}: {quote(text, [secret])}" if text else f"{status}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        retry_after_s, absurd = rest_asked(headers, now_ns=now_ns)
        return SourceRateLimited(
            f"The Conduit API asked for fewer requests ({said})",
            retry_after_s=retry_after_s,
            absurd=absurd,
        )
    if _FIRST_REDIRECT <= status < _FIRST_CLIENT_ERROR:
        target = quote(headers.get("location", "").split("?")[0], [secret])
        whither = f" to {target}" if target else ""
        return SourceUnavailable(
            f"The answer is a redirect{whither}, which is not followed ({status})",
            hint=ELSEWHERE,
        )
    # Conduit's own errors are JSON: a page made for people comes from something in between, and
    # must not be taken for Conduit's word that a run is gone or a request wrong.
    foreign = _HTML.match(headers.get("content-type", "")) is not None
    error, message = _meaning_of_status(status, foreign=foreign)
    return error(f"{message} ({said})", hint=f"it is a web page: {ELSEWHERE}" if foreign else None)


def rest_asked(headers: httpx.Headers, *, now_ns: int) -> tuple[float | None, bool]:
    """How long to rest by Retry-After, None where it says nothing usable, and whether it is absurd.

    More than an hour is cut to an hour.
    """
    if "retry-after" not in headers:
        return None, False
    seconds = parse_retry_after(headers, now_ns=now_ns)
    if seconds is None or seconds < 0:
        return None, True
    if seconds > LONGEST_RETRY_AFTER_S:
        return LONGEST_RETRY_AFTER_S, True
    return seconds, False


def _meaning_of_status(status: int, *, foreign: bool) -> tuple[type[SourceError], str]:
    if not _FIRST_CLIENT_ERROR <= status < _FIRST_SERVER_ERROR:
        return _AILING
    if foreign and status not in _TRUSTED_FROM_ANYONE:
        return SourceUnavailable, "Something answered in place of Conduit"
    return _MEANINGS_OF_STATUS.get(status, (SourceRejected, "The Conduit API rejected the request"))


def _hint(reason: str) -> str | None:
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return "the certificate is not signed by an authority that is trusted here, or not valid"
    return None
