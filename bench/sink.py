"""A trace backend as a process of its own: takes OTLP over HTTP and counts what it took.

`GET /` answers with the counts. It keeps no span.
"""

import asyncio
import gzip
import json
import signal

import click
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class _Sink:
    def __init__(self) -> None:
        self.requests = 0
        self.traces = 0
        self.spans = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it is closed."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                headers = dict(
                    line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line
                )
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                kind, answer = b"application/x-protobuf", b""
                if head.startswith("get"):
                    kind, answer = b"application/json", json.dumps(vars(self)).encode()
                else:
                    zipped = headers.get("content-encoding") == "gzip"
                    self._count(gzip.decompress(body) if zipped else body)
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s"
                    % (kind, len(answer), answer)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _count(self, body: bytes) -> None:
        self.requests += 1
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                self.spans += len(scope_spans.spans)
                self.traces += sum(not span.parent_span_id for span in scope_spans.spans)


async def _serve(port: int) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    server = await asyncio.start_server(_Sink().serve, "127.0.0.1", port, limit=1 << 26)
    await told.wait()
    server.close()


@click.command()
@click.option("--port", type=int, required=True)
def main(port: int) -> None:
    """Serve until SIGTERM."""
    asyncio.run(_serve(port))


if __name__ == "__main__":
    main()
