"""What an answer of a trace backend means: HTTP or gRPC in, one of four outcomes out.

The status tells what is at fault: the content of the request (`Invalid`), the moment
(`Unavailable`) or the destination (`Refused`). A 2xx is a success unless a web page or an error
stands in it. Nothing here sends, waits or decides what becomes of a trace.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from exporter.errors import quote
from exporter.http_client import MAX_RETRY_AFTER_S, HttpAnswer, parse_retry_after

_PROTOBUF_TYPES: Final = ("application/x-protobuf", "application/protobuf")
_JSON_TYPE: Final = "application/json"

# Those of the OTLP specification, and 408: the request did not arrive whole in time.
_RETRYABLE: Final = (408, 429, 502, 503, 504)
_ABOUT_CONTENT: Final = (400, 413, 422)

_RETRYABLE_CODES: Final = frozenset(
    ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")
)
_RPC_CODES: Final = range(1, 17)
_DETAILS_KEY: Final = "grpc-status-details-bin"

# Too large a message has no code of its own in gRPC; its libraries say it in these words.
_SIZE_MARKS: Final = ("larger than max", "exceeds maximum size")
# What TLS libraries say when trying again cannot help.
_TLS_MARKS: Final = (
    "CERTIFICATE_VERIFY_FAILED",
    "CERTIFICATE_REQUIRED",
    "WRONG_VERSION_NUMBER",
    "ALERT_UNKNOWN_CA",
    "ALERT_BAD_CERTIFICATE",
    "Hostname Verification Check failed",
)
_TLS_HINT: Final = (
    "check OTEL_EXPORTER_OTLP_CERTIFICATE and whether the endpoint speaks TLS under this name"
)
_HEADERS_HINT: Final = "check OTEL_EXPORTER_OTLP_HEADERS: the backend does not accept these"
_PATH_HINT: Final = "check OTEL_EXPORTER_OTLP_ENDPOINT: nothing takes traces at this path"
_HINTS: Final[dict[int | str, str]] = {
    401: _HEADERS_HINT,
    403: _HEADERS_HINT,
    404: _PATH_HINT,
    405: _PATH_HINT,
    "UNAUTHENTICATED": _HEADERS_HINT,
    "PERMISSION_DENIED": _HEADERS_HINT,
    "UNIMPLEMENTED": "check OTEL_EXPORTER_OTLP_ENDPOINT: no OTLP trace service is there",
}
_ELSEWHERE: Final = "is it a login page, a proxy, or the wrong OTEL_EXPORTER_OTLP_ENDPOINT?"
_UNREAD: Final = "its answer could not be read, so whether it rejected spans is not known"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The backend acknowledged the request, but for `rejected_spans` that it will not take."""

    rejected_spans: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Invalid:
    """The content of the request is said to be at fault, or its size."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The moment is at fault: no answer, or one that asks to try again.

    `answered` False: the destination was not reached, so nothing was said about the request.
    Otherwise whether the request was taken is not known.
    """

    reason: str
    retry_after_s: float | None = None
    answered: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """The destination is at fault: an answer that changes only when a person changes something."""

    reason: str


Outcome = Accepted | Invalid | Unavailable | Refused


def outcome_of_http(answer: HttpAnswer, *, now_ns: int, secrets: Iterable[str] = ()) -> Outcome:
    """The outcome of an HTTP answer; `secrets` are kept out of what is quoted."""
    status = answer.status
    kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
    if answer.is_success:
        return _success(answer, kind, secrets)
    if status < HTTPStatus.BAD_REQUEST:
        location = quote(answer.headers.get("location", "").split("?")[0], secrets)
        target = f" to {location}" if location else ""
        return Refused(f"{status}: a redirect{target}, which is not followed; {_ELSEWHERE}")
    message = _status_message(answer.body, kind)
    said = quote(_text(answer.body, kind) if message is None else message, secrets)
    reason = f"{status} {httpx.codes.get_reason_phrase(status)}".strip()
    if said:
        reason = f"{reason}: {said}"
    if status in _RETRYABLE:
        retry_after_s, _ = parse_retry_after(answer.headers, now_ns=now_ns)
        return Unavailable(reason, retry_after_s)
    if status in _ABOUT_CONTENT:
        return Invalid(reason)
    return _refused(reason, status)


def outcome_of_grpc_error(
    code: str,
    details: str,
    trailers: Iterable[tuple[str, str | bytes]] = (),
    *,
    secrets: Iterable[str] = (),
) -> Outcome:
    """The outcome of a gRPC call that failed; `code` is the name of its status code."""
    said = quote(details, secrets)
    reason = f"{code}: {said}" if said else code
    if code == "INVALID_ARGUMENT":
        return Invalid(reason)
    retry_after_s = _retry_delay_s(trailers)
    if code == "RESOURCE_EXHAUSTED":
        if retry_after_s is None and any(mark in details for mark in _SIZE_MARKS):
            # The client's own limit stopped an answer: then the server had taken the request.
            return Accepted(message=_UNREAD) if "CLIENT:" in details else Invalid(reason)
        # Without RetryInfo the specification calls it final. Rate limits of common backends are
        # told so all the same, and we drop nothing: it is tried again with our own backoff.
        return Unavailable(reason, retry_after_s)
    if code in _RETRYABLE_CODES:
        if retry_after_s is not None:
            return Unavailable(reason, retry_after_s)
        # A connection that cannot be made ends in UNAVAILABLE as well, before anything was sent.
        return outcome_of_no_answer(reason, details, answered=code != "UNAVAILABLE")
    return _refused(reason, code)


