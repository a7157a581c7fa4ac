"""Every setting's text as a value: a table of what is taken, and of what is said to the rest."""

from pathlib import Path
from typing import Any

import pytest

from exporter.delivery.endpoint import resolve_endpoint
from exporter.errors import ConfigError
from exporter.settings.addresses import ListenAddress, is_loopback
from exporter.settings.loading import load
from exporter.settings.model import Settings
from exporter.settings.otlp import TRACES_PREFIX

TOKEN = "cdt_live_0123456789"
DAY_S = 86_400.0

URL_FORM = "allowed: http(s)://host[:port][/prefix]"
LEDGER_FORM = "allowed: sqlite:///PATH or postgresql://USER@HOST/DATABASE"
DURATION_FORM = "allowed: a number and a unit, such as 500ms, 15s, 5m, 24h or 7d"
SIZE_FORM = "allowed: a number and a unit, such as 500MB or 1GiB"
IDS_FORM = "allowed: ids, separated by commas"
RUNS_FORM = "allowed: agent_id/run_id, separated by commas"
LISTEN_FORM = "allowed: host:port, such as 0.0.0.0:10464, 127.0.0.1:10464 or [::]:10464"
LINK_FORM = "allowed: an http(s) URL that holds {trace_id}"
ATTRIBUTES_FORM = "allowed: key=value, by commas"
ALWAYS_FORM = (
    "allowed: completed, failed, escalated, escalation_and_answer, resolved, unresolved, no_op, "
    "proactive, or none"
)
CONTROL = "holds a line break or another control character; allowed: one line"
NOT_A_WORD = "holds more than one word, or characters that no token has"

GOOD: list[tuple[str, str, str, Any]] = [
    ("CONDUIT_BASE_URL", "https://api.conduit.ai", "base_url", "https://api.conduit.ai"),
    ("CONDUIT_BASE_URL", "HTTPS://API.Conduit.ai:443/", "base_url", "https://api.conduit.ai"),
    ("CONDUIT_BASE_URL", "http://[::1]:9000/eu/", "base_url", "http://[::1]:9000/eu"),
    ("CONDUIT_WORKSPACES", " ws2, ws1,,ws2 ", "workspaces", ("ws2", "ws1")),
    ("CONDUIT_AGENTS", "*", "agents", None),
    ("CONDUIT_AGENTS", "ag1,ag2", "agents", frozenset({"ag1", "ag2"})),
    ("CONDUIT_RUNS", "ag1/ar1, ag1/ar1,ag2/ar2", "runs", (("ag1", "ar1"), ("ag2", "ar2"))),
    ("CONDUIT_REQUESTS_PER_MINUTE", "0.5", "requests_per_minute", 0.5),
    ("CONDUIT_REQUESTS_PER_MINUTE", "100000", "requests_per_minute", 100_000.0),
    ("EXPORTER_POLL_INTERVAL", "500ms", "poll_interval_s", 0.5),
    ("EXPORTER_POLL_INTERVAL", "1.5m", "poll_interval_s", 90.0),
    ("EXPORTER_LOOKBACK", "0s", "lookback_s", 0.0),
    ("EXPORTER_LOOKBACK", "3650d", "lookback_s", 3650 * DAY_S),
    ("EXPORTER_RETENTION", "36h", "retention_s", 1.5 * DAY_S),
    ("EXPORTER_OUTBOX_LIMIT", "1MiB", "outbox_limit_bytes", 1 << 20),
    ("EXPORTER_OUTBOX_LIMIT", "1.5gb", "outbox_limit_bytes", 1_500_000_000),
    ("OTEL_TRACES_EXPORTER", "Console", "traces_exporter", "console"),
    ("OTEL_SERVICE_NAME", "conduit hotels", "service_name", "conduit hotels"),
    (
        "OTEL_RESOURCE_ATTRIBUTES",
        "a=1,, b%20c = d%2Ce ,a=2,service.name=x",
        "resource_attributes",
        (("a", "2"), ("b c", "d,e")),
    ),
    ("OTEL_RESOURCE_ATTRIBUTES", "service.name=front", "service_name", "front"),
    ("EXPORTER_TRACE_DETAIL", "SUMMARY", "trace_detail", "summary"),
    ("EXPORTER_TRACE_SAMPLE_RATIO", "0", "trace_sample_ratio", 0.0),
    ("EXPORTER_TRACE_SAMPLE_RATIO", ".25", "trace_sample_ratio", 0.25),
    ("EXPORTER_TRACE_ALWAYS", "None", "trace_always", frozenset()),
    ("EXPORTER_TRACE_ALWAYS", "Failed, no_op", "trace_always", frozenset({"failed", "no_op"})),
    ("EXPORTER_TOOL_TIMING", "slices", "tool_timing", "slices"),
    *(
        ("EXPORTER_CAPTURE_CONTENT", text, "capture_content", text in ("true", "Yes", "on", "1"))
        for text in ("true", "Yes", "on", "1", "FALSE", "no", "off", "0")
    ),
    ("EXPORTER_LISTEN", ":8080", "listen", ListenAddress("0.0.0.0", 8080)),
    ("EXPORTER_LISTEN", "[::1]:0", "listen", ListenAddress("::1", 0)),
    ("EXPORTER_LISTEN", "box.local:65535", "listen", ListenAddress("box.local", 65_535)),
    ("EXPORTER_WEB_CONFIG_FILE", "/etc/web.yml", "web_config_file", Path("/etc/web.yml")),
    ("EXPORTER_MAX_LABEL_VALUES", "1", "max_label_values", 1),
    ("EXPORTER_TRACE_LINK", "/t/{trace_id}", "trace_link", "/t/{trace_id}"),
    ("EXPORTER_LOG_LEVEL", "Debug", "log_level", "debug"),
    ("EXPORTER_LOG_FORMAT", "json", "log_format", "json"),
    ("EXPORTER_REPLICA", "exporter-1", "replica", "exporter-1"),
    ("EXPORTER_LEASE", "1s", "lease_s", 1.0),
]

