"""What the client asks for, and what it makes of answers; over a scripted transport."""

import asyncio
import logging
import os
import traceback
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.conduit.client import Endpoint
from exporter.conduit.models import RunDetail, parse_id
from exporter.conduit.token import TokenSource
from exporter.errors import (
    SourceError,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    SourceRateLimited,
    SourceRejected,
    SourceUnauthorized,
    SourceUnavailable,
    SourceUnreachable,
)
from tests.conduit_support import (
    ANY_JSON,
    CALLS,
    RUN,
    TOKEN,
    as_json,
    converse,
    json_answer,
    page_of,
    run_call,
)
from tests.convert_support import example
from tests.factories import SECOND_NS
from tests.fakes import START_NS, FakeClock

DATE = "Fri, 03 Apr 2026 03:04:15 GMT"


def _fail(*answers: httpx.Response | Exception, **over: Any) -> SourceError:
    """What asking for workspaces raises."""
    talk = converse(*answers, **over)
    with pytest.raises(SourceError) as caught:
        asyncio.run(talk.client.workspaces_page())
    return caught.value


def test_the_request_says_who_asks_and_what_is_understood() -> None:
    """Exactly these headers, and no cookie or body; a gateway may serve Conduit below a path."""
    headers = {"set-cookie": "session=1; Path=/"}
    talk = converse(
        *(httpx.Response(200, json=page_of(), headers=headers) for _ in range(2)),
        base_url="http://gateway.test:8443/conduit/",
    )
    for _ in range(2):
        asyncio.run(talk.client.workspaces_page())
    request = talk.requests[-1]
    assert str(request.url) == "http://gateway.test:8443/conduit/v1/workspaces?limit=100"
    assert dict(request.headers) == {
        "host": "gateway.test:8443",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "connection": "keep-alive",
        "user-agent": "conduit-exporter/0.1.0",
        "authorization": f"Bearer {TOKEN}",
    }


hostile_ids = st.text(min_size=1, max_size=40) | st.sampled_from(
    ["../ws", "a/../../b", "%2e%2e", "a?b=c", "a#b", "a\\b", "a\r\nHost: x", "//evil.test", "@evil"]
)


@given(hostile_ids, hostile_ids, hostile_ids)
def test_no_id_alters_the_path(workspace_id: str, agent_id: str, run_id: str) -> None:
    """Whatever it holds, it stays one segment of the path or one value of the query."""
    talk = converse(json_answer({"data": example() | {"id": run_id}}))
    call = talk.client.run(workspace_id=workspace_id, agent_id=agent_id, run_id=run_id)
    try:
        asyncio.run(call)
    except SourceRejected:
        assert None in (parse_id(agent_id), parse_id(run_id))
        assert talk.requests == []
        return
    (request,) = talk.requests
    assert request.url.host == "api.conduit.test"
    path, _, query = request.url.raw_path.decode().partition("?")
    assert path.count("/") == 5
    assert httpx.QueryParams(query).multi_items() == [("workspace_id", workspace_id)]


