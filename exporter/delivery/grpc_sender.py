"""OTLP over gRPC: one unary call for each request, retried neither here nor by the library."""

import logging
import ssl
from typing import Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from exporter import __version__
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.outcome import (
    Invalid,
    Outcome,
    Unavailable,
    outcome_of_grpc_error,
    outcome_of_response,
)
from exporter.errors import ConfigError
from exporter.http_client import TlsFiles

logger = logging.getLogger("exporter.delivery")

_MAX_ANSWER_BYTES: Final = 64 * 1024
# gRPC waits up to two minutes between connection attempts; delivery has a backoff of its own, and
# an attempt of it must not fail without the destination having been asked.
_RECONNECT_MS: Final = 1000


class GrpcSender:
    """Calls one trace service; must be made inside the event loop that uses it.

    Connects with the first call. TLS files are read again when they have changed. Raises
    ConfigError for certificates that cannot be used.
    """

    def __init__(self, endpoint: OtlpEndpoint) -> None:
        self.destination = endpoint.destination
        self._endpoint = endpoint
        headers = dict(endpoint.headers)
        self._agent = headers.pop("user-agent", f"conduit-exporter/{__version__}")
        self._metadata = tuple(
            # By gRPC's rule a name that ends so carries bytes.
            (name, value.encode() if name.endswith("-bin") else value)
            for name, value in headers.items()
        )
        self._tls_states = None if endpoint.tls is None else endpoint.tls.states()
        self._use(self._open_channel())

    async def send(self, payload: bytes) -> Outcome:
        """Make one call, all of it within the endpoint's timeout."""
        try:
            request = ExportTraceServiceRequest.FromString(payload)
        except DecodeError:
            return Invalid("these bytes are no OTLP request")
        await self._reopen_for_new_files()
        timeout_s = self._endpoint.timeout_s
        try:
            response = await self._stub.Export(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as exc:
            if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not self._is_connected():
                return Unavailable(f"no connection within {timeout_s:g} s", answered=False)
            return outcome_of_grpc_error(
                exc.code().name,
                exc.details() or "",
                exc.trailing_metadata() or (),
                secrets=self._endpoint.secrets,
            )
        return outcome_of_response(response, secrets=self._endpoint.secrets)

    async def aclose(self) -> None:
        """Close the channel; a call under way fails."""
        await self._channel.close()

    def _is_connected(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.READY

    async def _reopen_for_new_files(self) -> None:
        tls = self._endpoint.tls
        if tls is None or (states := tls.states()) == self._tls_states:
            return
        self._tls_states = states
        try:
            channel = self._open_channel()
        except (ConfigError, OSError) as exc:
            logger.warning("%s; the last usable one stays in force", exc)
            return
        old = self._channel
        self._use(channel)
        await old.close()

    def _use(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._stub = TraceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated

    def _open_channel(self) -> grpc.aio.Channel:
        options = [
            ("grpc.primary_user_agent", self._agent),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
            ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
            # A new channel must not get the connection of an old one with other certificates.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        endpoint = self._endpoint
        compression = grpc.Compression.Gzip if endpoint.gzip else grpc.Compression.NoCompression
        if endpoint.tls is None:
            return grpc.aio.insecure_channel(endpoint.target, options, compression)
        credentials = _read_credentials(endpoint.tls)
        return grpc.aio.secure_channel(endpoint.target, credentials, options, compression)


def _read_credentials(tls: TlsFiles) -> grpc.ChannelCredentials:
    """What the files hold, checked first: gRPC tells a bad file only by failing later."""
    found = tls.context().get_ca_certs(binary_form=True)
    system = "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode()
    return grpc.ssl_channel_credentials(
        # None where the system keeps them in a folder only: gRPC then brings its own.
        (system if tls.ca is None else tls.ca.read_bytes()) or None,
        None if tls.client_key is None else tls.client_key.read_bytes(),
        None if tls.client_certificate is None else tls.client_certificate.read_bytes(),
    )
