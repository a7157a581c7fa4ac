"""OTLP over gRPC: one unary call for each request, its bytes passed through as they are.

Nothing is retried here, neither by this code nor by the library.
"""

from typing import Final

import grpc
import grpc.aio

from exporter import __version__
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.outcome import Outcome, Unavailable, outcome_of_grpc
from exporter.delivery.tls import read_certificates
from exporter.errors import quote

_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# gRPC waits up to two minutes between connection attempts; delivery has a backoff of its own, and
# an attempt of it must not fail without the destination having been asked.
_RECONNECT_MS: Final = 1000


class GrpcSender:
    """Calls one trace service; must be made inside the event loop that uses it."""

    def __init__(self, endpoint: OtlpEndpoint) -> None:
        """Connects with the first call; raises DeliveryError for unusable certificates."""
        self.destination = endpoint.destination
        self._secrets = endpoint.secrets
        self._timeout_s = endpoint.timeout_s
        headers = dict(endpoint.headers)
        agent = headers.pop("user-agent", f"conduit-exporter/{__version__}")
        self._metadata = tuple(
            # By gRPC's rule a name that ends so carries bytes.
            (name, value.encode() if name.endswith("-bin") else value)
            for name, value in headers.items()
        )
        self._channel = _open_channel(endpoint, agent)
        self._export = self._channel.unary_unary(_METHOD)

    async def send(self, payload: bytes) -> Outcome:
        """Make one call, all of it within the endpoint's timeout."""
        try:
            response = await self._export(payload, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as exc:
            if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not self._is_connected():
                return Unavailable(f"no connection within {self._timeout_s:g} s", answered=False)
            return outcome_of_grpc(
                exc.code().name,
                exc.details() or "",
                exc.trailing_metadata() or (),
                secrets=self._secrets,
            )
        except Exception as exc:  # noqa: BLE001 - whatever the library raises, no trace is lost
            return Unavailable(f"no call: {quote(str(exc), self._secrets) or type(exc).__name__}")
        return outcome_of_grpc("OK", "", response=response, secrets=self._secrets)

    async def aclose(self) -> None:
        """Close the channel; a call under way fails."""
        await self._channel.close()

    def _is_connected(self) -> bool:
        return self._channel.get_state() is grpc.ChannelConnectivity.READY


def _open_channel(endpoint: OtlpEndpoint, agent: str) -> grpc.aio.Channel:
    options = [
        ("grpc.primary_user_agent", agent),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    compression = grpc.Compression.Gzip if endpoint.gzip else grpc.Compression.NoCompression
    if not endpoint.secure:
        return grpc.aio.insecure_channel(endpoint.target, options, compression)
    trusted, key, certificate = read_certificates(endpoint)
    credentials = grpc.ssl_channel_credentials(trusted, key, certificate)
    return grpc.aio.secure_channel(endpoint.target, credentials, options, compression)
