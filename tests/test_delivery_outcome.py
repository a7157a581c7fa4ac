"""What answers mean: every status and code of the OTLP specification, and what is none of it."""

import json
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import DebugInfo, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from exporter.delivery.outcome import (
    Accepted,
    Invalid,
    Outcome,
    Refused,
    Unavailable,
    outcome_of_grpc,
    outcome_of_http,
    outcome_of_no_answer,
)
from exporter.errors import quote
from tests.fakes import START_NS

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html; charset=utf-8"}
TEXT = {"content-type": "text/plain"}
SECRET = "t0ps3cr3t"


def http(
    status: int, body: bytes | None = b"", headers: dict[str, str] | None = None, *secrets: str
) -> Outcome:
    return outcome_of_http(status, headers or {}, body, now_ns=START_NS, secrets=secrets)


def partial(rejected: int, message: str = "") -> bytes:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = message
    return bytes(answer.SerializeToString())


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def status_of(message: str, code: int = 3) -> bytes:
    return bytes(Status(code=code, message=message).SerializeToString())


def reason_of(outcome: Outcome) -> str:
    assert not isinstance(outcome, Accepted)
    return outcome.reason


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_one_meaning(status: int) -> None:
    """2xx is success, the specification's four and 408 ask to try again, the rest is final."""
    outcome = http(status, b"Bad news", TEXT) if status >= 300 else http(status)
    expected: type[Outcome] = Refused
    if 200 <= status < 300:
        expected = Accepted
    elif status in {408, 429, 502, 503, 504}:
        expected = Unavailable
    elif status in {400, 413, 422}:
        expected = Invalid
    assert type(outcome) is expected
    if not isinstance(outcome, Accepted):
        assert outcome.reason.startswith(str(status))


@pytest.mark.parametrize("headers", [PROTOBUF, {}, {"content-type": "application/protobuf"}])
@pytest.mark.parametrize("status", [200, 202, 204])
def test_an_empty_answer_is_a_success(status: int, headers: dict[str, str]) -> None:
    """An ExportTraceServiceResponse without a field has no bytes."""
    assert http(status, b"", headers) == Accepted()