def test_a_run_is_known_by_either_of_its_ids_and_another_run_is_refused() -> None:
    """A cache in between must not put one run's trace under another's name."""
    talk = converse(
        json_answer({"data": example() | {"run_id": RUN, "id": "ar_other"}}),
        json_answer({"data": example() | {"id": "ar_other"}}),
        json_answer({"data": example() | {"id": "ar_other", "total_cost": -1}}),
    )
    assert isinstance(asyncio.run(run_call(talk.client)), RunDetail)
    for _ in range(2):
        with pytest.raises(SourceMalformed, match="another run"):
            asyncio.run(run_call(talk.client))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<html>Sign in</html>", "text/html"),
        (b"", "application/json"),
        (b'{"data": [', "application/json"),
        (b"OK", "text/plain"),
        (b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "application/json"),
        (b'{"data":[' + b"[]," * 500_000 + b"[]]}", "application/json"),
    ],
    ids=["html", "empty", "cut", "text", "nested 100,000 deep", "500,000 lists"],
)
def test_a_page_for_people_or_an_endless_one_is_never_an_empty_list(
    content: bytes, kind: str
) -> None:
    """A 200 that is not Conduit's JSON is an error that names what came instead."""
    error = _fail(httpx.Response(200, content=content, headers={"content-type": kind}))
    assert type(error) is SourceMalformed
    assert kind in str(error)
    assert "CONDUIT_BASE_URL" in str(error)
    assert "Sign in" not in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, SourceRejected) for status in (400, 402, 405, 408, 422)),
        *((status, SourceNotFound) for status in (404, 410)),
        (401, SourceUnauthorized),
        (403, SourceForbidden),
        (407, SourceUnreachable),
        (429, SourceRateLimited),
        *((status, SourceUnavailable) for status in (500, 502, 503, 599, 204, 206)),
        *((status, SourceUnavailable) for status in (301, 302, 304, 307)),
    ],
)
def test_a_status_means_one_error(status: int, kind: type[SourceError]) -> None:
    """And names itself, with what the API said, short and on one line."""
    error = _fail(json_answer({"error": "bad\r\n\x1b[31m" + "x" * 500}, status))
    assert (type(error), error.status) == (kind, status)
    assert str(status) in str(error)
    assert 300 <= status < 400 or r"bad \x1b[31mxxx" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 340


@pytest.mark.parametrize("status", [400, 404, 410, 502])
def test_a_web_page_is_not_conduits_word(status: int) -> None:
    """A proxy's 404 does not say that a run is gone."""
    error = _fail(httpx.Response(status, html="<h1>Not here</h1>"))
    assert type(error) is SourceUnavailable
    assert "Not here" not in str(error)
    assert "CONDUIT_BASE_URL" in str(error) or status == 502


def test_a_redirect_is_not_followed_and_says_where_to_but_not_with_what() -> None:
    """The token goes nowhere but to the base URL; a redirect's query may hold anything."""
    location = f"https://login.example/sso/{TOKEN}?next=/v1"
    error = _fail(httpx.Response(302, headers={"location": location}))
    assert "https://login.example/sso/[hidden]" in str(error)
    assert "next" not in str(error)
    assert "CONDUIT_BASE_URL" in str(error)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (None, False)),
        (["0"], (0.0, False)),
        (["17"], (17.0, False)),
        (["3601"], (3600.0, True)),
        (["1e9"], (3600.0, True)),
        (["-1"], (None, True)),
        (["nan"], (None, True)),
        (["soon"], (None, True)),
        (["0", "30"], (30.0, False)),
        (["17, 18"], (18.0, False)),
        (["nan", "5"], (5.0, False)),
        (["5", "Fri, 03 Apr 2026 03:04:45 GMT"], (30.0, False)),
        (["Fri, 03 Apr 2026 05:04:15 GMT"], (3600.0, True)),
        (["Fri, 03 Apr 2026 03:04:14 GMT"], (None, True)),
    ],
    ids=str,
)
def test_retry_after_is_honoured_within_reason(
    values: list[str], expected: tuple[float | None, bool]
) -> None:
    """Seconds or a date, the longest of several, up to an hour; what cannot be is absurd.

    A date counts from the answer's own clock: ours may be a day wrong.
    """
    headers = [("date", DATE), *(("retry-after", value) for value in values)]
    clock = FakeClock(START_NS + 86_400 * SECOND_NS)
    error = _fail(httpx.Response(429, headers=headers, json={"error": "Slow down"}), clock=clock)
    assert isinstance(error, SourceRateLimited)
    assert "Slow down" in str(error)
    assert (error.retry_after_s, error.absurd) == expected


