"""The texts of all settings as written down, and one as a value where pydantic has no type.

Every parser raises ValueError with a sentence for the operator: what is wrong and what is allowed.
No text that may hold a secret is repeated; nothing but the settings file is opened. Nothing heavy
is imported: the health check reads its two settings with this module alone.
"""

import io
import ipaddress
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from exporter.convert.redaction import Pattern

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_DURATION_FORMS: Final = "a number and a unit, such as 500ms, 15s, 5m, 24h or 7d"
# Ten years: nanoseconds of it, added to a time of today, still fit into 64 bits.
_MAX_DURATION_S: Final = 3_650 * 86_400.0

_MAX_ID_CHARS: Final = 256
_NOT_IN_ID: Final = re.compile(r"[\s*/?#\"'\x00-\x1f\x7f]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_AMOUNT: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_MAX_SHOWN_CHARS: Final = 60
_LISTEN_FORMS: Final = "host:port, such as 0.0.0.0:10464, 127.0.0.1:10464 or [::]:10464"
_SQLITE: Final = "sqlite:///"


def read_texts(
    environ: Mapping[str, str], env_file: Path | None
) -> tuple[dict[str, str], list[str]]:
    """All texts by name, the environment above the file; and what is wrong with the file.

    A pair of quotes around a text is none of it. An empty text counts as not given, and in the
    environment takes back what the file says.
    """
    texts, problems = read_env_file(env_file) if env_file is not None else ({}, [])
    texts.update(environ)
    stripped = {name: unquoted(text.strip()).strip() for name, text in texts.items()}
    return {name: text for name, text in stripped.items() if text}, problems


def unquoted(text: str) -> str:
    """The text without the pair of quotes around it, which container engines leave in place.

    Several quoted lines are no such pair; whoever reads them takes the quotes off each.
    """
    quote = text[:1]
    whole = quote in ("'", '"') and len(text) > 1 and text.endswith(quote)
    return text[1:-1] if whole and f"{quote}\n" not in text[1:-1] else text


def read_env_file(path: Path) -> tuple[dict[str, str], list[str]]:
    """The texts of a settings file, and what is wrong with it; no line of it is repeated."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        return {}, [f"{path}: is not UTF-8 text"]
    except OSError as exc:
        return {}, [f"{path}: cannot be read: {exc.strerror or type(exc).__name__}"]
    # Not at the top: the health check runs every few seconds, mostly without a file. python-dotenv
    # only logs a line that it cannot read; here, where it may be half a pattern, it is an error.
    from dotenv.parser import parse_stream  # noqa: PLC0415 - the reason stands above

    texts: dict[str, str] = {}
    problems: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        source = binding.original.string
        line = binding.original.line + source[: len(source) - len(source.lstrip())].count("\n")
        if binding.error or (binding.key is not None and binding.value is None):
            problems.append(f"{path}, line {line}: is not NAME=VALUE (are the quotes closed?)")
        elif binding.key is not None and binding.value is not None:
            texts[binding.key] = binding.value
    return texts, problems


def shown(text: str) -> str:
    """A text of the operator's inside a message: quoted, one line, not endless."""
    return repr(text) if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]!r}..."


def parse_text(text: str) -> str:
    """Any text of one line."""
    if _CONTROL.search(text):
        raise ValueError("holds a line break or another control character; allowed: one line")
    return text


def parse_file(text: str) -> Path:
    """The path of a regular file that is there; it is not opened."""
    # pydantic's FilePath names no path, and lets the error of a forbidden folder through.
    path = Path(parse_text(text))
    try:
        path.stat()
    except OSError as exc:
        raise ValueError(f"{path} cannot be read: {exc.strerror or type(exc).__name__}") from None
    if not path.is_file():
        raise ValueError(f"{path} is not a regular file")
    return path


def parse_token_file(text: str) -> Path:
    """As `parse_file`; what is no full path may be the token itself, and is not repeated."""
    try:
        return parse_file(text)
    except ValueError as exc:
        problem = str(exc)
    if text in problem and not text.startswith(("/", "./", "../")):
        problem = "names no file that can be read; a token itself goes into CONDUIT_API_TOKEN"
    raise ValueError(problem)