BAD: list[tuple[str, str, str]] = [
    ("CONDUIT_API_TOKEN", "two words", NOT_A_WORD),
    ("CONDUIT_API_TOKEN", "t\u00f6ken-123", NOT_A_WORD),
    ("CONDUIT_API_TOKEN", "Bearer abcdef", 'starts with "Bearer": give the token alone'),
    ("CONDUIT_API_TOKEN_FILE", "a\nb", CONTROL),
    ("CONDUIT_BASE_URL", "api.conduit.ai", f"'api.conduit.ai' is no URL of the web; {URL_FORM}"),
    ("CONDUIT_BASE_URL", "ftp://conduit", f"'ftp://conduit' is no URL of the web; {URL_FORM}"),
    ("CONDUIT_BASE_URL", "https://", f"'https://' is no URL of the web; {URL_FORM}"),
    (
        "CONDUIT_BASE_URL",
        "https://h/v1/",
        "'https://h/v1/' ends in /v1, which the exporter adds itself; leave it out",
    ),
    (
        "CONDUIT_BASE_URL",
        "https://me:hunter2@h",
        f"holds a user or password; {URL_FORM}, the token has its own setting",
    ),
    ("CONDUIT_BASE_URL", "https://h?key=hunter2", f"holds a query or a fragment; {URL_FORM}"),
    ("CONDUIT_BASE_URL", "https://h#top", f"holds a query or a fragment; {URL_FORM}"),
    ("CONDUIT_BASE_URL", "https://a b", f"holds a character that no URL has; {URL_FORM}"),
    ("CONDUIT_BASE_URL", "https://[::1", f"is no URL; {URL_FORM}"),
    ("CONDUIT_BASE_URL", "https://h:99999", f"is no URL; {URL_FORM}"),
    ("CONDUIT_WORKSPACES", "*", "`*` is no id; leave this setting out for all"),
    ("CONDUIT_WORKSPACES", ",", f"',' names none; {IDS_FORM}"),
    ("CONDUIT_WORKSPACES", "ws/1", f"'ws/1' is no id; {IDS_FORM}"),
    ("CONDUIT_WORKSPACES", "w" * 257, f"'{'w' * 60}'... is no id; {IDS_FORM}"),
    ("CONDUIT_AGENTS", "ag 1", f"'ag 1' is no id; {IDS_FORM}"),
    (
        "CONDUIT_AGENTS",
        "ag1,*",
        "`*` stands for all agents and only alone; allowed: `*`, or agent ids",
    ),
    ("CONDUIT_RUNS", "ar1", f"'ar1' is no run; {RUNS_FORM}"),
    ("CONDUIT_RUNS", "/ar1", f"'/ar1' is no run; {RUNS_FORM}"),
    ("CONDUIT_RUNS", "a/b/c", f"'a/b/c' is no run; {RUNS_FORM}"),
    ("CONDUIT_RUNS", ",", f"',' names no run; {RUNS_FORM}"),
    *(
        (
            "CONDUIT_REQUESTS_PER_MINUTE",
            text,
            f"{text!r} is not understood as a number; allowed: any number above 0",
        )
        for text in ("many", "-1", "1e3", "nan", "9" * 21)
    ),
    ("CONDUIT_REQUESTS_PER_MINUTE", "0.0", "'0.0' is too small; allowed: any number above 0"),
    ("EXPORTER_POLL_INTERVAL", "15", f"'15' is no duration; {DURATION_FORM}"),
    ("EXPORTER_POLL_INTERVAL", "499ms", "'499ms' is too short; allowed: 500ms or longer"),
    ("EXPORTER_LOOKBACK", "-1h", f"'-1h' is no duration; {DURATION_FORM}"),
    ("EXPORTER_LOOKBACK", "3651d", "'3651d' is too long; allowed: up to 3650d"),
    (
        "EXPORTER_LEDGER",
        "ledger.db",
        f"is no URL; {LEDGER_FORM} (sqlite:////var/... for a full path)",
    ),
    (
        "EXPORTER_LEDGER",
        "sqlite://a.db",
        "needs three slashes: sqlite:///PATH, and four before a full path",
    ),
    ("EXPORTER_LEDGER", "sqlite:///", f"names no file, and a ledger must last; {LEDGER_FORM}"),
    (
        "EXPORTER_LEDGER",
        "sqlite:///:memory:",
        f"names no file, and a ledger must last; {LEDGER_FORM}",
    ),
    (
        "EXPORTER_LEDGER",
        "sqlite:///a.db?mode=ro",
        f"takes no options or control characters; {LEDGER_FORM}",
    ),
    ("EXPORTER_LEDGER", "mysql://u:pw@h/d", f"has the unknown scheme 'mysql'; {LEDGER_FORM}"),
    ("EXPORTER_LEDGER", "postgresql://u:pw@h", f"names no database; {LEDGER_FORM}"),
    ("EXPORTER_LEDGER", "postgresql://u@h:x/d", f"is no URL of PostgreSQL; {LEDGER_FORM}"),
    ("EXPORTER_RETENTION", "1w", f"'1w' is no duration; {DURATION_FORM}"),
    ("EXPORTER_OUTBOX_LIMIT", "1KB", "'1KB' is too small; allowed: 1MiB or more"),
    ("EXPORTER_OUTBOX_LIMIT", "5 GB", f"'5 GB' is no size; {SIZE_FORM}"),
    ("EXPORTER_OUTBOX_LIMIT", "5PB", f"'5PB' is no size; {SIZE_FORM}"),
    ("OTEL_TRACES_EXPORTER", "jaeger", "'jaeger' is not known; allowed: otlp, console, none"),
    ("OTEL_SERVICE_NAME", "a\x1bb", CONTROL),
    ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c", f"item 2 is not key=value; {ATTRIBUTES_FORM}"),
    ("OTEL_RESOURCE_ATTRIBUTES", "=b", f"item 1 is not key=value; {ATTRIBUTES_FORM}"),
    ("EXPORTER_TRACE_DETAIL", "half", "'half' is not known; allowed: full, summary"),
    (
        "EXPORTER_TRACE_SAMPLE_RATIO",
        "1.5",
        "'1.5' is too large; allowed: 0 to 1, such as 0.25",
    ),
    (
        "EXPORTER_TRACE_SAMPLE_RATIO",
        "50%",
        "'50%' is not understood as a number; allowed: 0 to 1, such as 0.25",
    ),
    ("EXPORTER_TRACE_ALWAYS", "failed,angry", f"'angry' is not known; {ALWAYS_FORM}"),
    ("EXPORTER_TRACE_ALWAYS", ",", f"',' names nothing; {ALWAYS_FORM}"),
    ("EXPORTER_TOOL_TIMING", "guess", "'guess' is not known; allowed: instants, slices"),
    ("EXPORTER_CAPTURE_CONTENT", "maybe", "'maybe' is neither; allowed: true or false"),
    ("EXPORTER_LISTEN", "10464", f"'10464' is no address to listen on; {LISTEN_FORM}"),
    ("EXPORTER_LISTEN", "::1:80", f"'::1:80' is no address to listen on; {LISTEN_FORM}"),
    ("EXPORTER_LISTEN", "[no]:1", f"'[no]:1' is no address to listen on; {LISTEN_FORM}"),
    ("EXPORTER_LISTEN", "http://x:1", f"'http://x:1' is no address to listen on; {LISTEN_FORM}"),
    ("EXPORTER_LISTEN", "h:65536", f"'h:65536' has a port above 65535; {LISTEN_FORM}"),
    ("EXPORTER_WEB_CONFIG_FILE", "a\x00b", CONTROL),
    ("EXPORTER_MAX_LABEL_VALUES", "0", "'0' is no count; allowed: a whole number from 1"),
    ("EXPORTER_MAX_LABEL_VALUES", "1.5", "'1.5' is no count; allowed: a whole number from 1"),
    ("EXPORTER_MAX_LABEL_VALUES", "\u00b2", "'\u00b2' is no count; allowed: a whole number from 1"),
    ("EXPORTER_TRACE_LINK", "j/{trace_id}", f"'j/{{trace_id}}' is no URL of the web; {LINK_FORM}"),
    ("EXPORTER_TRACE_LINK", "http://j/", f"'http://j/' does not hold {{trace_id}}; {LINK_FORM}"),
    (
        "EXPORTER_TRACE_LINK",
        "/{trace_id}/{span}",
        f"'/{{trace_id}}/{{span}}' holds another placeholder; {LINK_FORM}",
    ),
    ("EXPORTER_LOG_LEVEL", "loud", "'loud' is not known; allowed: debug, info, warning, error"),
    ("EXPORTER_LOG_FORMAT", "xml", "'xml' is not known; allowed: text, json"),
    ("EXPORTER_REPLICA", "a\rb", CONTROL),
    ("EXPORTER_LEASE", "900ms", "'900ms' is too short; allowed: 1s or longer"),
]


