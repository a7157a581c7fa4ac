"""Log records and quotes as lines: nobody waits, none looks like two, none shows a secret."""

import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from exporter import logs
from exporter.errors import quote
from exporter.logs import MASK, LineFormatter, Redactor, escape

ROOT = Path(__file__).parent.parent

# CR, LF, NUL, a terminal code, C1, line separators, marks that turn the line, half a character.
HOSTILE = "a\r\nb\x00\x1b[31mc\x85\u2028\u2029\u202e\u2066\u200f\u061c\ufeff\udc80d"
ESCAPED = r"a\r\nb\x00\x1b[31mc\x85\u2028\u2029\u202e\u2066\u200f\u061c\ufeff\udc80d"
SECRET = "cdt_live_hunter2"
PASSWORD = 'p\u00e4ss"word\\hunter2'
WHEN = "2026-11-24T01:02:03.456Z"
WHEN_S = 1_795_482_123.4567


def record(message: object, *values: object, **over: Any) -> logging.LogRecord:
    """A record of `exporter.sync` at WHEN; `over` sets fields of it."""
    made = logging.LogRecord("exporter.sync", logging.INFO, "sync.py", 1, message, values, None)
    made.created = WHEN_S
    for name, value in over.items():
        setattr(made, name, value)
    return made


def text(made: logging.LogRecord, *secrets: str) -> str:
    return LineFormatter(Redactor(secrets), style="text").format(made)


def parsed(made: logging.LogRecord, *secrets: str) -> dict[str, Any]:
    """The record as JSON, which is one line of ASCII and valid in every reader's eyes."""
    line = LineFormatter(Redactor(secrets), style="json").format(made)
    assert line.isascii()
    assert line.isprintable()

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    value: dict[str, Any] = json.loads(line, parse_constant=refuse)
    return value


def raised(error: Exception) -> object:
    """What a record holds of an exception that was caught."""
    try:
        raise error
    except type(error):
        return sys.exc_info()


def test_a_line_is_time_level_logger_and_message() -> None:
    """Columns to read down, or one JSON object; what a library attaches besides is left out."""
    made = record("read %d runs", 20, color_message="\x1b[1mread")
    assert text(made) == f"{WHEN} INFO  sync      read 20 runs"
    assert parsed(made) == {
        "time": WHEN,
        "level": "info",
        "logger": "sync",
        "message": "read 20 runs",
    }


def test_one_record_is_one_line_whatever_it_holds() -> None:
    """In the message, in values and in the logger's name: all is written out."""
    made = record(f"{HOSTILE} %s", HOSTILE, name=f"exporter.{HOSTILE}")
    line = text(made)
    assert line.splitlines() == [line]
    assert line.count(ESCAPED) == 3
    assert parsed(made)["message"] == f"{HOSTILE} {HOSTILE}"
    assert escape("Z\u00fcrich \u6771\u4eac") == "Z\u00fcrich \u6771\u4eac"


def test_tracebacks_follow_indented() -> None:
    """No line of one begins like a record; in JSON they are a field."""
    failure = raised(ValueError(f"broken\n{WHEN} ERROR sync forged\r{HOSTILE}"))
    made = record("failed", exc_info=failure)
    first, *rest = text(made).split("\n")
    assert first == f"{WHEN} INFO  sync      failed"
    assert len(rest) >= 4
    assert all(line.startswith("    ") for line in rest)
    assert any("ValueError: broken" in line for line in rest)
    assert "\x1b" not in text(made)
    assert parsed(made)["exception"].startswith("Traceback (most recent call last):")


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        f"https://h/?token={SECRET}&x=1",
        {"token": SECRET},
        PASSWORD,
        {"password": PASSWORD},
        "p%C3%A4ss%22word%5Chunter2",
    ],
)
def test_known_secrets_are_masked_in_every_spelling(shown: object) -> None:
    """As they are, quoted by Python or JSON, percent-encoded: in messages and tracebacks."""
    failure = raised(ValueError(shown))
    made = record("sent %s and %r", shown, shown, exc_info=failure)
    for line in (text(made, SECRET, PASSWORD), json.dumps(parsed(made, SECRET, PASSWORD))):
        assert "hunter2" not in line
        assert line.count(MASK) >= 3


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("Authorization: Bearer abcdef.123-456", f"Authorization: Bearer {MASK}"),
        ("{'authorization': 'bearer  abcdefgh'}", f"{{'authorization': 'bearer  {MASK}'}}"),
        ("authorization=Bearer%20abcdefgh,x=1", f"authorization=Bearer%20{MASK},x=1"),
        ('"Authorization": "Basic dXNlcjpwYXNz"', f'"Authorization": "Basic {MASK}"'),
        ("the basic authorization of a bearer", "the basic authorization of a bearer"),
    ],
)
def test_credentials_of_headers_are_masked_unknown_as_they_are(line: str, masked: str) -> None:
    """Whatever stands where a header has its credentials is taken for a secret."""
    assert Redactor().mask(line) == masked
    assert parsed(record(line))["message"] == masked


