"""Foreign exceptions and statuses as the exporter's own errors."""

import asyncio
import inspect
import ssl

import httpx
import pytest

from exporter.conduit.failures import error_for_status, rest_asked, source_errors
from exporter.errors import (
    SourceError,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    SourceRateLimited,
    SourceRejected,
    SourceUnauthorized,
    SourceUnavailable,
)
from tests.fakes import START_NS

START_DATE = "Fri, 03 Apr 2026 03:04:15 GMT"

# Every exception the library has, and what it means here. A new one fails the test below.
HTTPX: dict[str, type[SourceError]] = {
    "CloseError": SourceUnavailable,
    "ConnectError": SourceUnavailable,
    "ConnectTimeout": SourceUnavailable,
    "CookieConflict": SourceRejected,
    "DecodingError": SourceUnavailable,
    "HTTPError": SourceUnavailable,
    "HTTPStatusError": SourceUnavailable,
    "InvalidURL": SourceRejected,
    "LocalProtocolError": SourceRejected,
    "NetworkError": SourceUnavailable,
    "PoolTimeout": SourceUnavailable,
    "ProtocolError": SourceUnavailable,
    "ProxyError": SourceUnavailable,
    "ReadError": SourceUnavailable,
    "ReadTimeout": SourceUnavailable,
    "RemoteProtocolError": SourceUnavailable,
    "RequestError": SourceUnavailable,
    "RequestNotRead": SourceUnavailable,
    "ResponseNotRead": SourceUnavailable,
    "StreamClosed": SourceUnavailable,
    "StreamConsumed": SourceUnavailable,
    "StreamError": SourceUnavailable,
    "TimeoutException": SourceUnavailable,
    "TooManyRedirects": SourceRejected,
    "TransportError": SourceUnavailable,
    "UnsupportedProtocol": SourceRejected,
    "WriteError": SourceUnavailable,
    "WriteTimeout": SourceUnavailable,
}


def _exceptions_of(module: object) -> dict[str, type[Exception]]:
    return {
        name: kind
        for name, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception)
    }


def test_every_exception_of_the_library_is_mapped() -> None:
    """None gets through as it is, and none is new."""
    found = _exceptions_of(httpx)
    assert set(found) == set(HTTPX)
    for name, kind in found.items():
        foreign = kind.__new__(kind)
        Exception.__init__(foreign, "broken")
        with pytest.raises(SourceError) as caught, source_errors():
            raise foreign
        assert type(caught.value) is HTTPX[name], name
        assert caught.value.__cause__ is foreign
        assert "broken" in str(caught.value)


@pytest.mark.parametrize(
    "foreign",
    [
        OSError(5, "Input/output error"),
        ConnectionResetError(104, "Connection reset by peer"),
        ssl.SSLError(1, "bad record"),
        TimeoutError(),
    ],
    ids=lambda foreign: type(foreign).__name__,
)
def test_what_lies_under_the_library_is_mapped(foreign: Exception) -> None:
    """A socket's own errors mean that the API is out of reach."""
    with pytest.raises(SourceUnavailable) as caught, source_errors():
        raise foreign
    assert caught.value.__cause__ is foreign


def test_our_own_errors_and_cancellation_pass() -> None:
    """Only what is foreign is mapped, and a bug stays visible as one."""
    for own in (SourceMalformed("mine"), asyncio.CancelledError(), KeyError("bug")):
        with pytest.raises(type(own)) as caught, source_errors():
            raise own
        assert caught.value is own


def test_an_untrusted_certificate_is_explained() -> None:
    """The message alone does not say what to do."""
    foreign = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")
    with pytest.raises(SourceUnavailable, match="not signed by an authority"), source_errors():
        raise foreign


