"""OTLP over HTTP against real sockets: what leaves, and what every way of failing comes to."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from exporter import __version__
from exporter.clock import SystemClock
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.http_sender import HttpSender
from exporter.delivery.outcome import MOST_ANSWER_BYTES, Accepted, Outcome, Refused, Unavailable
from exporter.errors import DeliveryError
from tests.conduit_support import http_answer, serving
from tests.delivery_support import ACCEPT, DROP, LIMIT_S, Backend, backend
from tests.fakes import FakeClock

PAYLOAD = b"\x0a\x03abc" * 50_000
PROTOBUF = "Content-Type: application/x-protobuf"
SECRET = "t0ps3cr3t"


def sender_to(url: str, **over: Any) -> HttpSender:
    target = f"{url}/v1/traces"
    settings: dict[str, Any] = {"target": target, "destination": target, "timeout_s": 10.0, **over}
    return HttpSender(OtlpEndpoint(**settings), clock=SystemClock())


def send(*answers: bytes | None, times: int = 1, **over: Any) -> tuple[list[Outcome], Backend]:
    """Send the payload so many times to a backend that gives these answers."""

    async def scenario() -> tuple[list[Outcome], Backend]:
        async with asyncio.timeout(LIMIT_S), backend(*answers) as server:
            sender = sender_to(server.url, **over)
            try:
                return [await sender.send(PAYLOAD) for _ in range(times)], server
            finally:
                await sender.aclose()

    return asyncio.run(scenario())


def outcome_of(*answers: bytes | None, **over: Any) -> Outcome:
    (outcome,), _ = send(*answers, **over)
    return outcome


def send_through(
    handle: Callable[[httpx.Request], Coroutine[None, None, httpx.Response]], **over: Any
) -> Outcome:
    """Send through a transport that is no network."""

    async def scenario() -> Outcome:
        sender = HttpSender(
            OtlpEndpoint(**over), clock=FakeClock(), transport=httpx.MockTransport(handle)
        )
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
    assert request.headers == {
        "host": server.url.removeprefix("http://"),
        "user-agent": f"conduit-exporter/{__version__}",
        "accept-encoding": "identity",
        "authorization": "Bearer x",
        "x-scope-orgid": "team",
        "content-type": "application/x-protobuf",
        "content-length": str(len(PAYLOAD)),
    }
    assert request.body == PAYLOAD


def test_the_operators_headers_win_over_the_names_of_the_exporter() -> None:
    """Somebody may have to pass a filter on the user agent."""
    _, server = send(ACCEPT, headers=(("user-agent", "mine"),))
    assert server.requests[0].headers["user-agent"] == "mine"


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


def test_compressing_lets_others_run() -> None:
    """The event loop is shared with everybody."""

    async def scenario() -> int:
        clock = FakeClock()
        transport = httpx.MockTransport(lambda _: httpx.Response(200))
        sender = HttpSender(OtlpEndpoint(gzip=True), clock=clock, transport=transport)
        await sender.send(bytes(1024 * 1024))
        await sender.aclose()
        return len(clock.slept)

    assert asyncio.run(scenario()) == 16


def test_a_connection_is_used_again() -> None:
    """One connection for many requests, and no cookie is kept."""
    answer = http_answer(b"", PROTOBUF, "Set-Cookie: session=1")
    outcomes, server = send(answer, answer, answer, times=3)
    assert outcomes == [Accepted()] * 3
    assert server.connections == 1
    assert all("cookie" not in request.headers for request in server.requests)


def test_a_partial_success_is_told() -> None:
    """However the body is framed or compressed."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    answer.partial_success.error_message = "too old"
    body = bytes(answer.SerializeToString())
    chunked = b"HTTP/1.1 200 OK\r\n%s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    outcomes, _ = send(
        http_answer(body, PROTOBUF),
        http_answer(gzip.compress(body), PROTOBUF, "Content-Encoding: gzip"),
        chunked % (PROTOBUF.encode(), len(body), body),
        b"HTTP/1.1 200 OK\r\n%s\r\nConnection: close\r\n\r\n%s" % (PROTOBUF.encode(), body),
        times=4,
    )
    assert outcomes == [Accepted(2, "too old")] * 4


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(bytes(MOST_ANSWER_BYTES + 1), PROTOBUF),
        http_answer(gzip.compress(bytes(10_000_000)), PROTOBUF, "Content-Encoding: gzip"),
        http_answer(gzip.compress(b"x")[:-2], PROTOBUF, "Content-Encoding: gzip"),
        http_answer(b"x", PROTOBUF, "Content-Encoding: gzip"),
        http_answer(b"x", PROTOBUF, "Content-Encoding: br"),
    ],
    ids=["large", "bomb", "cut short", "damaged", "unknown encoding"],
)
def test_an_answer_that_cannot_be_read_is_no_success(answer: bytes) -> None:
    """Nothing of it is held beyond 64 KiB."""
    outcome = outcome_of(answer)
    assert isinstance(outcome, Refused)
    assert "the answer cannot be read" in outcome.reason


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    """The cap ends it, not the timeout."""

    async def scenario() -> Outcome:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            with suppress(ConnectionError):
                while True:
                    writer.write(b"400\r\n%s\r\n" % bytes(1024))
                    await writer.drain()

        async with asyncio.timeout(LIMIT_S), serving(serve) as url:
            sender = sender_to(url, timeout_s=LIMIT_S)
            try:
                return await sender.send(b"")
            finally:
                await sender.aclose()

    assert isinstance(asyncio.run(scenario()), Refused)


