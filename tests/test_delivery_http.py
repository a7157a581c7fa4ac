"""OTLP over HTTP against real sockets: what leaves, and what every way of failing comes to."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from exporter import __version__
from exporter.clock import SystemClock
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.http_sender import HttpSender
from exporter.delivery.outcome import Accepted, Outcome, Refused, Unavailable
from tests.conduit_support import Serve, serving
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


def sender_to(port: int, **over: Any) -> HttpSender:
    target = f"http://127.0.0.1:{port}/v1/traces"
    settings: dict[str, Any] = {"target": target, "destination": target, **over}
    return HttpSender(OtlpEndpoint(**settings), clock=SystemClock())


def send(*answers: bytes | None, times: int = 1, **over: Any) -> tuple[list[Outcome], Backend]:
    """Send the payload so many times to a backend that gives these answers."""

    async def scenario() -> tuple[list[Outcome], Backend]:
        async with asyncio.timeout(LIMIT_S), backend(*answers) as server:
            sender = sender_to(server.port, **over)
            try:
                return [await sender.send(PAYLOAD) for _ in range(times)], server
            finally:
                await sender.aclose()

    return asyncio.run(scenario())


def outcome_of(*answers: bytes | None, **over: Any) -> Outcome:
    (outcome,), _ = send(*answers, **over)
    return outcome


def send_raw(serve: Serve, **over: Any) -> Outcome:
    """Send to a server that does not speak as it should."""

    async def scenario() -> Outcome:
        async with asyncio.timeout(LIMIT_S), serving(serve) as url:
            sender = sender_to(int(url.rpartition(":")[2]), **over)
            try:
                return await sender.send(PAYLOAD)
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
    """No time is in the gzip header."""
    outcomes, server = send(DROP, ACCEPT, times=2, gzip=True)
    first, second = server.requests
    assert isinstance(outcomes[0], Unavailable)
    assert outcomes[1] == Accepted()
    assert first.headers["content-encoding"] == "gzip"
    assert first.payload() == PAYLOAD
    assert len(first.body) < len(PAYLOAD) / 10
    assert first.body == second.body


def test_a_connection_that_the_server_closed_meanwhile_is_no_outage() -> None:
    """The request goes again at once on a new one, byte for byte."""
    outcomes, server = send(ACCEPT, DROP, ACCEPT, times=2)
    assert outcomes == [Accepted()] * 2
    assert [request.body for request in server.requests] == [PAYLOAD] * 3


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    """The cap ends it, not the timeout."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"400\r\n%s\r\n" % bytes(1024))
                await writer.drain()

    assert isinstance(send_raw(serve, timeout_s=LIMIT_S), Accepted)


@pytest.mark.parametrize(
    "answer",
    [None, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"],
    ids=["silence", "half an answer"],
)
def test_a_backend_that_is_too_slow_may_have_taken_it(answer: bytes | None) -> None:
    """All of it, connecting and reading, within the timeout of the settings."""
    outcome = outcome_of(answer, timeout_s=0.2)
    assert isinstance(outcome, Unavailable)
    assert outcome.answered
    assert outcome.reason.startswith("no answer ")


@pytest.mark.parametrize(
    "answer",
    [
        DROP,
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nx",
    ],
    ids=["no answer", "no HTTP", "cut short"],
)
def test_a_connection_that_breaks_is_an_outage(answer: bytes) -> None:
    """Whether the request arrived is not known; the same bytes go again and are taken."""
    outcomes, server = send(answer, ACCEPT, times=2)
    assert isinstance(outcomes[0], Unavailable)
    assert outcomes[0].answered
    assert outcomes[1] == Accepted()
    assert [request.body for request in server.requests] == [PAYLOAD, PAYLOAD]


def test_a_destination_without_anybody_was_never_reached() -> None:
    """It says nothing about the request."""

    async def scenario() -> Outcome:
        async with backend() as server:
            port = server.port
        sender = sender_to(port)
        try:
            return await sender.send(PAYLOAD)
        finally:
            await sender.aclose()

    outcome = asyncio.run(scenario())
    assert isinstance(outcome, Unavailable)
    assert not outcome.answered
    assert outcome.reason.startswith("no connection: ")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (httpx.ConnectError, Unavailable),
        (httpx.ConnectTimeout, Unavailable),
        (httpx.ReadTimeout, Unavailable),
        (httpx.WriteError, Unavailable),
        (httpx.RemoteProtocolError, Unavailable),
        (httpx.LocalProtocolError, Refused),
        (OSError, Unavailable),
    ],
)
def test_a_failure_of_the_library_is_an_outcome_without_secrets(
    fault: Callable[[str], Exception], expected: type[Outcome]
) -> None:
    """Libraries put header values into their messages."""

    def fail(_: httpx.Request) -> httpx.Response:
        raise fault(f"Illegal header value b'Bearer {SECRET}'")

    async def scenario() -> Outcome:
        headers = (("authorization", f"Bearer {SECRET}"),)
        sender = HttpSender(
            OtlpEndpoint(headers=headers), clock=FakeClock(), transport=httpx.MockTransport(fail)
        )
        try:
            return await sender.send(PAYLOAD)
        finally:
            await sender.aclose()

    outcome = asyncio.run(scenario())
    assert isinstance(outcome, Refused | Unavailable)
    assert type(outcome) is expected
    assert SECRET not in outcome.reason
