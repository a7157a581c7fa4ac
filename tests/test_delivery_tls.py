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


def endpoint_at(
    protocol: Protocol, port: int, *, host: str = "127.0.0.1", **files: Path | None
) -> OtlpEndpoint:
    target = f"https://{host}:{port}/v1/traces" if protocol != "grpc" else f"{host}:{port}"
    return OtlpEndpoint(
        protocol=protocol,
        target=target,
        destination=target,
        tls=TlsFiles(**files),
        timeout_s=20.0,
    )


def outcome_of(
    protocol: Protocol,
    certificates: Certificates,
    *,
    server: str = "server",
    mutual: bool = False,
    host: str = "127.0.0.1",
    **files: Path | None,
) -> Outcome:
    """Send one request over TLS."""

    async def scenario() -> Outcome:
        async with (
            asyncio.timeout(LIMIT_S),
            listening(protocol, certificates, server=server, mutual=mutual) as port,
        ):
            sender = open_sender(
                endpoint_at(protocol, port, host=host, **files), clock=SystemClock()
            )
            try:
                return await sender.send(b"")
            finally:
                await sender.aclose()

    return asyncio.run(scenario())


@both
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_an_authority_of_our_own_is_trusted(
    protocol: Protocol, certificates: Certificates, host: str
) -> None:
    """OTEL_EXPORTER_OTLP_CERTIFICATE, by address and by name."""
    assert outcome_of(protocol, certificates, host=host, ca=certificates.ca) == Accepted()


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
    outcome = outcome_of(protocol, certificates, server=server, ca=ca_file)
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
def test_a_replaced_authority_is_trusted_by_the_next_connection(
    protocol: Protocol, certificates: Certificates, tmp_path: Path
) -> None:
    """Without a restart; half of a file in between changes nothing."""
    ca_file = tmp_path / "ca.pem"

    async def scenario() -> list[Outcome]:
        replace(ca_file, certificates.stranger.read_bytes())
        async with asyncio.timeout(LIMIT_S), listening(protocol, certificates) as port:
            sender = open_sender(endpoint_at(protocol, port, ca=ca_file), clock=SystemClock())
            try:
                outcomes = [await sender.send(b"")]
                replace(ca_file, b"-----BEGIN CERTI")
                outcomes.append(await sender.send(b""))
                replace(ca_file, certificates.ca.read_bytes())
                outcomes.append(await sender.send(b""))
                return outcomes
            finally:
                await sender.aclose()

    before, halfway, after = asyncio.run(scenario())
    assert isinstance(before, Refused)
    assert isinstance(halfway, Refused)
    assert after == Accepted()


@both
def test_a_replaced_client_certificate_is_shown_by_the_next_connection(
    protocol: Protocol, certificates: Certificates, tmp_path: Path
) -> None:
    """Without a restart, certificate and key one after the other."""
    certificate_file, key_file = tmp_path / "client.pem", tmp_path / "client.key"

    async def scenario() -> list[Outcome]:
        replace(certificate_file, certificates.certificate("outsider").read_bytes())
        replace(key_file, certificates.key("outsider").read_bytes())
        async with (
            asyncio.timeout(LIMIT_S),
            listening(protocol, certificates, mutual=True) as port,
        ):
            endpoint = endpoint_at(
                protocol,
                port,
                ca=certificates.ca,
                client_certificate=certificate_file,
                client_key=key_file,
            )
            sender = open_sender(endpoint, clock=SystemClock())
            try:
                outcomes = [await sender.send(b"")]
                replace(certificate_file, certificates.certificate("client").read_bytes())
                outcomes.append(await sender.send(b""))
                replace(key_file, certificates.key("client").read_bytes())
                outcomes.append(await sender.send(b""))
                return outcomes
            finally:
                await sender.aclose()

    before, halfway, after = asyncio.run(scenario())
    assert isinstance(before, Refused | Unavailable)
    assert isinstance(halfway, Refused | Unavailable)
    assert after == Accepted()


def replace(path: Path, content: bytes) -> None:
    """As those that rotate certificates do: a new file under the old name."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)
