"""Traces as lines of OTLP JSON, for people and pipes: what OTEL_TRACES_EXPORTER=console means.

Every trace is a whole export request of its own on one line, as the file exporters of OTLP write
it. The lines are only handed to `write`; where they go and when they are flushed is its business.
"""

import json
from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError

from exporter.convert.otlp import payload_to_otlp_json
from exporter.delivery.outcome import Accepted, Invalid, Outcome, Unavailable
from exporter.errors import quote

_DESTINATION: Final = "the console"


class ConsoleSender:
    """Hands each trace to `write` as one line of ASCII; a success is a call that returned."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.destination = _DESTINATION
        self._write = write

    async def send(self, payload: bytes) -> Outcome:
        """Write the traces of one encoded request, in order; after a failure all come again."""
        try:
            document = payload_to_otlp_json(payload)
        except DecodeError:
            return Invalid("these bytes are no OTLP request")
        try:
            # The encoder gives each trace a ResourceSpans of its own, and merging keeps them apart.
            for one in document.get("resourceSpans", ()):
                line = json.dumps({"resourceSpans": [one]}, separators=(",", ":"))
                self._write(f"{line}\n")
        except Exception as exc:  # noqa: BLE001 - whatever the stream raises, no trace is lost
            said = quote(str(exc)) or type(exc).__name__
            return Unavailable(f"nothing can be written: {said}", answered=False)
        return Accepted()

    async def aclose(self) -> None:
        """Nothing to close: the stream belongs to whoever handed in `write`."""
