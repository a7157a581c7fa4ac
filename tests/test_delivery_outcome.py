"""What answers mean: every status and code of the OTLP specification, and what is none of it."""

import httpx
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import DebugInfo, RetryInfo
from google.rpc.status_pb2 import Status

from exporter.delivery.outcome import (
    Accepted,
    Invalid,
    Outcome,
    Refused,
    Unavailable,
    outcome_of_grpc_error,
    outcome_of_http,
)
from exporter.http_client import HttpAnswer
from tests.conduit_support import as_json
from tests.delivery_support import partial_success
from tests.fakes import START_NS

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
HTML = "text/html; charset=utf-8"
TEXT = "text/plain"
PAGE = b"<!DOCTYPE html><title>Sign in</title>"
SECRET = "t0ps3cr3t"


def http(
    status: int, body: bytes = b"", kind: str = "", *, truncated: bool = False, **headers: str
) -> Outcome:
    fields = httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()})
    if kind:
        fields["content-type"] = kind
    answer = HttpAnswer(status, fields, body, "too large" if truncated else None)
    return outcome_of_http(answer, now_ns=START_NS, secrets=(SECRET,))


def status_of(message: str, code: int = 3) -> bytes:
    return bytes(Status(code=code, message=message).SerializeToString())


def reason_of(outcome: Outcome) -> str:
    assert not isinstance(outcome, Accepted)
    return outcome.reason


def test_every_status_has_one_meaning() -> None:
    """2xx is success; 408 and the specification's four blame the moment, three the content."""
    meanings = {
        **dict.fromkeys(range(100, 600), Refused),
        **dict.fromkeys(range(200, 300), Accepted),
        **dict.fromkeys((408, 429, 502, 503, 504), Unavailable),
        **dict.fromkeys((400, 413, 422), Invalid),
    }
    assert {status: type(http(status, b"Bad news", TEXT)) for status in meanings} == meanings


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", PROTOBUF),
        (b"", ""),
        (b"OK", TEXT),
        (b"OK", ""),
        (b"{}", ""),
        (b"{}", JSON),
        (as_json({"partialSuccess": None}), JSON),
        (as_json({"status": "success", "code": 200, "data": [1]}), JSON),
        (as_json({"code": 0, "message": "ok"}), "Application/JSON; a=b"),
        (as_json({"success": True, "status": 1, "errors": []}), JSON),
        (b'{"partialSuccess": {"rejectedSpans": Infinity}}', JSON),
        (as_json({"partialSuccess": {"rejectedSpans": "many"}}), JSON),
        (b"{" * 20_000, JSON),
        (b"<ack/>", "application/xml"),
    ],
)
@pytest.mark.parametrize("status", [200, 202])
def test_a_2xx_is_a_success_whatever_it_says(status: int, body: bytes, kind: str) -> None:
    """Backends answer in forms of their own; sending again for ever would help nobody."""
    assert http(status, body, kind) == Accepted()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (PAGE, HTML),
        (PAGE, ""),
        (PAGE, PROTOBUF),
        (b"\n<html><body>Sign in</body></html>", TEXT),
        (b'<?xml version="1.0"?><html xmlns="x"></html>', "application/xml"),
        (b"Sign in", HTML),
    ],
)
@pytest.mark.parametrize("truncated", [False, True])
def test_a_web_page_is_no_success(body: bytes, kind: str, *, truncated: bool) -> None:
    """A login page must not make traces vanish."""
    outcome = http(200, body, kind, truncated=truncated)
    assert isinstance(outcome, Refused)
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in outcome.reason


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (as_json({"status": "error"}), JSON),
        (as_json({"code": 16, "message": "who are you"}), JSON),
        (as_json({"error": "no such tenant"}), JSON),
        (as_json({"errors": [{"message": "no"}]}), ""),
        (as_json({"success": False}), TEXT),
        (as_json({"statusCode": 401}), JSON),
        (b"Error: no such tenant", TEXT),
    ],
)
def test_an_error_told_with_a_200_is_no_success(body: bytes, kind: str) -> None:
    """The reason is what it says."""
    outcome = http(200, body, kind)
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith("200, but the answer tells an error: ")


@pytest.mark.parametrize("kind", [PROTOBUF, "application/protobuf", JSON, ""])
def test_an_answer_that_is_too_large_to_be_read_is_a_success(kind: str) -> None:
    """70,000 bytes of partial success: the request was taken all the same."""
    outcome = http(200, partial_success(1, "x" * 70_000)[: 64 * 1024], kind, truncated=True)
    assert isinstance(outcome, Accepted)
    assert "could not be read" in outcome.message


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (partial_success(3, "too old"), PROTOBUF, Accepted(3, "too old")),
        (partial_success(0, "please update"), PROTOBUF, Accepted(0, "please update")),
        (partial_success(-1), PROTOBUF, Accepted()),
        (partial_success(1, "x" * 119), PROTOBUF, Accepted(1, "x" * 119)),
        (
            as_json({"partialSuccess": {"rejectedSpans": "3", "errorMessage": "old"}}),
            JSON,
            Accepted(3, "old"),
        ),
        (
            as_json({"partial_success": {"rejected_spans": 3, "error_message": "old"}}),
            JSON,
            Accepted(3, "old"),
        ),
        (as_json({"partialSuccess": {"rejectedSpans": 3}, "took": 1}), "", Accepted(3)),
        (partial_success(1, f"for {SECRET}"), PROTOBUF, Accepted(1, "for [hidden]")),
    ],
)
def test_a_partial_success_is_read(body: bytes, kind: str, expected: Accepted) -> None:
    """In protobuf and JSON; a negative number of spans is nonsense, secrets are not quoted."""
    assert http(200, body, kind) == expected