@pytest.mark.parametrize(
    ("foreign", "kind", "said"),
    [
        (httpx.ConnectError("[Errno 111] refused"), SourceUnreachable, "cannot be reached"),
        (httpx.ProxyError("407 Proxy Authentication Required"), SourceUnreachable, "407"),
        (
            httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"),
            SourceUnreachable,
            "CONDUIT_CA_FILE",
        ),
        (httpx.ReadTimeout(""), SourceUnavailable, "within 30 s"),
        (httpx.ReadError("reset"), SourceUnavailable, "broke: reset"),
        (httpx.LocalProtocolError("illegal"), SourceRejected, "cannot be sent"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_no_answer_is_no_connection_or_no_answer(
    foreign: Exception, kind: type[SourceError], said: str
) -> None:
    """Only where there is no connection at all is it evidence against everything."""
    error = _fail(foreign)
    assert type(error) is kind
    assert said in str(error)


def test_a_401_reads_the_token_file_again(tmp_path: Path) -> None:
    """The next request carries the new token, even where the file looks the same from outside."""
    path = tmp_path / "token"
    path.write_text("tok_old")
    before = path.stat()

    def refuse(_: httpx.Request) -> httpx.Response:
        path.write_text("tok_new")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return json_answer({"error": "Invalid token"}, 401)

    answers = (json_answer(page_of()), refuse, json_answer(page_of()))
    talk = converse(*answers, token=TokenSource(path=path))
    asyncio.run(talk.client.workspaces_page())
    with pytest.raises(SourceUnauthorized, match="Invalid token"):
        asyncio.run(talk.client.workspaces_page())
    asyncio.run(talk.client.workspaces_page())
    sent = [one.headers["authorization"] for one in talk.requests]
    assert sent == ["Bearer tok_old", "Bearer tok_old", "Bearer tok_new"]


@pytest.mark.parametrize(
    "answer",
    [
        json_answer({"error": f"token {TOKEN} is wrong"}, 401),
        json_answer({"error": f"x{TOKEN}"}, 400),
        httpx.Response(302, headers={"location": f"https://login.test/{TOKEN}"}),
        httpx.Response(200, content=b"?", headers={"content-type": TOKEN}),
        httpx.Response(200, content=b"?", headers={"content-encoding": TOKEN}),
        httpx.Response(200, json={"data": [{"id": None, "name": TOKEN}]}),
        httpx.ConnectError("refused"),
        httpx.LocalProtocolError("illegal header"),
    ],
    ids=lambda answer: type(answer).__name__ + str(getattr(answer, "status_code", "")),
)
def test_the_token_appears_nowhere(
    answer: httpx.Response | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in an error and its causes, a repr, or the most talkative log; even when echoed."""
    caplog.set_level(logging.DEBUG)
    talk = converse(answer)
    shown = [repr(talk.client), str(talk.client)]
    try:
        result = asyncio.run(talk.client.workspaces_page())
        shown.append(repr(result.unreadable))
    except SourceError as exc:
        shown += ["".join(traceback.format_exception(exc)), repr(exc), repr(exc.args)]
    shown += [repr(talk.requests), caplog.text]
    assert TOKEN not in "".join(shown)


@given(
    ANY_JSON.map(as_json) | st.binary(max_size=60),
    st.sampled_from(list(Endpoint)),
    st.sampled_from([200, 200, 302, 400, 404, 429, 500]),
    st.dictionaries(
        st.sampled_from(["retry-after", "date", "location", "content-encoding", "content-type"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    ),
)
def test_no_answer_raises_anything_but_source_errors(
    body: bytes, endpoint: Endpoint, status: int, headers: dict[str, str]
) -> None:
    """Whatever Conduit, or something in its place, says."""
    talk = converse(httpx.Response(status, stream=httpx.ByteStream(body), headers=headers))
    try:
        asyncio.run(CALLS[endpoint](talk.client))
    except SourceError as exc:
        assert str(exc)  # noqa: PT017 - both outcomes are right
    assert len(talk.observed) == 1
