"""OTLP over gRPC against a real server: what leaves, and what every way of failing comes to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from exporter import __version__
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.grpc_sender import GrpcSender
from exporter.delivery.outcome import (
    Accepted,
    Invalid,
    Outcome,
    Unavailable,
)
from exporter.delivery.service import MAX_BYTES
from tests.delivery_support import LIMIT_S, encode_trace, partial_success

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
# Two requests, merged as delivery merges them.
PAYLOAD = encode_trace(1) + encode_trace(2)

Handler = Callable[[bytes, Any], Awaitable[bytes]]


@dataclass
class Service:
    """A trace service on loopback: its target, and what it was sent."""

    target: str = ""
    bodies: list[bytes] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def trace_service(
    handle: Handler,
    *,
    target: str = "127.0.0.1:0",
    credentials: grpc.ServerCredentials | None = None,
) -> AsyncIterator[Service]:
    """Answer every call of Export with `handle`; the bytes of both sides are as on the wire."""
    service = Service()

    async def export(request: bytes, context: Any) -> bytes:
        service.bodies.append(request)
        service.metadata.append(dict(context.invocation_metadata()))
        service.asked.set()
        return await handle(request, context)

    server = grpc.aio.server()
    handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    if credentials is None:
        port = server.add_insecure_port(target)
    else:
        port = server.add_secure_port(target, credentials)
    await server.start()
    service.target = f"127.0.0.1:{port}"
    try:
        yield service
    finally:
        await server.stop(None)


def endpoint_to(target: str, **over: Any) -> OtlpEndpoint:
    settings = {"protocol": "grpc", "target": target, "destination": target, "timeout_s": 20.0}
    return OtlpEndpoint(**{**settings, **over})


async def send_to(target: str, *payloads: bytes, **over: Any) -> list[Outcome]:
    sender = GrpcSender(endpoint_to(target, **over))
    try:
        return [await sender.send(payload) for payload in payloads or (PAYLOAD,)]
    finally:
        await sender.aclose()


def send(handle: Handler, *payloads: bytes, **over: Any) -> tuple[Sequence[Outcome], Service]:
    """Send to a service that answers so."""

    async def scenario() -> tuple[Sequence[Outcome], Service]:
        async with asyncio.timeout(LIMIT_S), trace_service(handle) as service:
            return await send_to(service.target, *payloads, **over), service

    return asyncio.run(scenario())


async def accept(request: bytes, context: Any) -> bytes:
    return b""


async def hang(request: bytes, context: Any) -> bytes:
    await asyncio.Event().wait()
    raise AssertionError


def test_a_call_on_the_wire() -> None:
    """The payload as it is, the operator's headers as metadata, our name; the answer is read."""

    async def partly(request: bytes, context: Any) -> bytes:
        return partial_success(2, "too old")

    headers = (("authorization", "Bearer x"), ("x-scope-orgid", "team"), ("id-bin", "raw"))
    (outcome,), service = send(partly, headers=headers)
    assert outcome == Accepted(2, "too old")
    assert service.bodies == [PAYLOAD]
    (metadata,) = service.metadata
    assert metadata["authorization"] == "Bearer x"
    assert metadata["x-scope-orgid"] == "team"
    assert metadata["id-bin"] == b"raw"
    assert str(metadata["user-agent"]).startswith(f"conduit-exporter/{__version__} ")


def test_code_message_and_retry_info_come_through() -> None:
    """The last one in the trailer that carries the status details."""
    info = RetryInfo()
    info.retry_delay.seconds = 7
    details = AnyMessage()
    details.Pack(info)
    status = Status(code=8, message="busy", details=[details]).SerializeToString()

    async def busy(request: bytes, context: Any) -> bytes:
        trailers = (("grpc-status-details-bin", status),)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", trailers)
        raise AssertionError

    (outcome,), _ = send(busy)
    assert outcome == Unavailable("RESOURCE_EXHAUSTED: busy", 7.0)


def test_a_full_request_is_below_the_limit_of_receivers_and_a_larger_one_is_split() -> None:
    """A server with its defaults takes the largest batch; more than 4 MiB is told as too large."""
    largest = encode_trace(1, name="x" * (MAX_BYTES - 100))
    outcomes, service = send(accept, largest, encode_trace(1, name="x" * 4 * 1024 * 1024))
    assert outcomes[0] == Accepted()
    assert isinstance(outcomes[1], Invalid)
    assert service.bodies == [largest]


def test_a_service_that_is_too_slow_may_have_taken_it() -> None:
    """The connection stood, so the call has left."""
    outcomes, service = send(hang, timeout_s=0.5)
    (outcome,) = outcomes
    assert isinstance(outcome, Unavailable)
    assert outcome.answered
    assert outcome.reason.startswith("DEADLINE_EXCEEDED: ")
    assert service.bodies == [PAYLOAD]


def test_a_destination_without_anybody_was_never_reached() -> None:
    """It says nothing about the request."""

    async def scenario() -> list[Outcome]:
        async with trace_service(accept) as service:
            target = service.target
        return await send_to(target)

    (outcome,) = asyncio.run(scenario())
    assert isinstance(outcome, Unavailable)
    assert not outcome.answered
    assert outcome.reason.startswith("UNAVAILABLE: ")


def test_a_service_that_comes_back_is_reached_again() -> None:
    """With the channel that saw it go."""

    async def scenario() -> tuple[Outcome, Outcome]:
        async with asyncio.timeout(LIMIT_S):
            async with trace_service(hang) as service:
                sender = GrpcSender(endpoint_to(service.target))
                sending = asyncio.create_task(sender.send(PAYLOAD))
                await service.asked.wait()
            try:
                gone = await sending
                async with trace_service(accept, target=service.target):
                    while isinstance(again := await sender.send(PAYLOAD), Unavailable):
                        assert not again.answered
                return gone, again
            finally:
                await sender.aclose()

    gone, again = asyncio.run(scenario())
    assert isinstance(gone, Unavailable)
    assert again == Accepted()


def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The destination is what the settings say, and nothing else."""
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (outcome,), _ = send(accept)
    assert outcome == Accepted()