def given(name: str, text: str) -> dict[str, str]:
    """One setting, and a token where it is not about the token itself."""
    return {name: text} if name.startswith("CONDUIT_API_TOKEN") else token_and(**{name: text})


def token_and(**texts: str) -> dict[str, str]:
    return {"CONDUIT_API_TOKEN": TOKEN, **texts}


@pytest.mark.parametrize(("name", "text", "attribute", "value"), GOOD)
def test_good_values_are_taken(name: str, text: str, attribute: str, value: Any) -> None:
    """Each text becomes the typed value that the components are handed."""
    settings = load(given(name, text))
    assert getattr(settings, attribute) == value
    assert type(getattr(settings, attribute)) is type(value)


@pytest.mark.parametrize(("name", "text", "message"), BAD)
def test_bad_values_are_refused_with_what_is_allowed(name: str, text: str, message: str) -> None:
    """Each is told under its own name, in one sentence, with what is allowed."""
    with pytest.raises(ConfigError) as caught:
        load(given(name, text))
    assert caught.value.problems == [f"{name}: {message}"]


def test_every_setting_stands_in_the_tables() -> None:
    """A new setting needs a line above; OTLP's own are texts, judged by the delivery stage."""
    judged = {name for name, *_ in BAD} | {"EXPORTER_REDACT"}
    names = {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert {name for name in names if not name.startswith("OTEL_EXPORTER_OTLP_")} == judged
    untyped = {"CONDUIT_API_TOKEN", "CONDUIT_API_TOKEN_FILE", "EXPORTER_LEDGER", "EXPORTER_REDACT"}
    assert judged - {name for name, *_ in GOOD} == untyped


def test_the_defaults_are_the_documented_ones() -> None:
    """With a token and nothing else, all is set."""
    settings = load(token_and())
    assert settings.base_url == "https://api.conduit.ai"
    assert (settings.workspaces, settings.agents, settings.runs) == ((), None, ())
    assert settings.requests_per_minute == 90
    assert (settings.poll_interval_s, settings.lookback_s) == (15.0, DAY_S)
    assert settings.ledger_url.get_secret_value() == "sqlite:///conduit-exporter.db"
    assert (settings.retention_s, settings.outbox_limit_bytes) == (7 * DAY_S, 1 << 30)
    assert (settings.traces_exporter, settings.service_name) == ("otlp", "conduit")
    assert (settings.trace_detail, settings.trace_sample_ratio) == ("full", 1.0)
    assert settings.trace_always == {"failed", "escalated", "escalation_and_answer"}
    assert (settings.tool_timing, settings.capture_content) == ("instants", False)
    assert (settings.redact_patterns, settings.resource_attributes) == ((), ())
    assert (settings.listen, settings.max_label_values) == (ListenAddress("0.0.0.0", 10464), 100)
    assert (settings.web_config_file, settings.trace_link, settings.replica) == (None, None, None)
    assert (settings.log_level, settings.log_format, settings.lease_s) == ("info", "text", 15.0)
    assert settings.otlp_environment() == {}
    assert settings.conduit_server == ("api.conduit.ai", None)
    assert settings.warnings == ()


@pytest.mark.parametrize(
    "text", ["sqlite:///a.db", "sqlite:////var/lib/a b.db", "postgresql://u:pw@h:5432/d"]
)
def test_ledger_addresses_are_kept_as_typed(text: str) -> None:
    """The address is handed on unchanged, as a secret."""
    assert load(token_and(EXPORTER_LEDGER=text)).ledger_url.get_secret_value() == text


def test_patterns_are_one_a_line() -> None:
    """Empty lines and carriage returns are not part of a pattern."""
    settings = load(token_and(EXPORTER_REDACT="BK-[0-9]{6}\r\n\n  \nroom [0-9]+"))
    masked = [one.sub(lambda _: "#", "BK-123456 room 12\r") for one in settings.redact_patterns]
    assert masked == ["# room 12\r", "BK-123456 #\r"]


def test_every_bad_pattern_is_named() -> None:
    """The line, the pattern and what is wrong with it; good ones beside it are not."""
    with pytest.raises(ConfigError) as caught:
        load(token_and(EXPORTER_REDACT="fine\n(\n\x08x\nx*"))
    (problem,) = caught.value.problems
    assert problem.startswith("EXPORTER_REDACT: line 2: '(' is no regular expression")
    assert (
        "line 3: '\\x08x' holds a control character: in a file, put it into single quotes"
        in problem
    )
    assert "line 4: 'x*' matches the empty text, so it would mask everything; allowed" in problem
    assert "line 1" not in problem


def test_the_otlp_settings_stay_texts() -> None:
    """They reach the delivery stage under their names, as typed; those not given do not."""
    texts = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=abc%20def",
        f"{TRACES_PREFIX}COMPRESSION": "gzip",
        f"{TRACES_PREFIX}TIMEOUT": "2000",
    }
    settings = load(token_and(**texts), check_otlp=resolve_endpoint)
    assert settings.otlp_environment() == texts


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (ListenAddress("::1", 80), "[::1]:80"),
        (ListenAddress("0.0.0.0", 1), "0.0.0.0:1"),
    ],
)
def test_listen_addresses_are_shown_as_they_are_typed(address: ListenAddress, text: str) -> None:
    """An IPv6 address is shown in brackets."""
    assert str(address) == text


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("localhost", True),
        ("API.Localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("api.conduit.ai", False),
    ],
)
def test_loopback_is_known_by_name_and_address(host: str, near: bool) -> None:  # noqa: FBT001 - a table
    """Nothing is looked up: names of this machine, and its own addresses."""
    assert is_loopback(host) is near


@pytest.mark.parametrize(
    ("url", "warned"),
    [("http://proxy.internal:8080", True), ("http://127.0.0.1:9000", False)],
)
def test_a_token_in_the_clear_is_warned_of(url: str, warned: bool) -> None:  # noqa: FBT001 - a table
    """Plain HTTP is allowed, and said at each start where others could listen."""
    settings = load(token_and(CONDUIT_BASE_URL=url))
    expected = (
        f"CONDUIT_BASE_URL {url} has no TLS: the token travels readable by everyone on the way"
    )
    assert settings.warnings == ((expected,) if warned else ())
