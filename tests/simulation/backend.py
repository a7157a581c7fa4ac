"""A trace backend for simulations: it reads what it is sent, and fails when it is told to."""

import random
from collections import Counter
from collections.abc import Callable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from exporter.clock import Clock
from exporter.delivery.outcome import Accepted, Outcome

Fault = Callable[[random.Random], Outcome | None]


class SimulatedBackend:
    """Implements `exporter.delivery.senders.Sender`.

    Keeps what became visible: by (trace id, span id) the bytes of each span, and how often it came.
    A fault may lose a request, or take it and lose the answer.
    """

    destination = "simulated backend"

    def __init__(
        self,
        *,
        clock: Clock,
        rng: random.Random,
        latency_s: tuple[float, float] = (0.01, 0.05),
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._latency_s = latency_s
        self.before: list[Fault] = []
        self.after: list[Fault] = []
        self.spans: dict[tuple[bytes, bytes], bytes] = {}
        self.received: Counter[bytes] = Counter()
        self.changed: list[tuple[bytes, bytes]] = []
        self.requests = 0

    async def send(self, payload: bytes) -> Outcome:
        """Take one request, or fail as ordered."""
        self.requests += 1
        await self._clock.sleep(self._rng.uniform(*self._latency_s))
        for fault in self.before:
            if (outcome := fault(self._rng)) is not None:
                return outcome
        self._take(payload)
        for fault in self.after:
            if (outcome := fault(self._rng)) is not None:
                return outcome
        return Accepted()

    async def aclose(self) -> None:
        """There is nothing to close."""

    @property
    def traces(self) -> set[bytes]:
        """The ids of all traces that are visible."""
        return {trace_id for trace_id, _ in self.spans}

    def _take(self, payload: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(payload)
        for resource_spans in request.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    key = (span.trace_id, span.span_id)
                    encoded = span.SerializeToString(deterministic=True)
                    if self.spans.setdefault(key, encoded) != encoded:
                        self.changed.append(key)
                    if not span.parent_span_id:
                        self.received[span.trace_id] += 1
