"""What an answer of a trace backend means: HTTP or gRPC in, one of four outcomes out.

Success is only what is understood as success: a 2xx with a web page in it is none. Nothing here
sends, waits or decides what becomes of a trace.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from exporter.delivery.backoff import LONGEST_WAIT_S
from exporter.errors import quote
from exporter.http_client import parse_retry_after

# A larger answer is not read to its end; no sensible one comes near.
MOST_ANSWER_BYTES: Final = 64 * 1024

_PROTOBUF_TYPES: Final = frozenset(("", "application/x-protobuf", "application/protobuf"))
_JSON_TYPE: Final = "application/json"
_RESPONSE_KEYS: Final = frozenset(("partialSuccess", "partial_success"))

# 408 says that the request did not arrive whole in time, which is no judgement of it.
_RETRYABLE: Final = frozenset((408, 429, 502, 503, 504))
_TOO_LARGE: Final = 413
_ABOUT_CONTENT: Final = frozenset((400, _TOO_LARGE, 422))

_RETRYABLE_CODES: Final = frozenset(
    ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")
)
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
_DETAILS_KEY: Final = "grpc-status-details-bin"

_HINTS: Final[dict[int, str]] = {
    401: "check OTEL_EXPORTER_OTLP_HEADERS: the backend does not accept these credentials",
    403: "check OTEL_EXPORTER_OTLP_HEADERS: these credentials may not write traces",
    404: "check OTEL_EXPORTER_OTLP_ENDPOINT: nothing takes traces at this path",
    405: "check OTEL_EXPORTER_OTLP_ENDPOINT: nothing takes traces at this path",
}
_CODE_HINTS: Final[dict[str, str]] = {
    "UNAUTHENTICATED": _HINTS[401],
    "PERMISSION_DENIED": _HINTS[403],
    "UNIMPLEMENTED": "check OTEL_EXPORTER_OTLP_ENDPOINT: no OTLP trace service is there",
}
ELSEWHERE: Final = "is it a login page, a proxy, or the wrong OTEL_EXPORTER_OTLP_ENDPOINT?"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The backend acknowledged the request, but for `rejected_spans` that it will not take."""

    rejected_spans: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Invalid:
    """The backend says that the request's content is at fault, or its size.

    `certain`: the answer is OTLP's own form of saying so; otherwise anything on the way may have
    said it.
    """

    reason: str
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Unavailable:
    """No answer, or one that asks to try again; whether the request arrived is not known.

    `answered` False: the destination was not even reached, so nothing was said about the request.
    """

    reason: str
    retry_after_s: float | None = None
    answered: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that does not pass by itself, or an answer that cannot be understood."""

    reason: str


Outcome = Accepted | Invalid | Unavailable | Refused


def outcome_of_no_answer(reason: str, said: str, *, answered: bool) -> Outcome:
    """The outcome of a request that got no answer; `answered` False: it cannot have arrived.

    `said` is what the library said, all of it: the reason may quote only its beginning.
    """
    if any(mark in said for mark in _TLS_MARKS):
        return Refused(f"{reason} ({_TLS_HINT})")
    return Unavailable(reason, answered=answered)


def outcome_of_http(
    status: int,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    now_ns: int,
    secrets: Iterable[str] = (),
) -> Outcome:
    """The outcome of an HTTP answer; header names in lower case.

    `body` is None where it could not be read, being too large or damaged. `secrets` are kept out
    of what is quoted.
    """
    kind = headers.get("content-type", "").split(";")[0].strip().lower()
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return _success(body, kind, f"{status}", secrets)
    if status < HTTPStatus.BAD_REQUEST:
        target = quote(headers.get("location", "").split("?")[0], secrets)
        whither = f" to {target}" if target else ""
        return Refused(f"{status}: a redirect{whither}, which is not followed; {ELSEWHERE}")
    message = _status_message(body, kind)
    said = quote(message if message is not None else _text(body, kind), secrets)
    reason = f"{status} {_phrase(status)}".strip() + (f": {said}" if said else "")
    if status in _RETRYABLE:
        return Unavailable(reason, _asked_s(headers, now_ns))
    if status in _ABOUT_CONTENT:
        return Invalid(reason, certain=status == _TOO_LARGE or message is not None)
    hint = _HINTS.get(status)
    return Refused(f"{reason} ({hint})" if hint else reason)


def outcome_of_grpc(
    code: str,
    details: str,
    trailers: Iterable[tuple[str, str | bytes]] = (),
    response: bytes | None = None,
    *,
    secrets: Iterable[str] = (),
) -> Outcome:
    """The outcome of a gRPC call; `code` is the name of its status code."""
    if code == "OK":
        return _parse_protobuf(response or b"", "OK", secrets)
    said = quote(details, secrets)
    reason = f"{code}: {said}" if said else code
    if code == "INVALID_ARGUMENT":
        return Invalid(reason)
    retry_after_s = _retry_delay_s(trailers)
    if code == "RESOURCE_EXHAUSTED":
        return _exhausted(reason, details, retry_after_s)
    if code in _RETRYABLE_CODES:
        if retry_after_s is not None:
            return Unavailable(reason, retry_after_s)
        # A connection that cannot be made ends in UNAVAILABLE as well, before anything was sent.
        return outcome_of_no_answer(reason, details, answered=code != "UNAVAILABLE")
    hint = _CODE_HINTS.get(code)
    return Refused(f"{reason} ({hint})" if hint else reason)


def _asked_s(headers: Mapping[str, str], now_ns: int) -> float | None:
    """Retry-After in seconds, an hour at most, None where it says nothing usable."""
    seconds = parse_retry_after(httpx.Headers(dict(headers)), now_ns=now_ns)
    return None if seconds is None or seconds < 0 else min(seconds, LONGEST_WAIT_S)


def _success(body: bytes | None, kind: str, said: str, secrets: Iterable[str]) -> Outcome:
    if body is None:
        return Refused(f"{said}, but the answer cannot be read; {ELSEWHERE}")
    if not body:
        return Accepted()
    if kind in _PROTOBUF_TYPES:
        return _parse_protobuf(body, said, secrets)
    if kind == _JSON_TYPE:
        return _parse_json(body, said, secrets)
    shown = quote(kind, [one.lower() for one in secrets])
    return Refused(f"{said}, but the answer is {shown}, not OTLP; {ELSEWHERE}")


def _parse_protobuf(body: bytes, said: str, secrets: Iterable[str]) -> Outcome:
    answer = ExportTraceServiceResponse()
    try:
        answer.ParseFromString(body)
    except DecodeError:
        return Refused(f"{said}, but the answer is not OTLP; {ELSEWHERE}")
    partial = answer.partial_success
    return Accepted(max(0, partial.rejected_spans), quote(partial.error_message, secrets))


def _parse_json(body: bytes, said: str, secrets: Iterable[str]) -> Outcome:
    """Some backends answer in JSON whatever was sent; an error told with a 200 must not pass."""
    not_understood = Refused(f"{said}, but the answer is JSON of another kind; {ELSEWHERE}")
    answer = _load_json(body)
    if answer is None or not answer.keys() <= _RESPONSE_KEYS:
        return not_understood
    partial = answer.get("partialSuccess", answer.get("partial_success")) or {}
    if not isinstance(partial, dict):
        return not_understood
    message = partial.get("errorMessage", partial.get("error_message")) or ""
    try:
        rejected = int(partial.get("rejectedSpans", partial.get("rejected_spans")) or 0)
    except (ValueError, TypeError, OverflowError):
        return not_understood
    return Accepted(max(0, rejected), quote(str(message), secrets))


def _status_message(body: bytes | None, kind: str) -> str | None:
    """The message of the google.rpc.Status that OTLP puts into an error's body.

    None where there is no such thing: it must be told from what a proxy on the way says.
    """
    if not body:
        return None
    if kind == _JSON_TYPE:
        answer = _load_json(body)
        if answer is None or not {"code"} <= answer.keys() <= {"code", "message", "details"}:
            return None
        return str(answer.get("message", ""))
    if not kind or kind not in _PROTOBUF_TYPES:
        return None
    status = Status()
    try:
        status.ParseFromString(body)
    except DecodeError:
        return None
    return str(status.message)


def _load_json(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _text(body: bytes | None, kind: str) -> str:
    """What an error's body says to a person; a web page says it to somebody else."""
    if not body:
        return ""
    if "html" in kind:
        return "a web page"
    if kind.startswith("text/") or kind == _JSON_TYPE:
        return body.decode(errors="replace")
    return ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _exhausted(reason: str, details: str, retry_after_s: float | None) -> Outcome:
    """Which resource: the size of a message, or the patience of the backend."""
    if retry_after_s is None and _is_about_size(details):
        if "CLIENT:" in details:
            return Refused(f"the answer is too large to be one ({reason})")
        return Invalid(reason)
    # Without RetryInfo the protocol calls it final; rate limits are told so all the same.
    return Unavailable(reason, retry_after_s)


def _is_about_size(details: str) -> bool:
    """Too large a message has no code of its own in gRPC; its libraries say it in these words."""
    text = details.lower()
    return "larger than max" in text or "exceeds maximum size" in text


def _retry_delay_s(trailers: Iterable[tuple[str, str | bytes]]) -> float | None:
    """The delay of a RetryInfo in the status details, an hour at most."""
    details = next((value for key, value in trailers if key == _DETAILS_KEY), None)
    if not isinstance(details, bytes):
        return None
    info = RetryInfo()
    try:
        found = any(one.Unpack(info) for one in Status.FromString(details).details)
    except DecodeError:
        return None
    delay_s = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
    return min(delay_s, LONGEST_WAIT_S) if found and delay_s >= 0 else None
