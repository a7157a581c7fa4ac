"""Traces as lines of OTLP JSON."""

import asyncio
import json
from collections.abc import Callable

import pytest

from exporter.convert.otlp import merge_requests, payload_to_otlp_json
from exporter.delivery.console_sender import ConsoleSender
from exporter.delivery.outcome import Accepted, Invalid, Outcome, Unavailable
from exporter.delivery.senders import open_console
from tests.delivery_support import encode_trace


def send(write: Callable[[str], object], payload: bytes) -> Outcome:
    async def scenario() -> Outcome:
        sender = ConsoleSender(write)
        try:
            return await sender.send(payload)
        finally:
            await sender.aclose()

    return asyncio.run(scenario())


def test_every_trace_is_a_line_of_its_own() -> None:
    """A batch is taken apart: each line is the whole export request of one trace."""
    payloads = [encode_trace(number) for number in (1, 2, 3)]
    lines: list[str] = []
    assert send(lines.append, merge_requests(payloads)) == Accepted()
    assert [json.loads(line) for line in lines] == [payload_to_otlp_json(one) for one in payloads]
    assert all(line.endswith("}\n") and line.count("\n") == 1 for line in lines)
    (span,) = json.loads(lines[0])["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert span["traceId"] == f"{1:032x}"


def test_a_line_is_ascii_whatever_is_in_it() -> None:
    """No stream's encoding can fail on it, and no span's name begins a line of its own."""
    lines: list[str] = []
    assert send(lines.append, encode_trace(1, name="Grüße\n\u2028\x1b[31m")) == Accepted()
    assert len(lines) == 1
    assert lines[0].isascii()
    assert len(lines[0].splitlines()) == 1


def test_an_empty_request_writes_nothing() -> None:
    """The check of a backend sends one."""
    lines: list[str] = []
    assert send(lines.append, b"") == Accepted()
    assert lines == []


@pytest.mark.parametrize(
    "fault",
    [
        BrokenPipeError(32, "Broken pipe"),
        OSError(28, "No space left on device"),
        ValueError("I/O operation on closed file"),
        RuntimeError(),
    ],
)
def test_a_stream_that_fails_is_an_outage(fault: Exception) -> None:
    """The traces stay in the outbox; no trace is suspected for it."""

    def fails(_: str) -> None:
        raise fault

    outcome = send(fails, encode_trace(1))
    assert isinstance(outcome, Unavailable)
    assert not outcome.answered
    assert outcome.reason.startswith("nothing can be written: ")
    assert str(fault) or "RuntimeError" in outcome.reason


def test_after_a_failure_all_traces_of_the_request_come_again() -> None:
    """A line too many is better than a trace too few."""
    lines: list[str] = []

    def once(line: str) -> None:
        if len(lines) == 1:
            lines.append("broken")
            raise BrokenPipeError
        lines.append(line)

    payload = merge_requests([encode_trace(1), encode_trace(2)])
    assert isinstance(send(once, payload), Unavailable)
    assert send(once, payload) == Accepted()
    assert lines[0] == lines[2]
    assert len(lines) == 4


def test_what_is_no_request_is_told_as_such() -> None:
    """It is set aside, and does not end delivery."""
    assert send(lambda _: None, b"\xff") == Invalid("these bytes are no OTLP request")


def test_the_console_is_opened_by_its_name() -> None:
    """As OTEL_TRACES_EXPORTER=console asks."""
    lines: list[str] = []
    sender = open_console(lines.append)
    assert sender.destination == "the console"
    assert asyncio.run(sender.send(encode_trace(1))) == Accepted()
    assert len(lines) == 1
