"""OTLP over HTTP with protobuf bodies: one POST for each request, never redirected or retried."""

import gzip
from typing import Final

import httpx

from exporter.clock import Clock
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.delivery.outcome import Outcome, Refused, outcome_of_http, outcome_of_no_answer
from exporter.errors import HttpError, HttpNoAnswer, HttpUnreachable, quote
from exporter.http_client import HttpClient

# What lies beyond is not read.
MAX_ANSWER_BYTES: Final = 64 * 1024
# The library's usual level costs twice the time and saves a few percent.
_GZIP_LEVEL: Final = 1


class HttpSender:
    """Posts to one URL, each exchange within the endpoint's timeout.

    An injected `transport` replaces the network, and is closed with the sender. Raises ConfigError
    for certificates that cannot be used.
    """

    def __init__(
        self,
        endpoint: OtlpEndpoint,
        *,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.destination = endpoint.destination
        self._url = endpoint.target
        self._gzip = endpoint.gzip
        self._secrets = endpoint.secrets
        self._clock = clock
        self._headers = {**dict(endpoint.headers), "content-type": "application/x-protobuf"}
        if endpoint.gzip:
            self._headers["content-encoding"] = "gzip"
        self._client = HttpClient(
            timeout_s=endpoint.timeout_s,
            max_connections=1,
            tls=endpoint.tls,
            transport=transport,
        )

    async def send(self, payload: bytes) -> Outcome:
        """Send one request and read its answer."""
        # Without a time in it: equal payloads give equal bytes.
        content = gzip.compress(payload, _GZIP_LEVEL, mtime=0) if self._gzip else payload
        try:
            answer = await self._client.request(
                "POST",
                self._url,
                headers=self._headers,
                content=content,
                max_body_bytes=MAX_ANSWER_BYTES,
            )
        except HttpUnreachable as exc:
            return outcome_of_no_answer(quote(str(exc), self._secrets), answered=False)
        except HttpNoAnswer as exc:
            return outcome_of_no_answer(quote(str(exc), self._secrets), answered=True)
        except HttpError as exc:  # it cannot be sent at all
            return Refused(quote(str(exc), self._secrets))
        return outcome_of_http(answer, now_ns=self._clock.now_ns(), secrets=self._secrets)

    async def aclose(self) -> None:
        """Close the connections; a request under way fails."""
        await self._client.aclose()
