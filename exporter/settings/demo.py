"""What can be chosen for a demonstration; it needs no setting, and reads none of the exporter's."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.settings.addresses import ListenAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """A demonstration: the exporter against a simulated Conduit.

    `otlp` holds OTEL_EXPORTER_OTLP_ settings by name; where it is empty nobody named a trace
    backend, and traces are only shown on the exporter's own pages. `rate` 1 is a new run every few
    seconds, `duration_s` None is until it is told to stop.
    """

    listen: ListenAddress
    otlp: Mapping[str, str] = field(default_factory=dict, repr=False)
    seed: int = 1
    rate: float = 1.0
    duration_s: float | None = None
