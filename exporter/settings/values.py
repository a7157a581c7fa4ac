"""The text of one setting as its typed value; `addresses` has those of hosts and URLs.

Every parser takes the text as the operator typed it and raises ValueError with a sentence for them:
what is wrong, and what is allowed. A text that may hold a secret is never quoted. No I/O, and no
heavy import: the quick commands use these parsers alone.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from exporter.convert.redaction import Pattern

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_DURATION_FORMS: Final = "a number and a unit, such as 500ms, 15s, 5m, 24h or 7d"
# Ten years: nanoseconds of it, added to a time of today, still fit into 64 bits.
_LONGEST_S: Final = 3_650 * 86_400.0

_UNITS_BYTES: Final = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]+)")
_SIZE_FORMS: Final = "a number and a unit, such as 500MB or 1GiB"

_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_LONGEST_NUMBER: Final = 20

_LONGEST_ID: Final = 256
_NOT_IN_ID: Final = re.compile(r"[\s/?#\x00-\x1f\x7f]")
CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

_SWITCHES: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_QUOTED_AT_MOST: Final = 60


def quoted(text: str) -> str:
    """A text of the operator's inside a message: one line, printable, not endless."""
    if len(text) > _QUOTED_AT_MOST:
        return f"{text[:_QUOTED_AT_MOST]!r}..."
    return repr(text)


def parse_text(text: str) -> str:
    """Any text of one line."""
    if CONTROL.search(text) or "\n" in text:
        raise ValueError("holds a line break or another control character; allowed: one line")
    return text


def parse_path(text: str) -> Path:
    """The path of a file, which is not looked at yet."""
    return Path(parse_text(text))


def parse_duration_s(text: str, *, least_s: float = 0.0) -> float:
    """A duration in seconds."""
    match = _DURATION.fullmatch(text)
    if match is None or len(text) > _LONGEST_NUMBER:
        raise ValueError(f"{quoted(text)} is no duration; allowed: {_DURATION_FORMS}")
    seconds = float(Decimal(match[1]) * _UNITS_MS[match[2]] / 1_000)
    if seconds < least_s:
        least = f"{least_s:g}s" if least_s >= 1 else f"{least_s * 1_000:g}ms"
        raise ValueError(f"{quoted(text)} is too short; allowed: {least} or longer")
    if seconds > _LONGEST_S:
        raise ValueError(f"{quoted(text)} is too long; allowed: up to 3650d")
    return seconds


def parse_size_bytes(text: str, *, least: int = 0) -> int:
    """A size in bytes; kB, MB, GB count in thousands, KiB, MiB, GiB in 1,024s."""
    match = _SIZE.fullmatch(text)
    if match is None or len(text) > _LONGEST_NUMBER or match[2].lower() not in _UNITS_BYTES:
        raise ValueError(f"{quoted(text)} is no size; allowed: {_SIZE_FORMS}")
    size = int(Decimal(match[1]) * _UNITS_BYTES[match[2].lower()])
    if size < least:
        raise ValueError(f"{quoted(text)} is too small; allowed: {least >> 20}MiB or more")
    return size


def parse_number(text: str) -> Decimal:
    """A number of no sign and no exponent."""
    if _NUMBER.fullmatch(text) is None or len(text) > _LONGEST_NUMBER:
        raise ValueError(f"{quoted(text)} is not understood as a number")
    return Decimal(text)


def parse_rate(text: str) -> float:
    """A number above zero."""
    try:
        rate = float(parse_number(text))
    except ValueError as exc:
        raise ValueError(f"{exc}; allowed: any number above 0") from None
    if rate <= 0:
        raise ValueError(f"{quoted(text)} is too small; allowed: any number above 0")
    return rate


def parse_ratio(text: str) -> float:
    """A share between none (0) and all (1)."""
    try:
        ratio = float(parse_number(text))
    except ValueError as exc:
        raise ValueError(f"{exc}; allowed: 0 to 1, such as 0.25") from None
    if ratio > 1:
        raise ValueError(f"{quoted(text)} is too large; allowed: 0 to 1, such as 0.25")
    return ratio


def parse_count(text: str) -> int:
    """A whole number from 1."""
    if not (text.isascii() and text.isdigit()) or len(text) > _LONGEST_NUMBER or int(text) == 0:
        raise ValueError(f"{quoted(text)} is no count; allowed: a whole number from 1")
    return int(text)