def test_the_status_of_an_error_is_enough() -> None:
    """A large body, or one that never comes, does not hide a Retry-After."""
    large = http_answer(
        bytes(MOST_ANSWER_BYTES + 1), "Retry-After: 9", status="429 Too Many Requests"
    )
    assert outcome_of(large) == Unavailable("429 Too Many Requests", 9.0)
    stuck = b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: 9\r\n\r\nx"
    assert outcome_of(stuck, timeout_s=0.2) == Unavailable("503 Service Unavailable", 9.0)


def test_a_redirect_is_not_followed() -> None:
    """Traces and tokens go where the operator said."""
    (outcome,), server = send(
        http_answer(b"", "Location: /elsewhere", status="307 Temporary Redirect")
    )
    assert isinstance(outcome, Refused)
    assert len(server.requests) == 1


def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The destination is what the settings say, and nothing else."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:1")
    assert outcome_of(ACCEPT) == Accepted()


@pytest.mark.parametrize(
    "answer",
    [None, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"],
    ids=["silence", "half an answer"],
)
def test_a_backend_that_is_too_slow_may_have_taken_it(answer: bytes | None) -> None:
    """All of it, connecting and reading, within the timeout of the settings."""
    assert outcome_of(answer, timeout_s=0.2) == Unavailable("no answer within 0.2 s")


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
    assert outcomes[0].reason.startswith("the connection broke: ")
    assert outcomes[1] == Accepted()
    assert [request.body for request in server.requests] == [PAYLOAD, PAYLOAD]


def test_a_connection_that_is_dropped_at_once_is_an_outage() -> None:
    """A load balancer without anything behind it."""

    async def scenario() -> Outcome:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        async with asyncio.timeout(LIMIT_S), serving(serve) as url:
            sender = sender_to(url)
            try:
                return await sender.send(PAYLOAD)
            finally:
                await sender.aclose()

    outcome = asyncio.run(scenario())
    assert isinstance(outcome, Unavailable)
    assert outcome.answered


def test_a_destination_without_anybody_was_never_reached() -> None:
    """It says nothing about the request."""

    async def scenario() -> Outcome:
        async with backend() as server:
            url = server.url
        sender = sender_to(url)
        try:
            return await sender.send(PAYLOAD)
        finally:
            await sender.aclose()

    outcome = asyncio.run(scenario())
    assert isinstance(outcome, Unavailable)
    assert not outcome.answered
    assert outcome.reason.startswith("no connection: ")


def test_closing_ends_a_request_under_way() -> None:
    """The end of the process does not wait for a backend that hangs."""

    async def scenario() -> Outcome:
        async with asyncio.timeout(LIMIT_S), backend(None) as server:
            sender = sender_to(server.url)
            sending = asyncio.create_task(sender.send(PAYLOAD))
            await server.asked.wait()
            await sender.aclose()
            return await sending

    assert isinstance(asyncio.run(scenario()), Unavailable)


def test_a_cancelled_request_leaves_the_sender_usable() -> None:
    """A drain that is out of time cancels; nothing else is swallowed or broken by it."""

    async def scenario() -> Outcome:
        async with asyncio.timeout(LIMIT_S), backend(None, ACCEPT) as server:
            sender = sender_to(server.url)
            sending = asyncio.create_task(sender.send(PAYLOAD))
            await server.asked.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            try:
                return await sender.send(PAYLOAD)
            finally:
                await sender.aclose()

    assert asyncio.run(scenario()) == Accepted()


NOT_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout"}
FOREIGN = sorted(
    (one for one in vars(httpx).values() if isinstance(one, type) and issubclass(one, Exception)),
    key=lambda one: one.__name__,
)


def raised(kind: type[Exception]) -> Exception:
    """One of these, without what its constructor asks for."""
    return kind.__new__(kind, "boom")


def test_the_foreign_exceptions_are_all_there() -> None:
    """The enumeration below is not empty, nor are the ones that mean `not sent` renamed."""
    assert {one.__name__ for one in FOREIGN} >= NOT_SENT | {"ReadError", "LocalProtocolError"}


@pytest.mark.parametrize("kind", [*FOREIGN, OSError, ssl.SSLError, ValueError, RuntimeError])
def test_every_foreign_exception_is_an_outcome(kind: type[Exception]) -> None:
    """Whatever the libraries raise, delivery goes on and no trace is lost."""

    async def fails(_: httpx.Request) -> httpx.Response:
        raise raised(kind)

    outcome = send_through(fails)
    assert isinstance(outcome, Unavailable)
    assert outcome.answered is (kind.__name__ not in NOT_SENT)


class Broken(httpx.AsyncByteStream):
    """A body whose reading and closing fail."""

    def __init__(self, kind: type[Exception], parts: tuple[bytes, ...] = ()) -> None:
        self.kind = kind
        self.parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part
        if not self.parts:
            raise raised(self.kind)

    async def aclose(self) -> None:
        raise raised(self.kind)


@pytest.mark.parametrize("kind", [httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError])
def test_an_answer_that_breaks_is_no_success(kind: type[Exception]) -> None:
    """A 200 counts when it was read to its end; of an error the status is enough."""

    async def breaks(status: int) -> httpx.Response:
        return httpx.Response(status, stream=Broken(kind))

    assert isinstance(send_through(lambda _: breaks(200)), Unavailable)
    assert send_through(lambda _: breaks(503)) == Unavailable("503 Service Unavailable")
    assert isinstance(send_through(lambda _: breaks(500)), Refused)


def test_how_a_connection_closes_changes_no_answer() -> None:
    """The answer is known by then."""

    async def closes_badly(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Broken(httpx.CloseError, (b"",)))

    assert send_through(closes_badly) == Accepted()


def test_an_exception_that_repeats_a_secret_is_not_quoted() -> None:
    """Libraries put header values into their messages."""

    async def fails(_: httpx.Request) -> httpx.Response:
        raise httpx.LocalProtocolError(f"Illegal header value b'Bearer {SECRET}'")

    outcome = send_through(fails, headers=(("authorization", f"Bearer {SECRET}"),))
    assert isinstance(outcome, Unavailable)
    assert SECRET not in outcome.reason


def test_connecting_gets_less_than_all_of_the_time() -> None:
    """A machine that does not answer must not look like one that took the request."""
    seen: list[dict[str, float]] = []

    async def look(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200)

    send_through(look, timeout_s=10.0)
    assert seen == [{"connect": 9.0, "pool": 9.0, "read": 10.0, "write": 10.0}]


def test_an_address_that_is_none_is_told_at_the_start() -> None:
    """What only the HTTP library notices is still a message and no traceback."""
    with pytest.raises(
        DeliveryError, match=r"http://1\.2\.3\.999/v1/traces is no usable URL"
    ) as it:
        sender_to("http://1.2.3.999")
    assert it.value.hint == "OTEL_EXPORTER_OTLP_ENDPOINT"