def test_a_redirect_tells_its_target() -> None:
    """Without the query, where sign-in services put what is nobody's business."""
    reason = reason_of(http(302, location="https://login.example/oauth?state=abc"))
    assert "a redirect to https://login.example/oauth, which is not followed" in reason
    assert "abc" not in reason


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (status_of("bad span id"), PROTOBUF),
        (as_json({"code": 3, "message": "\ud800", "details": []}), JSON),
        (b"<h1>Bad Request</h1>", HTML),
        (b"Bad Request", PROTOBUF),
        (as_json([]), JSON),
        (b"", PROTOBUF),
    ],
)
def test_the_content_is_said_to_be_at_fault_in_whatever_form(
    status: int, body: bytes, kind: str
) -> None:
    """By OTLP's own form, a proxy's page or nothing but the status."""
    assert isinstance(http(status, body, kind), Invalid)


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (503, status_of("overloaded", 14), PROTOBUF, "503 Service Unavailable: overloaded"),
        (503, b"try\nlater", TEXT, "503 Service Unavailable: try later"),
        (503, b"<h1>nginx</h1>", HTML, "503 Service Unavailable: a web page"),
        (503, b"\x00\xff", "image/png", "503 Service Unavailable"),
        (500, as_json({"error": "x"}), JSON, '500 Internal Server Error: {"error": "x"}'),
        (
            500,
            f"token {SECRET} unknown".encode(),
            TEXT,
            "500 Internal Server Error: token [hidden]",
        ),
        (401, b"", "", "401 Unauthorized (check OTEL_EXPORTER_OTLP_HEADERS: "),
        (403, b"", "", "403 Forbidden (check OTEL_EXPORTER_OTLP_HEADERS: "),
        (404, b"", "", "404 Not Found (check OTEL_EXPORTER_OTLP_ENDPOINT: nothing takes traces"),
    ],
)
def test_the_reason_is_what_the_backend_said(
    status: int, body: bytes, kind: str, reason: str
) -> None:
    """In one line, without secrets, with what to do about it where that is known."""
    assert reason_of(http(status, body, kind)).startswith(reason)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize(
    ("text", "seconds"),
    [(" 2.5 ", 2.5), ("inf", 3600.0), ("soon", None), ("Fri, 03 Apr 2026 03:05:15 GMT", 60.0)],
)
def test_retry_after_is_seconds_or_a_date(status: int, text: str, seconds: float | None) -> None:
    """An hour at most; what makes no sense counts as not said."""
    outcome = http(status, retry_after=text)
    assert isinstance(outcome, Unavailable)
    assert outcome.retry_after_s == seconds


def retry_info(seconds: int = 0, nanos: int = 0) -> list[tuple[str, str | bytes]]:
    """Trailers as a server sends them, the delay among other details."""
    info = RetryInfo()
    info.retry_delay.seconds, info.retry_delay.nanos = seconds, nanos
    details = []
    for message in (DebugInfo(detail="queue full"), info):
        details.append(AnyMessage())
        details[-1].Pack(message)
    status = Status(code=8, details=details)
    return [("x", "y"), ("grpc-status-details-bin", status.SerializeToString())]


DESTINATION = (
    *("UNKNOWN", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "FAILED_PRECONDITION"),
    *("UNIMPLEMENTED", "INTERNAL", "UNAUTHENTICATED"),
)
MOMENT = (
    *("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"),
    "RESOURCE_EXHAUSTED",
)
# The libraries of servers say in these words that a message is too large.
TOO_LARGE = (
    "grpc: received message larger than max (4194400 vs. 4194304)",
    "SERVER: Received message larger than max (5 vs. 4)",
    "Compressed gRPC message exceeds maximum size 4194304: 5000000 bytes",
    "grpc: received message after decompression larger than max 4194304",
)
EXHAUSTED = "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(
    ("code", "details", "trailers", "expected"),
    [
        ("INVALID_ARGUMENT", "bad", retry_info(1), Invalid("INVALID_ARGUMENT: bad")),
        *((code, "", [], Unavailable(code, answered=code != "UNAVAILABLE")) for code in MOMENT),
        *(
            (code, "busy", retry_info(4, 500_000_000), Unavailable(f"{code}: busy", 4.5))
            for code in MOMENT
        ),
        *(
            (EXHAUSTED, "quota", trailers, Unavailable(f"{EXHAUSTED}: quota", seconds))
            for trailers, seconds in (
                (retry_info(), 0.0),
                (retry_info(10**9), 3600.0),
                (retry_info(-1), None),
                ([("grpc-status-details-bin", b"\xff")], None),
                ([("grpc-status-details-bin", "text")], None),
                ([("grpc-status-details-bin", Status(message="x").SerializeToString())], None),
            )
        ),
        *((EXHAUSTED, said, [], Invalid(f"{EXHAUSTED}: {said}")) for said in TOO_LARGE),
        *(
            (EXHAUSTED, said, retry_info(), Unavailable(f"{EXHAUSTED}: {said}", 0.0))
            for said in TOO_LARGE
        ),
    ],
)
def test_a_grpc_code_blames_the_content_or_the_moment(
    code: str, details: str, trailers: list[tuple[str, str | bytes]], expected: Outcome
) -> None:
    """By RetryInfo where there is one, an hour at most; a rate limit must not cost a trace."""
    assert outcome_of_grpc_error(code, details, trailers) == expected


@pytest.mark.parametrize("code", DESTINATION)
def test_any_other_grpc_code_blames_the_destination(code: str) -> None:
    """They pass only when a person changes something."""
    outcome = outcome_of_grpc_error(code, f"no {SECRET}", secrets=(SECRET,))
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith(f"{code}: no [hidden]")
