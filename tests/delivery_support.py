"""What tests of the senders share: a trace backend that does as it is told, and certificates."""

import asyncio
import gzip
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.conduit_support import http_answer, serving

LIMIT_S = 30
DROP = b""
PROTOBUF = "Content-Type: application/x-protobuf"


def encode_trace(number: int, *, name: str = "execute_tool") -> bytes:
    """An export request of one trace with one span."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id = number.to_bytes(16, "big")
    span.span_id = number.to_bytes(8, "big")
    span.name = name
    return bytes(request.SerializeToString())


def partial_success(rejected_spans: int, message: str = "") -> bytes:
    """OTLP's answer of a backend that did not take so many spans."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected_spans
    answer.partial_success.error_message = message
    return bytes(answer.SerializeToString())


ACCEPT = http_answer(b"", PROTOBUF)


@dataclass(frozen=True)
class Received:
    """A request as it came over the wire."""

    line: str
    headers: dict[str, str]
    body: bytes

    def payload(self) -> bytes:
        """The body without its compression."""
        gzipped = self.headers.get("content-encoding") == "gzip"
        return gzip.decompress(self.body) if gzipped else self.body


@dataclass
class Backend:
    """An HTTP server on loopback: what it was sent, and `asked`, set with each request."""

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@asynccontextmanager
async def backend(
    *answers: bytes | None, then: bytes | None = ACCEPT, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Backend]:
    """Give each request the next of `answers`: bytes, DROP to hang up, None to say nothing.

    After the last one comes `then`; with DROP it hangs up as soon as the last one is written.
    """
    waiting = list(answers)
    released = asyncio.Event()
    server = Backend()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        while True:
            server.requests.append(await _receive(reader))
            server.asked.set()
            answer = waiting.pop(0) if waiting else then
            if answer is None:
                await released.wait()
                return
            writer.write(answer)
            await writer.drain()
            is_last = not waiting and then == DROP
            if not answer or is_last or b"connection: close" in answer.lower():
                return

    async with serving(serve, tls=tls) as server.url:
        try:
            yield server
        finally:
            released.set()


async def _receive(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *rest = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in rest)}
    assert len(headers) == len(rest), "no header comes twice"
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(line, headers, body)


@dataclass(frozen=True)
class Certificates:
    """An authority, a server's certificate for 127.0.0.1 and localhost, a client's; a stranger."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def stranger(self) -> Path:
        return self.folder / "stranger.crt"

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def server_context(self, name: str = "server", *, mutual: bool = False) -> ssl.SSLContext:
        """What a server with the certificate `name` listens with."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca)
        context.load_cert_chain(self.certificate(name), self.key(name))
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def make_certificates(folder: Path) -> Certificates:
    """Make them with openssl; without it whoever needs them is skipped."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificates of these tests, and is not on PATH")
    new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    signed = f"{new} -CA ca.crt -CAkey ca.key"
    here = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    leaf = "-addext basicConstraints=critical,CA:FALSE"
    strange = f"{new} -CA stranger.crt -CAkey stranger.key"
    commands = [
        f"{new} -subj /CN=ca -keyout ca.key -out ca.crt",
        f"{new} -subj /CN=stranger -keyout stranger.key -out stranger.crt",
        f"{signed} -subj /CN=server -addext {here} -keyout server.key -out server.crt",
        f"{signed} -subj /CN=other -addext subjectAltName=DNS:x -keyout other.key -out other.crt",
        f"{signed} -subj /CN=client {leaf} -keyout client.key -out client.crt",
        f"{strange} -subj /CN=client {leaf} -keyout outsider.key -out outsider.crt",
        "ec -in client.key -aes128 -passout pass:word -out locked.key",
    ]
    for command in commands:
        subprocess.run([openssl, *command.split()], check=True, capture_output=True, cwd=folder)
    return Certificates(folder)
