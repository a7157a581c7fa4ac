"""Log records as lines on standard error: readable text, or one JSON object a line.

No caller ever waits for standard error: a thread writes the lines, and what does not fit into the
bounded queue is dropped and counted. One record never looks like two, and no line shows a secret.
"""

import contextlib
import json
import logging
import os
import queue
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Final, Literal, TextIO
from urllib.parse import quote

MASK: Final = "[secret]"

_MAX_QUEUED: Final = 2_000
_MAX_FLUSH_S: Final = 0.5
_LEVELS: Final = {"WARNING": "WARN", "CRITICAL": "FATAL"}
# They tell of every request (headers included, at debug), or of what our own lines say better.
_LIBRARY_LEVELS: Final = {
    **dict.fromkeys(("asyncio", "grpc", "httpcore", "httpx", "opentelemetry"), logging.WARNING),
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
}
# Control characters, line separators of Unicode, marks that turn the direction of text, and halves
# of characters that no stream can encode.
UNPRINTABLE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_CREDENTIALS: Final = re.compile(
    r"(?i)\b(bearer|authorization\W{1,8}basic)(\s+|%20)[\w.~+/=%-]{8,}"
)


class Redactor:
    """Masks known secrets, and whatever stands where a header has its credentials."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {
            form
            for text in secrets
            if text
            for form in (text, repr(text)[1:-1], json.dumps(text)[1:-1], quote(text, ""))
        }
        # The longest first: one secret may be the beginning of another.
        alternatives = map(re.escape, sorted(forms, key=len, reverse=True))
        self._known = re.compile("|".join(alternatives) or r"(?!)")

    def __repr__(self) -> str:
        return "Redactor()"

    def mask(self, text: str) -> str:
        return _CREDENTIALS.sub(rf"\1\2{MASK}", self._known.sub(MASK, text))


class LineFormatter(logging.Formatter):
    """`2026-11-24T01:02:03.456Z INFO  sync      message`, or the same as JSON."""

    def __init__(self, redactor: Redactor, *, style: Literal["text", "json"]) -> None:
        super().__init__()
        self._redactor = redactor
        self._as_json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a wrong placeholder must not lose the line
            message = f"{record.msg} (its values could not be filled in)"
        message = self._redactor.mask(message)
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        trace = self._redactor.mask(trace)
        moment = datetime.fromtimestamp(record.created, UTC)
        time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        logger = record.name.removeprefix("exporter.")
        if self._as_json:
            fields = {
                "time": time,
                "level": record.levelname.lower(),
                "logger": logger,
                "message": message,
            }
            return json.dumps(fields | ({"exception": trace} if trace else {}))
        level = _LEVELS.get(record.levelname, record.levelname)
        line = f"{time} {level:<5} {escape(logger):<9} {escape(message)}"
        return "\n    ".join([line, *map(escape, trace.splitlines())])


class _Writer(QueueListener):
    """Writes the queued lines, in a thread of its own that may be blocked for ever."""

    def __init__(self, lines: "queue.Queue[logging.LogRecord]", stream: TextIO) -> None:
        super().__init__(lines)
        self._stream = stream

    def handle(self, record: logging.LogRecord) -> None:
        line = f"{record.getMessage()}\n"
        # Closed, or the reader is gone: there is nowhere left to say so.
        with contextlib.suppress(OSError, ValueError):
            try:
                number = self._stream.fileno()
            except OSError:
                self._stream.write(line)
                return
            # Past the stream's buffer: a blocked write would hold its lock when Python ends.
            data = line.encode("utf-8", "backslashreplace")
            while data:
                data = data[os.write(number, data) :]


class BoundedHandler(QueueHandler):
    """Queues lines and never waits; what does not fit is dropped, and told with the next line."""

    queue: "queue.Queue[logging.LogRecord]"

    def __init__(self, formatter: logging.Formatter, stream: TextIO) -> None:
        super().__init__(queue.Queue(_MAX_QUEUED))
        self.setFormatter(formatter)
        self._dropped = 0
        self._writer = _Writer(self.queue, stream)
        self._writer.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self._dropped:
                told = f"{self._dropped} log lines were dropped: standard error took no more"
                fields = {"name": "exporter.logs", "levelname": "WARNING", "msg": told}
                self.queue.put_nowait(self.prepare(logging.makeLogRecord(fields)))
                self._dropped = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until all is written, for half a second at most."""
        with self.queue.all_tasks_done:
            self.queue.all_tasks_done.wait_for(
                lambda: not self.queue.unfinished_tasks, timeout=_MAX_FLUSH_S
            )

    def close(self) -> None:
        """End the thread once it has written what is queued; nobody waits for it."""
        with contextlib.suppress(queue.Full):
            self._writer.enqueue_sentinel()
        super().close()


def configure(
    *,
    level: Literal["debug", "info", "warning", "error"] = "info",
    style: Literal["text", "json"] = "text",
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send every logger of the process to `stream` (standard error); a second call replaces."""
    formatter = LineFormatter(Redactor(secrets), style=style)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        if isinstance(old, BoundedHandler):
            old.close()
    root.addHandler(BoundedHandler(formatter, stream or sys.stderr))
    root.setLevel(level.upper())
    # Its core writes past every logger, a line a second while it cannot connect.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for name, library_level in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(max(library_level, root.level))
    logging.captureWarnings(capture=True)


def flush() -> None:
    """Wait until the lines so far are written, for half a second at most."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def escape(text: str) -> str:
    """The text on one line, with every character that a terminal would obey written out."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
