"""Traces as lines of OTLP JSON."""

import asyncio
import json
import threading
from collections.abc import Callable

import pytest

from exporter.delivery.outcome import Accepted, Outcome, Unavailable
from exporter.delivery.senders import ConsoleSender
from tests.delivery_support import encode_trace


def send(write: Callable[[str], object], payload: bytes) -> Outcome:
    return asyncio.run(ConsoleSender(write).send(payload))


def test_every_trace_is_a_line_of_its_own() -> None:
    """A batch is taken apart: each line is the whole export request of one trace, in ASCII."""
    lines: list[str] = []
    payloads = [encode_trace(1), encode_trace(2, name="Grüße\n\u2028\x1b[31m")]
    assert send(lines.append, b"".join(payloads)) == Accepted()
    assert [len(line.splitlines()) for line in lines] == [1, 1]
    assert all(line.isascii() and line.endswith("}\n") for line in lines)
    spans = [json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0] for line in lines]
    assert [span["traceId"] for span in spans] == [f"{1:032x}", f"{2:032x}"]
    assert spans[1]["name"] == "Grüße\n\u2028\x1b[31m"


@pytest.mark.parametrize(
    "fault",
    [
        BrokenPipeError(32, "Broken pipe"),
        OSError(28, "No space left on device"),
        ValueError("I/O operation on closed file"),
    ],
)
def test_a_stream_that_fails_is_an_outage(fault: Exception) -> None:
    """All traces of the request come again: a line too many is better than a trace too few."""
    lines: list[str] = []
    faults = [None, fault]

    def write(line: str) -> None:
        if faults and (failing := faults.pop(0)):
            raise failing
        lines.append(line)

    sender = ConsoleSender(write)
    payload = encode_trace(1) + encode_trace(2)
    outcome = asyncio.run(sender.send(payload))
    assert isinstance(outcome, Unavailable)
    assert not outcome.answered
    assert outcome.reason.startswith("nothing can be written: ")
    assert asyncio.run(sender.send(payload)) == Accepted()
    assert lines == [lines[0], lines[0], lines[2]]


def test_a_stream_that_takes_no_more_holds_up_nothing_else() -> None:
    """Whoever writes to a full pipe waits in a thread of its own."""
    read_on = threading.Event()

    def write(_: str) -> None:
        if not read_on.wait(10):
            raise TimeoutError("the event loop stood still")

    async def scenario() -> Outcome:
        asyncio.get_running_loop().call_soon(read_on.set)
        return await ConsoleSender(write).send(encode_trace(1))

    assert asyncio.run(scenario()) == Accepted()
