"""Trace and span ids, derived from Conduit's ids alone, so that a resend is the same trace.

It never draws a random number: whoever converts a run again, anywhere, gets the same ids.
"""

import hashlib
import re
from typing import Final

# Part of every derived id: another derivation is another version, never a silent change.
_VERSION: Final = b"1"
_ZERO_TRACE: Final = bytes(16)
_ZERO_SPAN: Final = bytes(8)

_TRACE_ID: Final = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.ASCII | re.IGNORECASE,
)


def trace_id_of(*, raw: str | None, workspace_id: str, run_id: str) -> bytes:
    """The 16 bytes of a run's trace id, never all zero.

    32 hex digits or a UUID are taken as they are, 16 hex digits are padded on the left, as W3C
    Trace Context asks; everything else is derived from workspace and run.
    """
    if raw is not None and _TRACE_ID.fullmatch(raw):
        given = bytes.fromhex(raw.replace("-", "")).rjust(16, b"\0")
        if given != _ZERO_TRACE:
            return given
    return _derive(_key("trace", workspace_id, run_id), size=16)


def span_id_of(*, kind: str, workspace_id: str, run_id: str, index: int | None) -> bytes:
    """The 8 bytes of a span's id, never all zero; `index` is the tool's place in the run."""
    key = _key(kind, workspace_id, run_id)
    return _derive(key if index is None else b"%b\0%d" % (key, index), size=8)


def _key(kind: str, workspace_id: str, run_id: str) -> bytes:
    return b"\0".join((_VERSION, kind.encode(), _delimitable(workspace_id), _delimitable(run_id)))


def _delimitable(text: str) -> bytes:
    """The text as bytes without NUL, so that no two sets of ids read alike."""
    return text.encode("utf-8", "surrogatepass").replace(b"\0", b"\xc0\x80")


def _derive(key: bytes, *, size: int) -> bytes:
    digest = hashlib.sha256(key).digest()
    while (derived := digest[:size]) in (_ZERO_TRACE, _ZERO_SPAN):
        digest = hashlib.sha256(digest).digest()
    return derived
