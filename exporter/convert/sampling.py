"""Which runs are traced, as a function of the trace id alone: everyone decides alike, always.

OpenTelemetry's consistent probability sampling: the last 7 bytes of the trace id are its
randomness R, a ratio is a rejection threshold T = (1 - ratio) * 2^56, and a trace is kept where
R >= T. A Collector behind the exporter that samples in the same way keeps a subset, and a larger
ratio keeps all that a smaller one kept. In an id that was padded from 16 hex digits these bytes
belong to the original half. It never looks at a clock or a counter.
"""

from typing import Final

_RANDOM_BYTES: Final = 7
_RANGE: Final = 1 << 8 * _RANDOM_BYTES


def is_sampled(
    *, trace_id: bytes, status: str, disposition: str | None, ratio: float, always: frozenset[str]
) -> bool:
    """Whether a run is traced; a status or disposition in `always` is, whatever the ratio."""
    if status in always or disposition in always:
        return True
    randomness = int.from_bytes(trace_id[-_RANDOM_BYTES:], "big")
    return randomness >= round((1.0 - ratio) * _RANGE)
