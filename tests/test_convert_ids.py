"""Trace and span ids: taken, padded or derived, and the sampling that follows from them."""

import hashlib
import uuid
from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.convert.ids import is_sampled, root_span_id_of, tool_span_id_of, trace_id_of

HEX = "0af7651916cd43dd8448eb211c80319c"
DERIVED = hashlib.sha256(b"1\0trace\0ws\0ar1").digest()[:16]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (HEX, HEX),
        (HEX.upper(), HEX),
        ("0af76519-16cd-43dd-8448-eb211c80319c", HEX),
        ("0AF76519-16CD-43DD-8448-EB211C80319C", HEX),
        ("0f9c2b1d8a7e4f36", "0" * 16 + "0f9c2b1d8a7e4f36"),
        ("0" * 31 + "1", "0" * 31 + "1"),
    ],
)
def test_a_trace_id_is_taken_as_it_is(raw: str, expected: str) -> None:
    """32 hex digits and UUIDs are taken, 16 hex digits are padded on the left."""
    assert trace_id_of(raw=raw, workspace_id="ws", run_id="ar1").hex() == expected


@pytest.mark.parametrize(
    "raw",
    [
        *(None, "", " ", "trace-1", HEX[:-1], f"{HEX}0", f" {HEX}", f"{HEX}\n", "0x" + HEX[2:]),
        *("0" * 32, "0" * 16, str(uuid.UUID(int=0)), HEX.replace("0", "g", 1)),
        *("0af76519-16cd43dd-8448-eb211c80319c", "\u0660" * 16, "0af7651916cd43dd8"),
    ],
)
def test_any_other_trace_id_is_derived(raw: str | None) -> None:
    """Null, empty, zero and other text give the SHA-256 of workspace and run."""
    assert trace_id_of(raw=raw, workspace_id="ws", run_id="ar1") == DERIVED


def test_ids_of_neighbours_never_read_alike() -> None:
    """No shift of characters between workspace, run and index gives the same id, NUL included."""
    keys = [
        *(("a", "bc", 0), ("ab", "c", 0), ("a", "b\0c", 0), ("a\0b", "c", 0), ("a", "b", 1)),
        *(("a", "b1", 0), ("a", "b\x001", 0), ("a", "b", 11), ("a", "b1", 1), ("a", "b\ud800", 0)),
        *(("a", "b\ufffd", 0), ("a", "b\udc80", 0)),
    ]

    found = {
        tool_span_id_of(workspace_id=workspace, run_id=run, index=index, part=part)
        for workspace, run, index in keys
        for part in (0, 1, 2)
    }

    assert len(found) == 3 * len(keys)


def test_a_digest_of_zeros_is_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one digest in 2^64 that would be an invalid id leads to another."""
    digests = [bytes(32), bytes(16) + b"y" * 16, b"x" * 32]
    monkeypatch.setattr(hashlib, "sha256", lambda _: SimpleNamespace(digest=lambda: digests.pop(0)))

    assert root_span_id_of(workspace_id="w", run_id="r") == b"x" * 8


def sampled(trace_id: bytes, ratio: float, *, status: str = "completed") -> bool:
    return is_sampled(
        trace_id=trace_id,
        status=status,
        disposition="resolved",
        ratio=ratio,
        always=frozenset({"failed", "escalated"}),
    )


@given(trace_id=st.binary(min_size=16, max_size=16), ratio=st.floats(0, 1), more=st.floats(0, 1))
def test_a_larger_ratio_keeps_all_that_a_smaller_one_kept(
    trace_id: bytes, ratio: float, more: float
) -> None:
    """Sampling is consistent: the decision depends on id and ratio alone."""
    low, high = sorted((ratio, more))

    assert sampled(trace_id, high) or not sampled(trace_id, low)
    assert sampled(trace_id, 1.0)
    assert not sampled(trace_id, 0.0)


@pytest.mark.parametrize("ratio", [0.5, 0.25, 0.125])
def test_the_threshold_is_exact(ratio: float) -> None:
    """R >= T keeps, with R the last seven bytes and T the share that is rejected."""
    threshold = int((1 - Fraction(ratio)) * 2**56)

    assert sampled(b"\xff" * 9 + threshold.to_bytes(7, "big"), ratio)
    assert not sampled(b"\xff" * 9 + (threshold - 1).to_bytes(7, "big"), ratio)


def test_what_always_counts_is_kept() -> None:
    """A status or a disposition in `always` goes before the ratio."""
    never = bytes(16)

    assert sampled(never, 0.0, status="failed")
    assert is_sampled(
        trace_id=never, status="completed", disposition="a", ratio=0.0, always=frozenset({"a"})
    )
    assert not is_sampled(
        trace_id=never, status="completed", disposition=None, ratio=0.0, always=frozenset({"a"})
    )