def test_secrets_are_masked_whole_and_shown_by_nobody() -> None:
    """One secret may be the beginning of another, and an empty one masks nothing."""
    redactor = Redactor(["abcdef", "abcdef123", ""])
    assert redactor.mask("abcdef123 abcdef x") == f"{MASK} {MASK} x"
    assert "abcdef" not in repr(redactor)


def written(stream: io.StringIO) -> list[str]:
    """The lines so far."""
    logs.flush()
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_whole_process_logs_one_way(style: Literal["text", "json"]) -> None:
    """Every logger goes to the one stream; a second call replaces the first."""
    first, stream = io.StringIO(), io.StringIO()
    logs.configure(style=style, stream=first)
    logs.configure(style=style, stream=stream, secrets=[SECRET])
    logging.getLogger("exporter.sync").info("read %s", SECRET)
    logging.getLogger("asyncio").warning("from elsewhere")
    lines = written(stream)
    assert first.getvalue() == ""
    assert len(lines) == 2
    assert MASK in lines[0]
    if style == "json":
        assert [json.loads(line)["logger"] for line in lines] == ["sync", "asyncio"]


def test_the_level_decides_and_libraries_stay_quiet() -> None:
    """At debug our own lines appear, but none of a library that would tell of every request."""
    stream = io.StringIO()
    logs.configure(level="debug", stream=stream)
    logging.getLogger("exporter.sync").debug("ours")
    logging.getLogger("httpx").info("HTTP Request: GET ...")
    logging.getLogger("httpcore.connection").debug("send_request_headers")
    assert [line.split()[-1] for line in written(stream)] == ["ours"]
    logs.configure(level="error", stream=stream)
    logging.getLogger("exporter.sync").warning("left out")
    logging.getLogger("httpx").warning("left out")
    assert len(written(stream)) == 1


_TALKATIVE = """
import logging, sys
from exporter import logs
logs.configure()
logger = logging.getLogger("exporter.app")
for number in range(5_000):
    logger.info("line %05d %s", number, "x" * 100)
print("not blocked", flush=True)
sys.stdin.readline()
logs.flush()
logger.info("after")
logs.flush()
"""


def test_a_full_pipe_as_standard_error_blocks_nothing() -> None:
    """The process goes on; what did not fit is counted, and told once it is read."""
    with subprocess.Popen(
        [sys.executable, "-c", _TALKATIVE],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "not blocked\n"
        _, told = process.communicate("read\n", timeout=60)
    kept = len(re.findall(r" INFO  app       line \d{5} ", told))
    dropped = re.findall(r" WARN  logs      (\d+) log lines were dropped: ", told)
    assert kept + sum(map(int, dropped)) == 5_000 > kept
    assert told.endswith(" INFO  app       after\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  a\r\n b\t", "a b"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "..."),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202egnp", r"\u202egnp"),
        ("b\ud800", r"b\ud800"),
        ("Übergröße", "Übergröße"),
        ("a" * 65_536, "a" * 200 + "..."),
    ],
)
def test_foreign_text_is_one_short_printable_line(text: str, shown: str) -> None:
    """Nothing in it can write a line of its own or turn the terminal red."""
    assert quote(text) == shown


def test_a_quote_holds_no_secret_and_no_piece_of_one() -> None:
    """Secrets go before anything is cut."""
    assert quote("bad token tok_secret!", ["tok_secret"]) == "bad token [hidden]!"
    assert "tok" not in quote("x" * 196 + "tok_secret", ["tok_secret"])