def outcome_of_no_answer(reason: str, details: str = "", *, answered: bool) -> Outcome:
    """The outcome of a request without an answer; `answered` False: it cannot have arrived.

    `details` is what the library said where the reason quotes only its beginning.
    """
    if any(mark in details or mark in reason for mark in _TLS_MARKS):
        return Refused(f"{reason} ({_TLS_HINT})")
    return Unavailable(reason, answered=answered)


def outcome_of_response(
    response: ExportTraceServiceResponse | None, *, secrets: Iterable[str] = ()
) -> Accepted:
    """The outcome of OTLP's own answer to a request that was taken; None where it is unreadable."""
    if response is None:
        return Accepted(message=_UNREAD)
    partial = response.partial_success
    return Accepted(max(0, partial.rejected_spans), quote(partial.error_message, secrets))


def _success(answer: HttpAnswer, kind: str, secrets: Iterable[str]) -> Outcome:
    if kind in _PROTOBUF_TYPES and answer.problem is None:
        try:
            response = ExportTraceServiceResponse.FromString(answer.body)
        except DecodeError:
            pass  # a proxy may have kept the type and put its own page in
        else:
            return outcome_of_response(response, secrets=secrets)
    text = answer.body.strip()
    if not text and answer.problem is None:
        # Frameworks call even an empty answer HTML.
        return Accepted()
    if "html" in kind or _is_web_page(text):
        return Refused(f"{answer.status}, but the answer is a web page; {_ELSEWHERE}")
    if answer.problem is not None or kind in _PROTOBUF_TYPES:
        return Accepted(message=_UNREAD)
    document = _load_json(text) if text.startswith(b"{") else None
    if text.lower().startswith(b"error") or (document and _tells_error(document)):
        said = quote(text.decode(errors="replace"), secrets)
        return Refused(f"{answer.status}, but the answer tells an error: {said}")
    # What a backend says in a form of its own is no more than a success.
    response = ExportTraceServiceResponse()
    with suppress(DecodeError, json_format.ParseError):
        if document is not None:
            json_format.ParseDict(document, response, ignore_unknown_fields=True)
        elif not kind:
            response = ExportTraceServiceResponse.FromString(answer.body)
    return outcome_of_response(response, secrets=secrets)


def _tells_error(document: dict[str, Any]) -> bool:
    """Whether a JSON answer says under one of the usual names that the request failed."""
    if document.get("error") or document.get("errors") or document.get("success") is False:
        return True
    if str(document.get("status")).lower() in ("error", "failed", "failure"):
        return True
    if "message" in document and document.get("code") in _RPC_CODES:
        return True
    codes = [document.get(name) for name in ("code", "status", "statusCode")]
    return any(isinstance(one, int) and one >= HTTPStatus.BAD_REQUEST for one in codes)


def _is_web_page(text: bytes) -> bool:
    beginning = text[:512].lower()
    return beginning.startswith(b"<") and (b"<!doctype html" in beginning or b"<html" in beginning)


def _status_message(body: bytes, kind: str) -> str | None:
    """The message of the google.rpc.Status that OTLP puts into an error's body.

    None where there is no such thing: it must be told from what a proxy on the way says.
    """
    if not body:
        return None
    if kind == _JSON_TYPE:
        document = _load_json(body)
        if document is None or not {"code"} <= document.keys() <= {"code", "message", "details"}:
            return None
        return str(document.get("message", ""))
    if kind not in _PROTOBUF_TYPES:
        return None
    try:
        return str(Status.FromString(body).message)
    except DecodeError:
        return None


def _load_json(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _text(body: bytes, kind: str) -> str:
    """What a body says to a person; a web page says it to somebody else."""
    if "html" in kind:
        return "a web page"
    return body.decode(errors="replace") if kind.startswith("text/") or kind == _JSON_TYPE else ""


def _refused(reason: str, status: int | str) -> Refused:
    hint = _HINTS.get(status)
    return Refused(f"{reason} ({hint})" if hint else reason)


def _retry_delay_s(trailers: Iterable[tuple[str, str | bytes]]) -> float | None:
    """The delay of a RetryInfo in the status details."""
    details = next((value for key, value in trailers if key == _DETAILS_KEY), None)
    if not isinstance(details, bytes):
        return None
    info = RetryInfo()
    try:
        found = any(one.Unpack(info) for one in Status.FromString(details).details)
    except DecodeError:
        return None
    seconds = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    return min(seconds, MAX_RETRY_AFTER_S) if found and seconds >= 0 else None