def parse_switch(text: str) -> bool:
    """On or off."""
    switch = _SWITCHES.get(text.lower())
    if switch is None:
        raise ValueError(f"{quoted(text)} is neither; allowed: true or false")
    return switch


def parse_choice(text: str, *, choices: Iterable[str]) -> str:
    """One of a few words, in any case."""
    if text.lower() not in choices:
        raise ValueError(f"{quoted(text)} is not known; allowed: {', '.join(choices)}")
    return text.lower()


def parse_words(text: str, *, known: Iterable[str]) -> frozenset[str]:
    """Several of a few words; `none` alone is the empty set."""
    if text.lower() == "none":
        return frozenset()
    words = [word.lower() for word in _listed(text)]
    allowed = f"{', '.join(known)}, or none"
    if unknown := [word for word in words if word not in known]:
        raise ValueError(f"{', '.join(map(quoted, unknown))} is not known; allowed: {allowed}")
    if not words:
        raise ValueError(f"{quoted(text)} names nothing; allowed: {allowed}")
    return frozenset(words)


def parse_ids(text: str) -> tuple[str, ...]:
    """Ids separated by commas, each once."""
    if "*" in text:
        raise ValueError("`*` is no id; leave this setting out for all")
    return _ids(text)


def parse_agents(text: str) -> frozenset[str] | None:
    """Agent ids; None for `*`, all of them. The empty text is none of them."""
    if text == "*":
        return None
    if "*" in text:
        raise ValueError("`*` stands for all agents and only alone; allowed: `*`, or agent ids")
    return frozenset(_ids(text)) if text else frozenset()


def parse_runs(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs of agent id and run id, each once."""
    allowed = "agent_id/run_id, separated by commas"
    runs: dict[tuple[str, str], None] = {}
    for item in _listed(text):
        agent_id, slash, run_id = item.partition("/")
        if not slash or not _is_id(agent_id) or not _is_id(run_id):
            raise ValueError(f"{quoted(item)} is no run; allowed: {allowed}")
        runs[agent_id, run_id] = None
    if not runs:
        raise ValueError(f"{quoted(text)} names no run; allowed: {allowed}")
    return tuple(runs)


def parse_patterns(text: str) -> tuple[Pattern, ...]:
    """Regular expressions in RE2's syntax, one a line; every bad line is named."""
    patterns: list[Pattern] = []
    flaws: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        source = line.rstrip("\r")
        if not source.strip():
            continue
        try:
            patterns.append(_pattern(source))
        except ValueError as exc:
            flaws.append(f"line {number}: {quoted(source)} {exc}")
    if flaws:
        raise ValueError(f"{'; '.join(flaws)}; allowed: regular expressions of RE2, one a line")
    return tuple(patterns)


def parse_resource_attributes(text: str) -> tuple[tuple[str, str], ...]:
    """OTEL_RESOURCE_ATTRIBUTES: `key=value,...`, percent-encoded; the last of a key wins."""
    attributes: dict[str, str] = {}
    for number, item in enumerate(text.split(","), start=1):
        if not item.strip():
            continue
        key, equals, value = item.partition("=")
        name = unquote(key.strip())
        if not equals or not name:
            raise ValueError(f"item {number} is not key=value; allowed: key=value, by commas")
        attributes[name] = unquote(value.strip())
    return tuple(attributes.items())


def _listed(text: str) -> list[str]:
    return [item for part in text.split(",") if (item := part.strip())]


def _ids(text: str) -> tuple[str, ...]:
    ids = dict.fromkeys(_listed(text))
    for item in ids:
        if not _is_id(item):
            raise ValueError(f"{quoted(item)} is no id; allowed: ids, separated by commas")
    if not ids:
        raise ValueError(f"{quoted(text)} names none; allowed: ids, separated by commas")
    return tuple(ids)


def _is_id(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_ID and _NOT_IN_ID.search(text) is None


def _pattern(source: str) -> Pattern:
    # Not at the top: few set a pattern, and only they pay for the library.
    import re2  # noqa: PLC0415 - the reason stands above

    if CONTROL.search(source):
        # Inside double quotes an env file turns \b into a backspace.
        raise ValueError("holds a control character: in a file, put it into single quotes")
    options = re2.Options()
    options.log_errors = False
    try:
        pattern: Pattern = re2.compile(source, options)
    except re2.error as exc:
        said = exc.args[0] if exc.args else b""
        reason = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"is no regular expression of RE2: {reason}") from None
    if pattern.match("") is not None:
        raise ValueError("matches the empty text, so it would mask everything")
    return pattern
