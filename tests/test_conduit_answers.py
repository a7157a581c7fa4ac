"""What the client makes of refusals and of answers that are none; over a scripted transport."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.conduit.client import Endpoint
from exporter.conduit.token import TokenSource
from exporter.errors import (
    SourceError,
    SourceMalformed,
    SourceNotFound,
    SourceRateLimited,
    SourceRejected,
    SourceUnauthorized,
    SourceUnavailable,
)
from tests.conduit_support import (
    CALLS,
    TOKEN,
    as_json,
    converse,
    json_answer,
    page_of,
)
from tests.fakes import FakeClock


@pytest.mark.parametrize("endpoint", Endpoint)
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (json_answer({"error": "Unknown"}, 404), "404"),
        (json_answer({"error": "Slow down"}, 429, **{"retry-after": "7"}), "429"),
        (httpx.Response(503), "503"),
        (httpx.Response(200, text="<html>"), "200"),
        (httpx.ConnectError("refused"), "error"),
        (httpx.ReadTimeout("late"), "error"),
        (httpx.RemoteProtocolError("hung up"), "error"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_failed_call_is_one_request_and_one_observation(
    endpoint: Endpoint, answer: httpx.Response | Exception, code: str
) -> None:
    """Nothing is tried again behind the caller's back."""
    talk = converse(answer)
    with pytest.raises(SourceError):
        asyncio.run(CALLS[endpoint](talk.client))
    assert len(talk.requests) == 1
    assert [(what, status) for what, status, _ in talk.observed] == [(endpoint, code)]


def test_an_observation_times_the_request() -> None:
    """On the monotonic clock that was handed in."""
    clock = FakeClock()

    def answer(_: httpx.Request) -> httpx.Response:
        clock.advance(1.25)
        return json_answer(page_of())

    talk = converse(answer, clock=clock)
    asyncio.run(talk.client.workspaces_page())
    assert talk.observed == [(Endpoint.WORKSPACES, "200", 1.25)]


@pytest.mark.parametrize(("answered", "code"), [(False, "cancelled"), (True, "200")])
def test_a_cancelled_request_is_observed(answered: bool, code: str) -> None:  # noqa: FBT001 - a table
    """It may have cost a request of the budget; its answer is closed, however far it came."""
    closed: list[bool] = []

    async def wait_for_ever() -> None:
        under_way.set()
        await asyncio.Event().wait()

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{"
            await wait_for_ever()

        async def aclose(self) -> None:
            closed.append(True)

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if not answered:
                await wait_for_ever()
            return httpx.Response(200, stream=Endless())

    async def scenario() -> None:
        call = asyncio.create_task(talk.client.workspaces_page())
        async with asyncio.timeout(10):
            await under_way.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    under_way = asyncio.Event()
    talk = converse(transport=Slow())
    asyncio.run(scenario())
    assert [status for _, status, _ in talk.observed] == [code]
    assert closed == [True] * answered


@pytest.mark.parametrize("endpoint", Endpoint)
def test_endless_nesting_is_malformed(endpoint: Endpoint) -> None:
    """It may come from something in between, so it is not held against a run."""
    talk = converse(
        httpx.Response(200, content=b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    )
    with pytest.raises(SourceMalformed, match="too deep"):
        asyncio.run(CALLS[endpoint](talk.client))


def test_an_api_error_is_quoted_short_and_escaped() -> None:
    """What the API says helps, as long as it is a line of text."""
    talk = converse(json_answer({"error": "bad\r\n\x1b[31m" + "x" * 500}, 400))
    with pytest.raises(SourceRejected) as caught:
        asyncio.run(talk.client.workspaces_page())
    assert r"bad \x1b[31mxxx" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("error", [None, [], {"code": 1}, 17])
def test_an_error_of_another_shape_leaves_the_status(error: Any) -> None:
    """The body of a refusal is welcome, not needed."""
    talk = converse(json_answer({"error": error}, 404), json_answer([], 404), httpx.Response(404))
    for _ in range(3):
        with pytest.raises(SourceNotFound, match="404"):
            asyncio.run(talk.client.workspaces_page())


def test_a_rate_limit_tells_when_to_come_back() -> None:
    """As the API said."""
    talk = converse(json_answer({"error": "Slow down"}, 429, **{"retry-after": "7"}))
    with pytest.raises(SourceRateLimited, match="Slow down") as caught:
        asyncio.run(talk.client.workspaces_page())
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize("endpoint", Endpoint)
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<html>Sign in</html>", "text/html"),
        (b"", "application/json"),
        (b'{"data": [', "application/json"),
        (b"OK", "text/plain"),
    ],
)
def test_a_page_for_people_is_never_an_empty_list(
    endpoint: Endpoint, content: bytes, kind: str
) -> None:
    """A 200 that is not JSON is an error that names what came instead."""
    talk = converse(httpx.Response(200, content=content, headers={"content-type": kind}))
    with pytest.raises(SourceMalformed) as caught:
        asyncio.run(CALLS[endpoint](talk.client))
    assert kind in str(caught.value)
    assert "CONDUIT_BASE_URL" in str(caught.value)
    assert "Sign in" not in str(caught.value)


