"""TLS to the trace backend, over HTTP and gRPC alike: verified, by whom, and how it fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from exporter.clock import SystemClock
from exporter.delivery.endpoint import OtlpEndpoint, Protocol
from exporter.delivery.outcome import Accepted, Outcome, Refused, Unavailable
from exporter.delivery.senders import open_sender
from exporter.errors import ConfigError
from exporter.http_client import TlsFiles
from tests.delivery_support import LIMIT_S, Certificates, backend
from tests.test_delivery_grpc import accept, trace_service

PROTOCOLS: tuple[Protocol, ...] = ("http/protobuf", "grpc")
both = pytest.mark.parametrize("protocol", PROTOCOLS)


@asynccontextmanager
async def listening(
    protocol: Protocol, certificates: Certificates, *, server: str = "server", mutual: bool = False
) -> AsyncIterator[int]:
    """A backend with the certificate `server`; the port it listens on."""
    if protocol == "http/protobuf":
        context = certificates.server_context(server, mutual=mutual)
        async with backend(tls=context) as http:
            yield http.port
        return
    pair = (certificates.key(server).read_bytes(), certificates.certificate(server).read_bytes())
    ca = certificates.ca.read_bytes()
    credentials = grpc.ssl_server_credentials([pair], ca, require_client_auth=mutual)
    async with trace_service(accept, credentials=credentials) as service:
        yield int(service.target.rpartition(":")[2])


def endpoint_at(protocol: Protocol, port: int, **files: Path | None) -> OtlpEndpoint:
    address = f"127.0.0.1:{port}"
    target = address if protocol == "grpc" else f"https://{address}/v1/traces"
    return OtlpEndpoint(
        protocol=protocol,
        target=target,
        destination=target,
        tls=TlsFiles(**files),
        timeout_s=20.0,
    )


@both
@pytest.mark.parametrize(
    ("server", "trusted"),
    [("server", "stranger"), ("server", None), ("other", "ca")],
    ids=["wrong authority", "unknown authority", "wrong name"],
)
def test_a_certificate_that_does_not_fit_is_refused(
    protocol: Protocol, certificates: Certificates, server: str, trusted: str | None
) -> None:
    """It passes not by itself; the message says what to check."""
    ca_file = certificates.certificate(trusted) if trusted is not None else None

    async def scenario() -> Outcome:
        async with (
            asyncio.timeout(LIMIT_S),
            listening(protocol, certificates, server=server) as port,
        ):
            sender = open_sender(endpoint_at(protocol, port, ca=ca_file), clock=SystemClock())
            try:
                return await sender.send(b"")
            finally:
                await sender.aclose()

    outcome = asyncio.run(scenario())
    assert isinstance(outcome, Refused)
    assert "check OTEL_EXPORTER_OTLP_CERTIFICATE" in outcome.reason


@both
@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"ca": "absent"}, "absent cannot be used: No such file"),
        ({"ca": "ca.key"}, "ca.key cannot be used: "),
        ({"client_certificate": "client.crt", "client_key": "absent"}, "No such file"),
        ({"client_certificate": "client.crt", "client_key": "server.key"}, "mismatch"),
        ({"client_certificate": "client.crt", "client_key": "locked.key"}, "be used: "),
    ],
    ids=["no authority", "not one in it", "no key", "another's key", "an encrypted key"],
)
def test_an_unusable_file_is_told_at_the_start(
    protocol: Protocol, certificates: Certificates, over: dict[str, str], said: str
) -> None:
    """With the variables to check, and without asking a terminal for a password."""
    files: dict[str, Any] = {name: certificates.folder / file for name, file in over.items()}

    async def scenario() -> None:
        open_sender(endpoint_at(protocol, 1, **files), clock=SystemClock())

    with pytest.raises(ConfigError, match=said) as caught:
        asyncio.run(scenario())
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in str(caught.value)


@both
def test_replaced_files_are_those_of_the_next_connection(
    protocol: Protocol, certificates: Certificates, tmp_path: Path
) -> None:
    """Without a restart, one after the other; half of a file in between changes nothing."""
    ca, certificate, key = tmp_path / "ca.pem", tmp_path / "client.pem", tmp_path / "client.key"
    replace(ca, certificates.stranger.read_bytes())
    replace(certificate, certificates.certificate("outsider").read_bytes())
    replace(key, certificates.key("outsider").read_bytes())
    steps = (
        (ca, b"-----BEGIN CERTI"),
        (ca, certificates.ca.read_bytes()),
        (certificate, certificates.certificate("client").read_bytes()),
        (key, certificates.key("client").read_bytes()),
    )

    async def scenario() -> list[Outcome]:
        async with (
            asyncio.timeout(LIMIT_S),
            listening(protocol, certificates, mutual=True) as port,
        ):
            files = {"ca": ca, "client_certificate": certificate, "client_key": key}
            sender = open_sender(endpoint_at(protocol, port, **files), clock=SystemClock())
            try:
                outcomes = [await sender.send(b"")]
                for path, content in steps:
                    replace(path, content)
                    outcomes.append(await sender.send(b""))
                return outcomes
            finally:
                await sender.aclose()

    *before, after = asyncio.run(scenario())
    assert all(isinstance(one, Refused | Unavailable) for one in before)
    assert after == Accepted()


def replace(path: Path, content: bytes) -> None:
    """As those that rotate certificates do: a new file under the old name."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)