def parse_duration_s(text: str, *, min_s: float = 0.0) -> float:
    """A duration in seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text)} is no duration; allowed: {_DURATION_FORMS}")
    seconds = float(Decimal(match[1]) * _UNITS_MS[match[2]] / 1_000)
    if seconds < min_s:
        raise ValueError(f"{shown(text)} is too short; allowed: {min_s * 1_000:g}ms or longer")
    if seconds > _MAX_DURATION_S:
        raise ValueError(f"{shown(text)} is too long; allowed: up to 3650d")
    return seconds


def parse_timezone(text: str) -> tzinfo:
    """A time zone by its name in the IANA database; `UTC` needs no database."""
    if text == "UTC":
        return UTC
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{shown(text)} is no time zone that is known here; allowed: a name such as "
            "Europe/Berlin (where every name is unknown, install the package tzdata)"
        ) from None


def parse_words(text: str, *, known: Iterable[str]) -> frozenset[str]:
    """Several of a few words; `none` alone is the empty set."""
    if text.lower() == "none":
        return frozenset()
    allowed = f"{', '.join(known)}, or none"
    words = [word.lower() for word in _listed(text, allowed)]
    if unknown := [word for word in words if word not in known]:
        raise ValueError(f"{', '.join(map(shown, unknown))} is not known; allowed: {allowed}")
    return frozenset(words)


def parse_ids(text: str) -> tuple[str, ...]:
    """Ids separated by commas, each once; the empty text is none."""
    allowed = "ids, separated by commas"
    ids = dict.fromkeys(_listed(text, allowed))
    for item in ids:
        if not _is_id(item):
            raise ValueError(f"{shown(item)} is no id; allowed: {allowed}")
    return tuple(ids)


def parse_agents(text: str) -> frozenset[str] | None:
    """Agent ids; None for `*`, all of them. The empty text is none of them."""
    return None if text == "*" else frozenset(parse_ids(text))


def parse_runs(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs of agent id and run id, each once; the empty text is none."""
    allowed = "agent_id/run_id, separated by commas"
    runs: dict[tuple[str, str], None] = {}
    for item in _listed(text, allowed):
        agent_id, _, run_id = item.partition("/")
        if not _is_id(agent_id) or not _is_id(run_id):
            raise ValueError(f"{shown(item)} is no run; allowed: {allowed}")
        runs[agent_id, run_id] = None
    return tuple(runs)


def parse_budget_usd(text: str) -> Mapping[str, Decimal]:
    """Dollars by workspace id; one amount alone is each workspace's, under the empty id."""
    allowed = "workspace_id=amount, separated by commas, or one amount such as 250.00"
    budget: dict[str, Decimal] = {}
    for item in _listed(text, allowed):
        workspace_id, equals, amount = (part.strip() for part in item.rpartition("="))
        if _AMOUNT.fullmatch(amount) is None or bool(equals) != _is_id(workspace_id):
            raise ValueError(f"{shown(item)} is no budget; allowed: {allowed}")
        if workspace_id in budget:
            raise ValueError(f"{shown(item)} is a second amount for the same; allowed: {allowed}")
        budget[workspace_id] = Decimal(amount)
    if "" in budget and len(budget) > 1:
        raise ValueError(f"{shown(text)} is no budget; allowed: {allowed}")
    return budget


def parse_patterns(text: str) -> "tuple[Pattern, ...]":
    """Regular expressions in RE2's syntax, one a line; every bad line is named."""
    patterns: list[Pattern] = []
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        source = unquoted(line.removesuffix("\r"))
        if not source.strip():
            continue
        try:
            patterns.append(_pattern(source))
        except ValueError as exc:
            problems.append(f"line {number}: {shown(source)} {exc}")
    if problems:
        raise ValueError(f"{'; '.join(problems)}; allowed: regular expressions of RE2, one a line")
    return tuple(patterns)


def parse_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """`key=value,...` as OpenTelemetry writes it, percent-encoded; the last of a key wins.

    A pair of quotes around a value is none of it.
    """
    pairs: dict[str, str] = {}
    for number, item in enumerate(text.split(","), start=1):
        if not item.strip():
            continue
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"item {number} is not key=value; allowed: key=value, by commas")
        pairs[unquote(key).strip()] = unquote(unquoted(value.strip()))
    return tuple(pairs.items())


class ListenAddress(NamedTuple):
    """Where the web server listens; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> ListenAddress:
    """`host:port`, `[IPv6]:port`, or `:port` for every address of the machine."""
    try:
        url = urlsplit(f"//{text}")
        port = url.port
    except ValueError:
        port = None
    if port is None or url.netloc != text or "@" in text:
        raise ValueError(f"{shown(text)} is no address to listen on; allowed: {_LISTEN_FORMS}")
    return ListenAddress(url.hostname or "0.0.0.0", port)  # noqa: S104 - `:port` asks for just that


def parse_ledger_path(text: str) -> Path:
    """The file of `sqlite:///PATH`."""
    path = parse_text(text).removeprefix(_SQLITE)
    if path in (text, "", ":memory:") or "?" in path:
        raise ValueError(
            "is no file's address; allowed: sqlite:///PATH, with a fourth slash before a full path"
        )
    return Path(path)


def parse_trace_link(text: str) -> str:
    """The address of a trace's page, `{trace_id}` standing for the id."""
    rest = text.replace("{trace_id}", "")
    of_the_web = text.startswith(("http://", "https://", "/")) and not re.search(
        r"[\s<>\"\\]", parse_text(text)
    )
    if not of_the_web or rest == text or "{" in rest or "}" in rest:
        raise ValueError(
            f"{shown(text)} is no link to a trace; allowed: an http(s) URL that holds {{trace_id}}"
        )
    return text


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this very machine."""
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listed(text: str, allowed: str) -> list[str]:
    """The items between the commas; commas alone are a mistake."""
    items = [item for part in text.split(",") if (item := part.strip())]
    if text and not items:
        raise ValueError(f"{shown(text)} names nothing; allowed: {allowed}")
    return items


def _is_id(text: str) -> bool:
    return 0 < len(text) <= _MAX_ID_CHARS and _NOT_IN_ID.search(text) is None


def _pattern(source: str) -> "Pattern":
    # Not at the top: few set a pattern, and only they pay for the library.
    import re2  # noqa: PLC0415 - the reason stands above

    if _CONTROL.search(source.replace("\t", "")):
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
