"""OTLP over HTTP against real sockets: what leaves, and what every way of failing comes to."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from exporter import __version__
from exporter.clock import SystemClock
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.http_sender import HttpSender
from exporter.delivery.outcome import Accepted, Outcome, Refused, Unavailable
from tests.delivery_support import (
    ACCEPT,
    DROP,
    LIMIT_S,
    Backend,
    backend,
)
from tests.fakes import FakeClock

PAYLOAD = b"\x0a\x03abc" * 50_000
SECRET = "t0ps3cr3t"


def send(*answers: bytes | None, times: int = 1, **over: Any) -> tuple[list[Outcome], Backend]:
    """Send the payload so many times to a backend that gives these answers."""

    async def scenario() -> tuple[list[Outcome], Backend]:
        async with asyncio.timeout(LIMIT_S), backend(*answers) as server:
            target = f"{server.url}/v1/traces"
            endpoint = OtlpEndpoint(target=target, destination=target, **over)
            sender = HttpSender(endpoint, clock=SystemClock())
            try:
                return [await sender.send(PAYLOAD) for _ in range(times)], server
            finally:
                await sender.aclose()

    return asyncio.run(scenario())


def test_a_request_on_the_wire() -> None:
    """A POST with the payload as it is, and nothing that was not meant."""
    headers = (("authorization", "Bearer x"), ("x-scope-orgid", "team"))
    (outcome,), server = send(ACCEPT, headers=headers)
    (request,) = server.requests
    assert outcome == Accepted()
    assert request.line == "POST /v1/traces HTTP/1.1"
    sent = dict(request.headers)
    for name in ("accept", "accept-encoding", "connection"):
        sent.pop(name, None)
    assert sent == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": f"conduit-exporter/{__version__}",
        "authorization": "Bearer x",
        "x-scope-orgid": "team",
        "content-type": "application/x-protobuf",
        "content-length": str(len(PAYLOAD)),
    }
    assert request.body == PAYLOAD


def test_a_compressed_request_is_the_same_bytes_each_time() -> None:
    """No time is in the gzip header, at the place that RFC 1952 gives it."""
    outcomes, server = send(DROP, ACCEPT, times=2, gzip=True)
    first, second = server.requests
    assert isinstance(outcomes[0], Unavailable)
    assert outcomes[1] == Accepted()
    assert first.headers["content-encoding"] == "gzip"
    assert first.payload() == PAYLOAD
    assert len(first.body) < len(PAYLOAD) / 10
    assert first.body == second.body
    assert first.body[4:8] == bytes(4)


def test_a_connection_that_the_server_closed_meanwhile_is_no_outage() -> None:
    """The request goes again at once on a new one, byte for byte."""
    outcomes, server = send(ACCEPT, DROP, ACCEPT, times=2)
    assert outcomes == [Accepted()] * 2
    assert [request.body for request in server.requests] == [PAYLOAD] * 3


@pytest.mark.parametrize(
    "answer",
    [
        None,
        DROP,
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nx",
    ],
    ids=["silence", "no answer", "no HTTP", "half an answer", "cut short"],
)
def test_no_whole_answer_is_an_outage(answer: bytes | None) -> None:
    """Whether the request arrived is not known; the same bytes go again and are taken."""
    outcomes, server = send(answer, ACCEPT, times=2, timeout_s=1)
    assert isinstance(outcomes[0], Unavailable)
    assert outcomes[0].answered
    assert outcomes[1] == Accepted()
    assert [request.body for request in server.requests] == [PAYLOAD, PAYLOAD]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (httpx.ConnectError, Unavailable("no connection: refused [hidden]", answered=False)),
        (httpx.WriteError, Unavailable("the connection broke: refused [hidden]")),
        (httpx.LocalProtocolError, Refused("the request cannot be sent (LocalProtocolError)")),
    ],
)
def test_a_failure_of_the_library_is_an_outcome_without_secrets(
    fault: Callable[[str], Exception], expected: Outcome
) -> None:
    """Libraries put header values into their messages; unreached is told from unanswered."""

    def fail(_: httpx.Request) -> httpx.Response:
        raise fault(f"refused {SECRET}")

    async def scenario() -> Outcome:
        headers = (("authorization", SECRET),)
        sender = HttpSender(
            OtlpEndpoint(headers=headers), clock=FakeClock(), transport=httpx.MockTransport(fail)
        )
        try:
            return await sender.send(PAYLOAD)
        finally:
            await sender.aclose()

    assert asyncio.run(scenario()) == expected
