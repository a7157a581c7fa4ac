"""Trace and span ids, and the sampling that follows from a trace id.

All derive from Conduit's ids alone, so that whoever converts a run again, anywhere, gets the same
trace and the same decision. It never draws a random number.
"""

import hashlib
import re
from typing import Final

# Part of every derived id: another derivation is another version, never a silent change.
_VERSION: Final = b"1"
_TRACE_ID: Final = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.ASCII | re.IGNORECASE,
)
_RANDOM_BYTES: Final = 7


def trace_id_of(*, raw: str | None, workspace_id: str, run_id: str) -> bytes:
    """The 16 bytes of a run's trace id, never all zero.

    32 hex digits or a UUID are taken as they are, 16 hex digits are padded on the left, as W3C
    Trace Context asks; everything else is derived from workspace and run.
    """
    if raw is not None and _TRACE_ID.fullmatch(raw):
        given = bytes.fromhex(raw.replace("-", "")).rjust(16, b"\0")
        if any(given):
            return given
    return _derive("trace", workspace_id, run_id, size=16)


def root_span_id_of(*, workspace_id: str, run_id: str) -> bytes:
    """The 8 bytes of the id of a run's own span, never all zero."""
    return _derive("root", workspace_id, run_id, size=8)


def tool_span_id_of(*, workspace_id: str, run_id: str, index: int, part: int = 0) -> bytes:
    """The 8 bytes of a tool span's id, never all zero.

    `index` is the item's place in the run, `part` the call's place in an item of several calls.
    """
    place = f"{index}.{part}" if part else str(index)
    return _derive("tool", workspace_id, run_id, place, size=8)


def is_sampled(
    *, trace_id: bytes, status: str, disposition: str | None, ratio: float, always: frozenset[str]
) -> bool:
    """Whether a run is traced; a status or disposition in `always` is, whatever the ratio.

    OpenTelemetry's consistent probability sampling: the last 7 bytes of the trace id are its
    randomness R, the ratio a rejection threshold T, kept is R >= T. So a Collector behind the
    exporter keeps a subset, and a larger ratio keeps all that a smaller one kept.
    """
    if status in always or disposition in always:
        return True
    randomness = int.from_bytes(trace_id[-_RANDOM_BYTES:], "big")
    return randomness >= round((1.0 - ratio) * (1 << 8 * _RANDOM_BYTES))


def _derive(*key: str, size: int) -> bytes:
    """The first bytes of SHA-256 over version and key, joined by NUL; a NUL within is escaped."""
    parts = (part.encode("utf-8", "surrogatepass").replace(b"\0", b"\xc0\x80") for part in key)
    digest = hashlib.sha256(b"\0".join((_VERSION, *parts))).digest()
    while not any(digest[:size]):
        digest = hashlib.sha256(digest).digest()
    return digest[:size]