def _error(status: int, text: str | None = None, **headers: str) -> SourceError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_for_status(
        status, httpx.Headers(named), text=text, now_ns=START_NS, secret="tok_secret"
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, SourceRejected),
        (401, SourceUnauthorized),
        (402, SourceRejected),
        (403, SourceForbidden),
        (404, SourceNotFound),
        (405, SourceRejected),
        (407, SourceUnavailable),
        (408, SourceUnavailable),
        (410, SourceNotFound),
        (422, SourceRejected),
        (425, SourceUnavailable),
        (429, SourceRateLimited),
        (500, SourceUnavailable),
        (502, SourceUnavailable),
        (503, SourceUnavailable),
        (599, SourceUnavailable),
        (101, SourceUnavailable),
        (204, SourceUnavailable),
        (206, SourceUnavailable),
        (301, SourceUnavailable),
        (304, SourceUnavailable),
        (307, SourceUnavailable),
    ],
)
def test_a_status_means_one_error(status: int, kind: type[SourceError]) -> None:
    """And names itself, with what the API said."""
    error = _error(status, "Invalid workspace id")
    assert type(error) is kind
    assert str(status) in str(error)
    assert 300 <= status < 400 or "Invalid workspace id" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, SourceUnavailable),
        (401, SourceUnauthorized),
        (403, SourceForbidden),
        (404, SourceUnavailable),
        (410, SourceUnavailable),
        (429, SourceRateLimited),
        (502, SourceUnavailable),
    ],
)
def test_a_web_page_is_not_conduits_word(status: int, kind: type[SourceError]) -> None:
    """A proxy's 404 does not say that a run is gone."""
    error = _error(status, content_type="text/html; charset=utf-8")
    assert type(error) is kind
    assert status == 429 or "CONDUIT_BASE_URL" in str(error)


def test_a_redirect_says_where_to_but_not_with_what() -> None:
    """The target helps to find the proxy; its query may hold anything."""
    error = _error(302, location="https://login.example/sso?next=tok_secret")
    assert "https://login.example/sso" in str(error)
    assert "next" not in str(error)
    assert "CONDUIT_BASE_URL" in str(error)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", (0.0, False)),
        ("17", (17.0, False)),
        (" 2.5 ", (2.5, False)),
        ("3600", (3600.0, False)),
        ("3601", (3600.0, True)),
        ("1e9", (3600.0, True)),
        ("inf", (3600.0, True)),
        ("-1", (None, True)),
        ("-inf", (None, True)),
        ("nan", (None, True)),
        ("1_0", (None, True)),
        ("", (None, True)),
        ("soon", (None, True)),
        ("17, 18", (None, True)),
        ("Fri, 03 Apr 2026 03:04:45 GMT", (30.0, False)),
        ("Fri, 03 Apr 2026 03:04:45", (30.0, False)),
        ("Friday, 03-Apr-26 03:04:45 GMT", (30.0, False)),
        ("Fri, 03 Apr 2026 05:04:15 GMT", (3600.0, True)),
        ("Fri, 03 Apr 2026 03:04:14 GMT", (None, True)),
        ("Fri, 99 Apr 2026 03:04:14 GMT", (None, True)),
        ("Fri, 03 Apr 20266666 03:04:14 GMT", (None, True)),
    ],
)
def test_retry_after_is_honoured_within_reason(
    value: str, expected: tuple[float | None, bool]
) -> None:
    """Seconds or a date; up to an hour; what cannot be is absurd."""
    error = _error(429, retry_after=value)
    assert isinstance(error, SourceRateLimited)
    assert (error.retry_after_s, error.absurd) == expected


def test_no_retry_after_is_not_absurd() -> None:
    """It only leaves the waiting to the caller."""
    assert rest_asked(httpx.Headers(), now_ns=START_NS) == (None, False)


def test_a_date_counts_from_the_answers_own_clock() -> None:
    """Our clock may be a day wrong."""
    headers = httpx.Headers({"retry-after": "Fri, 03 Apr 2026 03:04:45 GMT", "date": START_DATE})
    assert rest_asked(headers, now_ns=START_NS + 86_400 * 10**9) == (30.0, False)
    headers["date"] = "garbage"
    assert rest_asked(headers, now_ns=START_NS) == (30.0, False)
