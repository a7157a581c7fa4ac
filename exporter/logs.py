"""How log records become lines on standard error: readable text, or one JSON object a line.

One record can never look like two, whatever a name from outside holds, and no line shows a secret:
the code keeps tokens out of its messages, and the formatters mask them once more. It decides
nothing about what is logged.
"""

import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO
from urllib.parse import quote

MASK: Final = "[secret]"

_OURS: Final = "exporter"
_LEVELS: Final = {
    "DEBUG": "DEBUG",
    "INFO": "INFO",
    "WARNING": "WARN",
    "ERROR": "ERROR",
    "CRITICAL": "FATAL",
}
# They tell of every request (headers included, at debug), or of what our own lines say better.
_CHATTY: Final = {
    "alembic": logging.WARNING,
    "asyncio": logging.WARNING,
    "grpc": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "opentelemetry": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
    "uvicorn": logging.WARNING,
}
_STANDARD_FIELDS: Final = frozenset(
    (*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime", "taskName")
)
_JSON_FIELDS: Final = frozenset(("time", "level", "logger", "message", "exception"))

# Control characters, line separators of Unicode, marks that turn the direction of text, and halves
# of characters that no stream can encode.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_BARE: Final = re.compile(r"[^\s\"'=\\]+")
_BEARER: Final = re.compile(r"(?i)\b(bearer|authorization\W{1,8}basic)(\s+|%20)[\w.~+/=%-]{8,}")
_INDENT: Final = "    "


class Redactor:
    """Masks known secrets, and whatever stands where a header has its credentials."""

    __slots__ = ("_known",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {
            form
            for secret in secrets
            if secret
            for spelled in (secret, repr(secret)[1:-1], quote(secret, ""))
            for form in (
                spelled,
                json.dumps(spelled)[1:-1],
                json.dumps(spelled, ensure_ascii=False)[1:-1],
            )
        }
        # The longest first: one secret may be the beginning of another.
        longest_first = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def __repr__(self) -> str:
        return "Redactor()"

    def mask(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return _BEARER.sub(rf"\1\2{MASK}", text)


class TextFormatter(logging.Formatter):
    """`2026-11-24T01:02:03.456Z INFO  sync      message key=value`; tracebacks follow, indented."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        level = _LEVELS.get(record.levelname, record.levelname)
        name = escape(_short_name(record))
        parts = [f"{_time_of(record)} {level:<5} {name:<9} {escape(_message_of(record))}"]
        parts += [
            f"{escape(key)}={_bare_or_quoted(value)}" for key, value in _extra_of(record).items()
        ]
        lines = [" ".join(parts)]
        lines += [_INDENT + escape(line) for line in _trace_of(self, record).splitlines()]
        return self._redactor.mask("\n".join(lines))


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, the record's own fields, exception."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": _short_name(record),
            "message": _message_of(record),
        }
        for key, value in _extra_of(record).items():
            line[f"{key}_" if key in _JSON_FIELDS else key] = value
        if trace := _trace_of(self, record):
            line["exception"] = trace
        try:
            text = json.dumps(line, default=_text_of, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            text = json.dumps({key: _text_of(value) for key, value in line.items()})
        return self._redactor.mask(text)


def configure(
    *,
    level: Literal["debug", "info", "warning", "error"] = "info",
    style: Literal["text", "json"] = "text",
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send every logger of the process to `stream` (standard error); a second call replaces."""
    redactor = Redactor(secrets)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(redactor) if style == "json" else TextFormatter(redactor))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    chosen = root.level
    for name, least in _CHATTY.items():
        logger = logging.getLogger(name)
        logger.setLevel(max(least, chosen))
        logger.propagate = True
        logger.handlers.clear()
    logging.captureWarnings(capture=True)


def escape(text: str) -> str:
    """The text on one line, with every character that a terminal would obey written out."""
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")


def _time_of(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _short_name(record: logging.LogRecord) -> str:
    return record.name.removeprefix(f"{_OURS}.")


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a wrong placeholder or a broken repr must not lose the line
        return f"{_text_of(record.msg)} (its values could not be filled in)"


def _extra_of(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}


def _trace_of(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


def _text_of(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a broken __str__ must not lose the line
        return f"<{type(value).__name__}>"


def _bare_or_quoted(value: Any) -> str:
    text = _text_of(value)
    if _BARE.fullmatch(text):
        return escape(text)
    # The quotes and backslashes by JSON's rules, but other alphabets left readable.
    return escape(json.dumps(text, ensure_ascii=False))