@pytest.mark.parametrize(
    ("rejected", "message", "expected"),
    [
        (0, "", Accepted()),
        (3, "too old", Accepted(3, "too old")),
        (0, "please update", Accepted(0, "please update")),
        (-1, "", Accepted()),
    ],
)
def test_a_partial_success_is_read(rejected: int, message: str, expected: Accepted) -> None:
    """Over HTTP and gRPC alike; a negative number of spans is nonsense."""
    body = partial(rejected, message)
    assert http(200, body, PROTOBUF) == expected
    assert http(200, body) == expected, "without a content type"
    assert outcome_of_grpc("OK", "", response=body) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, Accepted()),
        ({"partialSuccess": {}}, Accepted()),
        ({"partialSuccess": None}, Accepted()),
        ({"partialSuccess": {"rejectedSpans": "3", "errorMessage": "old"}}, Accepted(3, "old")),
        ({"partialSuccess": {"rejectedSpans": 3}}, Accepted(3)),
        ({"partial_success": {"rejected_spans": 3, "error_message": "old"}}, Accepted(3, "old")),
        ({"partialSuccess": {"rejectedSpans": -3}}, Accepted()),
    ],
)
def test_a_success_in_json_is_read(answer: dict[str, Any], expected: Accepted) -> None:
    """Some backends answer in JSON whatever was sent."""
    assert http(200, as_json(answer), JSON | {"content-type": "Application/JSON; a=b"}) == expected


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<!doctype html><title>Sign in</title>", HTML),
        (b"<!doctype html><title>Sign in</title>", {}),
        (b"<!doctype html><title>Sign in</title>", PROTOBUF),
        (b"OK", TEXT),
        (b"OK", {}),
        (as_json({"status": "error"}), JSON),
        (as_json({"code": 16, "message": "who are you"}), JSON),
        (as_json([]), JSON),
        (as_json("ok"), JSON),
        (as_json({"partialSuccess": [1]}), JSON),
        (as_json({"partialSuccess": {"rejectedSpans": "many"}}), JSON),
        (as_json({"partialSuccess": {"rejectedSpans": [1]}}), JSON),
        (b'{"partialSuccess": {"rejectedSpans": Infinity}}', JSON),
        (b'{"partialSuccess": {"rejectedSpans": NaN}}', JSON),
        (b"{", JSON),
        (b"\xff", JSON),
        (b"[" * 20_000, JSON),
        (None, PROTOBUF),
        (None, {}),
    ],
)
def test_a_200_that_is_not_understood_is_no_success(
    body: bytes | None, headers: dict[str, str]
) -> None:
    """A login page must not make traces vanish."""
    outcome = http(200, body, headers)
    assert isinstance(outcome, Refused)
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in outcome.reason


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_a_redirect_says_whither_and_is_no_success(status: int) -> None:
    """Without the query, where sign-in services put what is nobody's business."""
    location = f"https://login.example/oauth?state={SECRET}"
    reason = reason_of(http(status, b"", {"location": location}))
    assert "a redirect to https://login.example/oauth, which is not followed" in reason
    assert SECRET not in reason
    assert isinstance(http(status), Refused)


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("body", "headers", "certain"),
    [
        (status_of("bad span id"), PROTOBUF, True),
        (as_json({"code": 3, "message": "bad span id"}), JSON, True),
        (as_json({"code": 3, "message": "\ud800", "details": []}), JSON, True),
        (as_json({"code": 3}), JSON, True),
        (b"<h1>Bad Request</h1>", HTML, False),
        (b"Bad Request", TEXT, False),
        (b"Bad Request", {}, False),
        (status_of("bad span id"), {}, False),
        (b"Bad Request", PROTOBUF, False),
        (as_json({"message": "Bad Request"}), JSON, False),
        (as_json({"code": 3, "error": "Bad Request"}), JSON, False),
        (as_json({}), JSON, False),
        (as_json([]), JSON, False),
        (b"", {}, False),
        (b"", PROTOBUF, False),
        (None, PROTOBUF, False),
    ],
)
def test_only_otlps_own_form_says_for_certain_that_the_request_is_at_fault(
    status: int,
    body: bytes | None,
    headers: dict[str, str],
    certain: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """A proxy's 400, also one without a word, must not set traces aside for good."""
    outcome = http(status, body, headers)
    assert isinstance(outcome, Invalid)
    assert outcome.certain is certain


def test_too_large_is_certain_whoever_says_it() -> None:
    """The size is a fact of the request, also to a proxy; half of it may pass."""
    outcome = http(413, b"<h1>Too Large</h1>", HTML)
    assert isinstance(outcome, Invalid)
    assert outcome.certain
    assert outcome.reason.endswith(": a web page")


@pytest.mark.parametrize(
    ("status", "body", "headers", "reason"),
    [
        (503, status_of("overloaded", 14), PROTOBUF, "503 Service Unavailable: overloaded"),
        (503, b"try\nlater", TEXT, "503 Service Unavailable: try later"),
        (503, b"<h1>nginx</h1>", HTML, "503 Service Unavailable: a web page"),
        (503, b"\x00\xff", {"content-type": "image/png"}, "503 Service Unavailable"),
        (500, as_json({"error": "x"}), JSON, '500 Internal Server Error: {"error": "x"}'),
        (599, b"", {}, "599"),
        (401, b"", {}, "401 Unauthorized (check OTEL_EXPORTER_OTLP_HEADERS: the backend does not"),
        (403, b"", {}, "403 Forbidden (check OTEL_EXPORTER_OTLP_HEADERS: these credentials may"),
        (404, b"", {}, "404 Not Found (check OTEL_EXPORTER_OTLP_ENDPOINT: nothing takes traces"),
        (405, b"", {}, "405 Method Not Allowed (check OTEL_EXPORTER_OTLP_ENDPOINT: nothing"),
    ],
)
def test_the_reason_is_what_the_backend_said(
    status: int, body: bytes, headers: dict[str, str], reason: str
) -> None:
    """In one line, with what to do about it where that is known."""
    assert reason_of(http(status, body, headers)).startswith(reason)


@pytest.mark.parametrize("status", [429, 503, 502, 504])
def test_retry_after_is_passed_on(status: int) -> None:
    """As the specification asks."""
    outcome = http(status, b"", {"retry-after": "7"})
    assert isinstance(outcome, Unavailable)
    assert outcome.retry_after_s == 7.0
    assert outcome.answered


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 2.5 ", 2.5),
        ("99999999999", 3600.0),
        ("1e999", 3600.0),
        ("inf", 3600.0),
        ("-5", None),
        ("nan", None),
        ("1_0", None),
        ("", None),
        ("soon", None),
        ("Fri, 03 Apr 2026 03:05:15 GMT", 60.0),
        ("Friday, 03-Apr-26 03:05:15 GMT", 60.0),
        ("Fri, 03 Apr 2026 03:05:15", 60.0),
        ("Fri, 03 Apr 2026 03:00:00 GMT", None),
        ("Fri, 03 Apr 9999 03:00:00 GMT", 3600.0),
        ("Fri, 99 Apr 2026 03:00:00 GMT", None),
        ("Fri, 03 Apr 99999999999999999999 03:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    """An hour at most; what makes no sense counts as not said."""
    assert asked({"retry-after": text}) == seconds


def test_a_date_counts_from_the_answers_own_date() -> None:
    """A clock that is wrong here or there does no harm."""
    headers = {
        "retry-after": "Thu, 01 Jan 1970 00:01:30 GMT",
        "date": "Thu, 01 Jan 1970 00:01:00 GMT",
    }
    assert asked(headers) == 30.0
    assert asked(headers | {"date": "today"}) is None


def asked(headers: dict[str, str]) -> float | None:
    """What an answer that asks for fewer requests asks for."""
    outcome = outcome_of_http(429, headers, b"", now_ns=START_NS)
    assert isinstance(outcome, Unavailable)
    return outcome.retry_after_s


FATAL = [
    *("UNKNOWN", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "FAILED_PRECONDITION"),
    *("UNIMPLEMENTED", "INTERNAL", "UNAUTHENTICATED"),
]
RETRYABLE = [
    *("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"),
    "RESOURCE_EXHAUSTED",
]


def test_the_table_knows_every_grpc_code() -> None:
    """A code that a later library adds has to be decided on."""
    assert {*FATAL, *RETRYABLE, "OK", "INVALID_ARGUMENT"} == {code.name for code in grpc.StatusCode}


@pytest.mark.parametrize("code", FATAL)
def test_a_final_code_refuses(code: str) -> None:
    """They pass only when a person changes something."""
    outcome = outcome_of_grpc(code, "no")
    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith(f"{code}: no")


@pytest.mark.parametrize(
    ("code", "variable"),
    [
        ("UNAUTHENTICATED", "HEADERS"),
        ("PERMISSION_DENIED", "HEADERS"),
        ("UNIMPLEMENTED", "ENDPOINT"),
    ],
)
def test_a_final_code_says_what_to_check(code: str, variable: str) -> None:
    """By the name of the setting."""
    assert f"check OTEL_EXPORTER_OTLP_{variable}" in reason_of(outcome_of_grpc(code, ""))


@pytest.mark.parametrize("code", RETRYABLE)
def test_a_retryable_code_asks_to_try_again(code: str) -> None:
    """With the delay of RetryInfo where there is one; then it is certain who answered."""
    assert outcome_of_grpc(code, "") == Unavailable(code, answered=code != "UNAVAILABLE")
    asked = outcome_of_grpc(code, "busy", retry_info(seconds=4, nanos=500_000_000))
    assert asked == Unavailable(f"{code}: busy", 4.5)


def test_an_invalid_argument_is_the_requests_fault() -> None:
    """Also with RetryInfo: the same bytes would fail again."""
    assert outcome_of_grpc("INVALID_ARGUMENT", "bad", retry_info(seconds=1)) == Invalid(
        "INVALID_ARGUMENT: bad"
    )


def retry_info(**delay: int) -> list[tuple[str, str | bytes]]:
    """Trailers as a server sends them, the delay among other details."""
    info = RetryInfo()
    info.retry_delay.seconds = delay.get("seconds", 0)
    info.retry_delay.nanos = delay.get("nanos", 0)
    details = []
    for message in (DebugInfo(detail="queue full"), info):
        details.append(AnyMessage())
        details[-1].Pack(message)
    status = Status(code=8, details=details)
    return [("x", "y"), ("grpc-status-details-bin", status.SerializeToString())]


@pytest.mark.parametrize(
    ("trailers", "seconds"),
    [
        ([], None),
        (retry_info(), 0.0),
        (retry_info(seconds=30), 30.0),
        (retry_info(seconds=10**9), 3600.0),
        (retry_info(seconds=-1), None),
        ([("grpc-status-details-bin", b"\xff")], None),
        ([("grpc-status-details-bin", "text")], None),
        ([("grpc-status-details-bin", Status(message="x").SerializeToString())], None),
    ],
)
def test_resource_exhausted_waits_as_long_as_it_is_told(
    trailers: list[tuple[str, str | bytes]], seconds: float | None
) -> None:
    """Without RetryInfo by our own backoff: a rate limit must not cost a trace."""
    assert outcome_of_grpc("RESOURCE_EXHAUSTED", "quota", trailers) == Unavailable(
        "RESOURCE_EXHAUSTED: quota", seconds
    )


@pytest.mark.parametrize(
    "details",
    [
        "grpc: received message larger than max (4194400 vs. 4194304)",
        "SERVER: Received message larger than max (5 vs. 4)",
        "Compressed gRPC message exceeds maximum size 4194304: 5000000 bytes",
        "grpc: received message after decompression larger than max 4194304",
    ],
)
def test_a_message_that_is_too_large_is_split(details: str) -> None:
    """The libraries of servers say it in these words."""
    assert isinstance(outcome_of_grpc("RESOURCE_EXHAUSTED", details), Invalid)
    assert isinstance(outcome_of_grpc("RESOURCE_EXHAUSTED", details, retry_info()), Unavailable)


def test_an_answer_that_is_too_large_is_not_our_requests_size() -> None:
    """Halving the request would not make the answer smaller."""
    details = "CLIENT: Received message larger than max (5000000 vs. 4194304)"
    assert isinstance(outcome_of_grpc("RESOURCE_EXHAUSTED", details), Refused)


def test_an_ok_that_is_not_understood_is_no_success() -> None:
    """Whoever answers is no trace service."""
    assert outcome_of_grpc("OK", "") == Accepted()
    assert isinstance(outcome_of_grpc("OK", "", response=b"\xff"), Refused)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", Refused),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", Refused),
        ("Hostname Verification Check failed", Refused),
        (f"{'failed to connect; ' * 30}OPENSSL_internal:CERTIFICATE_VERIFY_FAILED", Refused),
        ("connection refused", Unavailable),
    ],
)
def test_a_certificate_that_does_not_fit_passes_not_by_itself(
    reason: str, expected: type[Outcome]
) -> None:
    """It is asked seldom, and the message says what to check."""
    for outcome in (
        outcome_of_no_answer(quote(reason), reason, answered=False),
        outcome_of_grpc("UNAVAILABLE", reason),
    ):
        assert type(outcome) is expected
        assert ("OTEL_EXPORTER_OTLP_CERTIFICATE" in reason_of(outcome)) is (expected is Refused)


@pytest.mark.parametrize(
    "outcome",
    [
        http(500, f"token {SECRET} unknown".encode(), TEXT, SECRET),
        http(400, status_of(f"token {SECRET} unknown"), PROTOBUF, SECRET),
        http(302, b"", {"location": f"http://a/{SECRET}"}, SECRET),
        http(200, b"x", {"content-type": f"text/{SECRET}"}, SECRET),
        outcome_of_grpc("INTERNAL", f"token {SECRET} unknown", secrets=(SECRET,)),
    ],
    ids=["text", "status", "redirect", "content type", "grpc"],
)
def test_a_backend_that_repeats_a_secret_is_not_quoted(outcome: Outcome) -> None:
    """Header values do not enter logs by way of an answer."""
    assert SECRET not in reason_of(outcome)
    assert "[hidden]" in reason_of(outcome)


def test_a_partial_success_that_repeats_a_secret_is_not_quoted() -> None:
    """Nor by way of a success."""
    body = partial(1, f"for {SECRET}")
    assert http(200, body, PROTOBUF, SECRET) == Accepted(1, "for [hidden]")
