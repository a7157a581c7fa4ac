"""A trace backend for simulations: it reads what it is sent, and fails when it is told to."""

import random
from collections import Counter
from collections.abc import Callable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from exporter.clock import Clock
from exporter.delivery.outcome import Accepted, Outcome

Fault = Callable[[random.Random], Outcome | None]
# What joins a trace to the API's run; docs/SPANS.md promises it.
_RUN_ID = "conduit.run.id"


class SimulatedBackend:
    """Implements `exporter.delivery.senders.Sender`.

    Keeps what became visible: by (trace id, span id) the bytes of each span, and the trace ids of
    each run. A fault may lose a request (`before`), or take it and lose the answer (`after`).
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
        self.trace_ids: dict[str, set[bytes]] = {}
        self.received: Counter[str] = Counter()
        self.changed: list[tuple[bytes, bytes]] = []

    async def send(self, payload: bytes) -> Outcome:
        """Take one request, or fail as ordered."""
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
    def traced(self) -> set[str]:
        """The ids of the runs whose traces are visible."""
        return set(self.trace_ids)

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
                        said = {one.key: one.value.string_value for one in span.attributes}
                        self.trace_ids.setdefault(said[_RUN_ID], set()).add(span.trace_id)
                        self.received[said[_RUN_ID]] += 1