def test_a_401_reads_the_token_file_again(tmp_path: Path) -> None:
    """The next request carries the new token."""
    path = tmp_path / "token"
    path.write_text("tok_old")
    source = TokenSource(path=path)

    def refuse(_: httpx.Request) -> httpx.Response:
        path.write_text("tok_new")
        return json_answer({"error": "Invalid token"}, 401)

    talk = converse(refuse, json_answer(page_of()), token=source)
    with pytest.raises(SourceUnauthorized, match="Invalid token"):
        asyncio.run(talk.client.workspaces_page())
    asyncio.run(talk.client.workspaces_page())
    sent = [one.headers["authorization"] for one in talk.requests]
    assert sent == ["Bearer tok_old", "Bearer tok_new"]


def test_a_missing_token_costs_no_request(tmp_path: Path) -> None:
    """There is nothing to ask with."""
    talk = converse(token=TokenSource(path=tmp_path / "absent"))
    with pytest.raises(SourceUnauthorized, match="cannot be read"):
        asyncio.run(talk.client.workspaces_page())
    assert (talk.requests, talk.observed) == ([], [])


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


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "id", "next_cursor", "has_more", "status", "created_at"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    any_json.map(as_json) | st.binary(max_size=60),
    st.sampled_from(list(Endpoint)),
    st.sampled_from([200, 200, 400, 404, 429, 500]),
)
def test_no_answer_raises_anything_but_source_errors(
    body: bytes, endpoint: Endpoint, status: int
) -> None:
    """Whatever Conduit, or something in its place, says."""
    talk = converse(httpx.Response(status, content=body))
    try:
        asyncio.run(CALLS[endpoint](talk.client))
    except SourceError as exc:
        assert str(exc)  # noqa: PT017 - both outcomes are right
    assert len(talk.observed) == 1


@pytest.mark.parametrize("length", ["3", "4000", "many", "-1", "1" * 30])
def test_a_length_that_is_not_kept_is_malformed(length: str) -> None:
    """Whatever transport is in use, the announcement is checked against what came."""
    talk = converse(
        httpx.Response(200, content=as_json(page_of()), headers={"content-length": length})
    )
    with pytest.raises(SourceMalformed, match=r"announced|not a number"):
        asyncio.run(talk.client.workspaces_page())


def test_closing_closes_the_transport() -> None:
    """The client owns what it was given."""
    closed: list[bool] = []

    class Transport(httpx.MockTransport):
        async def aclose(self) -> None:
            closed.append(True)

    talk = converse(transport=Transport(lambda _: httpx.Response(500)))
    asyncio.run(talk.client.aclose())
    assert closed == [True]


def test_a_transport_that_was_closed_is_unavailable() -> None:
    """A request that runs into a shutdown fails like any other."""
    talk = converse(httpx.StreamClosed())
    with pytest.raises(SourceUnavailable):
        asyncio.run(talk.client.workspaces_page())
