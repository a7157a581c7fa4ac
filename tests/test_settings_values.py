"""Every setting's text as a value: a table of what is taken, and of what is said to the rest."""

from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exporter.errors import ConfigError
from exporter.settings.addresses import ListenAddress, is_loopback
from exporter.settings.loading import load, names_of
from exporter.settings.model import Settings

TOKEN = "cdt_live_0123456789"
DAY_S = 86_400.0
ENV = Path("/usr/bin/env")

DURATION = "allowed: a number and a unit, such as 500ms, 15s, 5m, 24h or 7d"
IDS = "allowed: ids, separated by commas"
RUNS = "allowed: agent_id/run_id, separated by commas"
LISTEN = "allowed: host:port, such as 0.0.0.0:10464, 127.0.0.1:10464 or [::]:10464"
LEDGER = "allowed: sqlite:///PATH, with a fourth slash before a full path"
LINK = "is no link to a trace; allowed: an http(s) URL that holds {trace_id}"
BUDGET = (
    "is no budget; allowed: workspace_id=amount, separated by commas, or one amount such as 250.00"
)
ALWAYS = (
    "allowed: completed, failed, escalated, escalation_and_answer, resolved, unresolved, no_op, "
    "proactive, or none"
)
ZONE = (
    "is no time zone that is known here; allowed: a name such as Europe/Berlin "
    "(where every name is unknown, install the package tzdata)"
)
CONTROL = "holds a line break or another control character; allowed: one line"
NOT_A_WORD = "holds more than one word, or characters that no token has"
NO_BOOLEAN = "input should be a valid boolean, unable to interpret input; such as false"
NO_FILE = "/absent cannot be read: No such file or directory"

GOOD: list[tuple[str, str, str, Any]] = [
    ("CONDUIT_API_TOKEN_FILE", str(ENV), "api_token_file", ENV),
    ("CONDUIT_BASE_URL", "https://api.conduit.ai", "base_url", "https://api.conduit.ai"),
    ("CONDUIT_BASE_URL", "HTTPS://API.Conduit.ai:443/", "base_url", "https://api.conduit.ai"),
    ("CONDUIT_BASE_URL", "http://[::1]:9000/eu/", "base_url", "http://[::1]:9000/eu"),
    ("CONDUIT_CA_FILE", str(ENV), "ca_file", ENV),
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
    ("EXPORTER_TOTAL_SHARDS", "3", "total_shards", 3),
    ("EXPORTER_LEDGER", "sqlite:////var/a b.db", "ledger_path", Path("/var/a b.db")),
    ("EXPORTER_LEDGER", "sqlite:///a.db", "ledger_path", Path("a.db")),
    ("EXPORTER_RETENTION", "36h", "retention_s", 1.5 * DAY_S),
    ("EXPORTER_OUTBOX_LIMIT", "1MiB", "outbox_limit_bytes", 1 << 20),
    ("EXPORTER_OUTBOX_LIMIT", "1.5gb", "outbox_limit_bytes", 1_500_000_000),
    ("OTEL_SDK_DISABLED", "True", "traces_exporter", "none"),
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
    ("EXPORTER_CAPTURE_CONTENT", "Yes", "capture_content", True),
    ("EXPORTER_CAPTURE_CONTENT", "0", "capture_content", False),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC", "otlp_protocol", "grpc"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000", "otlp_timeout_ms", 2000),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "otlp_compression", "gzip"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", str(ENV), "otlp_certificate", ENV),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(ENV), "otlp_client_key", ENV),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(ENV), "otlp_client_certificate", ENV),
    ("OTEL_EXPORTER_OTLP_INSECURE", "TRUE", "otlp_insecure", True),
    ("EXPORTER_LISTEN", ":8080", "listen", ListenAddress("0.0.0.0", 8080)),
    ("EXPORTER_LISTEN", "[::1]:0", "listen", ListenAddress("::1", 0)),
    ("EXPORTER_LISTEN", "box.local:65535", "listen", ListenAddress("box.local", 65_535)),
    ("EXPORTER_WEB_CONFIG_FILE", str(ENV), "web_config_file", ENV),
    ("EXPORTER_MAX_LABEL_VALUES", "1", "max_label_values", 1),
    ("EXPORTER_MONTHLY_BUDGET_USD", "250.50", "monthly_budget_usd", {"": Decimal("250.50")}),
    (
        "EXPORTER_MONTHLY_BUDGET_USD",
        "ws1=500, ws2 = 0.000001",
        "monthly_budget_usd",
        {"ws1": Decimal(500), "ws2": Decimal("0.000001")},
    ),
    ("EXPORTER_TIMEZONE", "Europe/Berlin", "timezone", ZoneInfo("Europe/Berlin")),
    ("EXPORTER_TRACE_LINK", "/t/{trace_id}", "trace_link", "/t/{trace_id}"),
    ("EXPORTER_LOG_LEVEL", "Debug", "log_level", "debug"),
    ("EXPORTER_LOG_FORMAT", "json", "log_format", "json"),
]

BAD: list[tuple[str, str, str]] = [
    ("CONDUIT_API_TOKEN", "two words", NOT_A_WORD),
    ("CONDUIT_API_TOKEN", "t\u00f6ken-123", NOT_A_WORD),
    ("CONDUIT_API_TOKEN", "Bearer abcdef", 'starts with "Bearer": give the token alone'),
    ("CONDUIT_API_TOKEN_FILE", "a\nb", CONTROL),
    ("CONDUIT_API_TOKEN_FILE", "/absent", NO_FILE),
    ("CONDUIT_API_TOKEN_FILE", "/dev/null", "/dev/null is not a regular file"),
    ("CONDUIT_API_TOKEN_FILE", "/" + "x" * 300, f"/{'x' * 300} cannot be read: File name too long"),
    (
        "CONDUIT_BASE_URL",
        "api.conduit.ai",
        "Input should be a valid URL, relative URL without a base; allowed: http(s)://host[:port]",
    ),
    (
        "CONDUIT_BASE_URL",
        "ftp://conduit",
        "URL scheme should be 'http' or 'https'; allowed: http(s)://host[:port]",
    ),
    (
        "CONDUIT_BASE_URL",
        "https://h/v1/",
        "'https://h/v1' ends in /v1, which the exporter adds itself",
    ),
    (
        "CONDUIT_BASE_URL",
        "https://me:hunter2@h",
        "holds a user or password; the token has a setting of its own",
    ),
    *(
        (
            "CONDUIT_BASE_URL",
            f"https://h{rest}",
            "holds a query or a fragment; allowed: http(s)://host[:port][/prefix]",
        )
        for rest in ("?key=hunter2", "#top")
    ),
    (
        "CONDUIT_PROXY",
        "socks5://me:hunter2@proxy",
        "URL scheme should be 'http' or 'https'; allowed: http(s)://host[:port]",
    ),
    (
        "CONDUIT_PROXY",
        "proxy:3128",
        "URL scheme should be 'http' or 'https'; allowed: http(s)://host[:port]",
    ),
    ("CONDUIT_CA_FILE", "/absent", NO_FILE),
    ("CONDUIT_WORKSPACES", "*", "`*` is no id; leave this setting out for all"),
    ("CONDUIT_WORKSPACES", ",", f"',' names none; {IDS}"),
    ("CONDUIT_WORKSPACES", "ws/1", f"'ws/1' is no id; {IDS}"),
    ("CONDUIT_WORKSPACES", "'ws1','ws2", f"\"'ws1'\" is no id; {IDS}"),
    ("CONDUIT_WORKSPACES", "w" * 257, f"'{'w' * 60}'... is no id; {IDS}"),
    ("CONDUIT_AGENTS", "ag 1", f"'ag 1' is no id; {IDS}"),
    (
        "CONDUIT_AGENTS",
        "ag1,*",
        "`*` stands for all agents and only alone; allowed: `*`, or agent ids",
    ),
    ("CONDUIT_RUNS", "ar1", f"'ar1' is no run; {RUNS}"),
    ("CONDUIT_RUNS", "/ar1", f"'/ar1' is no run; {RUNS}"),
    ("CONDUIT_RUNS", "a/b/c", f"'a/b/c' is no run; {RUNS}"),
    ("CONDUIT_RUNS", ",", f"',' names no run; {RUNS}"),
    (
        "CONDUIT_REQUESTS_PER_MINUTE",
        "many",
        "input should be a valid number, unable to parse string as a number; such as 90",
    ),
    *(
        ("CONDUIT_REQUESTS_PER_MINUTE", text, "input should be greater than 0; such as 90")
        for text in ("0.0", "-1")
    ),
    *(
        ("CONDUIT_REQUESTS_PER_MINUTE", text, "input should be a finite number; such as 90")
        for text in ("nan", "inf", "1e999")
    ),
    ("EXPORTER_POLL_INTERVAL", "15", f"'15' is no duration; {DURATION}"),
    ("EXPORTER_POLL_INTERVAL", "499ms", "'499ms' is too short; allowed: 500ms or longer"),
    ("EXPORTER_LOOKBACK", "-1h", f"'-1h' is no duration; {DURATION}"),
    ("EXPORTER_LOOKBACK", "3651d", "'3651d' is too long; allowed: up to 3650d"),
    ("EXPORTER_SHARD", "1", "is 1, but EXPORTER_TOTAL_SHARDS is 1; the first is 0"),
    ("EXPORTER_SHARD", "-1", "input should be greater than or equal to 0; such as 0"),
    ("EXPORTER_TOTAL_SHARDS", "0", "input should be greater than 0; such as 1"),
    ("EXPORTER_LEDGER", "ledger.db", f"is no ledger's address; {LEDGER}"),
    ("EXPORTER_LEDGER", "sqlite://a.db", f"is no ledger's address; {LEDGER}"),
    ("EXPORTER_LEDGER", "mysql://u:hunter2@h/d", f"is no ledger's address; {LEDGER}"),
    ("EXPORTER_LEDGER", "sqlite:///", f"names no file, and a ledger must last; {LEDGER}"),
    ("EXPORTER_LEDGER", "sqlite:///:memory:", f"names no file, and a ledger must last; {LEDGER}"),
    ("EXPORTER_LEDGER", "sqlite:///a.db?x=1", f"names no file, and a ledger must last; {LEDGER}"),
    (
        "EXPORTER_LEDGER",
        "postgresql://u:hunter2@h/d",
        f"is a PostgreSQL database, which is not supported; {LEDGER}",
    ),
    ("EXPORTER_RETENTION", "1w", f"'1w' is no duration; {DURATION}"),
    (
        "EXPORTER_OUTBOX_LIMIT",
        "1KB",
        "input should be greater than or equal to 1048576; such as 1GiB",
    ),
    (
        "EXPORTER_OUTBOX_LIMIT",
        "lots",
        "could not parse value and unit from byte string; such as 1GiB",
    ),
    ("OTEL_SDK_DISABLED", "maybe", NO_BOOLEAN),
    (
        "OTEL_TRACES_EXPORTER",
        "jaeger",
        "input should be 'otlp', 'console' or 'none'; such as otlp",
    ),
    ("OTEL_SERVICE_NAME", "a\x1bb", CONTROL),
    (
        "OTEL_RESOURCE_ATTRIBUTES",
        "a=b,hunter2",
        "item 2 is not key=value; allowed: key=value, by commas",
    ),
    ("OTEL_RESOURCE_ATTRIBUTES", "=b", "item 1 is not key=value; allowed: key=value, by commas"),
    ("EXPORTER_TRACE_DETAIL", "half", "input should be 'full' or 'summary'; such as full"),
    (
        "EXPORTER_TRACE_SAMPLE_RATIO",
        "1.5",
        "input should be less than or equal to 1; such as 1.0",
    ),
    (
        "EXPORTER_TRACE_SAMPLE_RATIO",
        "nan",
        "input should be less than or equal to 1; such as 1.0",
    ),
    (
        "EXPORTER_TRACE_SAMPLE_RATIO",
        "50%",
        "input should be a valid number, unable to parse string as a number; such as 1.0",
    ),
    ("EXPORTER_TRACE_ALWAYS", "failed,angry", f"'angry' is not known; {ALWAYS}"),
    ("EXPORTER_TRACE_ALWAYS", ",", f"',' names nothing; {ALWAYS}"),
    (
        "EXPORTER_TOOL_TIMING",
        "guess",
        "input should be 'instants' or 'slices'; such as instants",
    ),
    ("EXPORTER_CAPTURE_CONTENT", "maybe", NO_BOOLEAN),
    (
        "EXPORTER_REDACT",
        "x*",
        (
            "line 1: 'x*' matches the empty text, so it would mask everything; "
            "allowed: regular expressions of RE2, one a line"
        ),
    ),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h\nhunter2", CONTROL),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "a\x00b", CONTROL),
    (
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "http/json",
        "input should be 'http/protobuf' or 'grpc'; such as http/protobuf",
    ),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2\x1b", CONTROL),
    (
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "10s",
        "input should be a valid integer, unable to parse string as an integer; such as 10000",
    ),
    (
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "10",
        "input should be greater than or equal to 100; such as 10000",
    ),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "input should be 'none' or 'gzip'; such as none"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/absent", NO_FILE),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/absent", NO_FILE),
    ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/absent", NO_FILE),
    ("OTEL_EXPORTER_OTLP_INSECURE", "perhaps", NO_BOOLEAN),
    ("EXPORTER_LISTEN", "10464", f"'10464' is no address to listen on; {LISTEN}"),
    ("EXPORTER_LISTEN", "::1:80", f"'::1:80' is no address to listen on; {LISTEN}"),
    ("EXPORTER_LISTEN", "[no]:1", f"'[no]:1' is no address to listen on; {LISTEN}"),
    ("EXPORTER_LISTEN", "http://x:1", f"'http://x:1' is no address to listen on; {LISTEN}"),
    ("EXPORTER_LISTEN", "h:65536", f"'h:65536' has a port above 65535; {LISTEN}"),
    ("EXPORTER_WEB_CONFIG_FILE", "a\x00b", CONTROL),
    ("EXPORTER_MAX_LABEL_VALUES", "0", "input should be greater than 0; such as 100"),
    (
        "EXPORTER_MAX_LABEL_VALUES",
        "1.5",
        "input should be a valid integer, unable to parse string as an integer; such as 100",
    ),
    ("EXPORTER_MONTHLY_BUDGET_USD", "ws1=lots", f"'ws1=lots' {BUDGET}"),
    ("EXPORTER_MONTHLY_BUDGET_USD", "ws 1=6", f"'ws 1=6' {BUDGET}"),
    ("EXPORTER_MONTHLY_BUDGET_USD", "-5", f"'-5' {BUDGET}"),
    ("EXPORTER_MONTHLY_BUDGET_USD", "ws1=6,=5", f"'=5' {BUDGET}"),
    ("EXPORTER_MONTHLY_BUDGET_USD", ",", f"',' {BUDGET}"),
    ("EXPORTER_MONTHLY_BUDGET_USD", "5,ws1=6", f"'5,ws1=6' {BUDGET}"),
    (
        "EXPORTER_MONTHLY_BUDGET_USD",
        "ws1=5,ws1=6",
        f"'ws1=6' is a second amount for the same; {BUDGET.removeprefix('is no budget; ')}",
    ),
    ("EXPORTER_TIMEZONE", "Mars/Olympus", f"'Mars/Olympus' {ZONE}"),
    ("EXPORTER_TIMEZONE", "Europe", f"'Europe' {ZONE}"),
    ("EXPORTER_TIMEZONE", "../../etc/passwd", f"'../../etc/passwd' {ZONE}"),
    ("EXPORTER_TRACE_LINK", "j/{trace_id}", f"'j/{{trace_id}}' {LINK}"),
    ("EXPORTER_TRACE_LINK", "http://j/", f"'http://j/' {LINK}"),
    ("EXPORTER_TRACE_LINK", "/{trace_id}/{span}", f"'/{{trace_id}}/{{span}}' {LINK}"),
    (
        "EXPORTER_LOG_LEVEL",
        "loud",
        "input should be 'debug', 'info', 'warning' or 'error'; such as info",
    ),
    ("EXPORTER_LOG_FORMAT", "xml", "input should be 'text' or 'json'; such as text"),
]


def given(name: str, text: str) -> dict[str, str]:
    """One setting, and a token where it is not about the token itself."""
    token = {} if name.startswith("CONDUIT_API_TOKEN") else {"CONDUIT_API_TOKEN": TOKEN}
    return {**token, name: text}


@pytest.mark.parametrize(("name", "text", "attribute", "value"), GOOD)
def test_good_values_are_taken(name: str, text: str, attribute: str, value: Any) -> None:
    """Each text becomes the typed value that the components are handed."""
    assert getattr(load(given(name, text)), attribute) == value


@pytest.mark.parametrize(("name", "text", "message"), BAD)
def test_bad_values_are_refused_with_what_is_allowed(name: str, text: str, message: str) -> None:
    """Each is told under its own name, in one sentence, with what is allowed."""
    with pytest.raises(ConfigError) as caught:
        load(given(name, text))
    assert caught.value.problems == [f"{name}: {message}"]


def test_every_setting_stands_in_the_tables() -> None:
    """A new setting needs a line above."""
    names = {names_of(field)[-1] for field in Settings.model_fields.values()} - {"https_proxy"}
    assert names == {name for name, *_ in BAD}
    secret = {name for name in names if "ENDPOINT" in name} | {
        "CONDUIT_API_TOKEN",
        "CONDUIT_PROXY",
        "EXPORTER_REDACT",
        "EXPORTER_SHARD",
        "OTEL_EXPORTER_OTLP_HEADERS",
    }
    assert names - {name for name, *_ in GOOD} == secret


def test_the_defaults_are_the_documented_ones() -> None:
    """With a token and nothing else, all is set."""
    settings = load(given("CONDUIT_API_TOKEN", TOKEN))
    assert settings.base_url == "https://api.conduit.ai"
    assert (settings.workspaces, settings.agents, settings.runs) == ((), None, ())
    assert (settings.proxy, settings.ca_file, settings.requests_per_minute) == (None, None, 90)
    assert (settings.poll_interval_s, settings.lookback_s) == (15.0, DAY_S)
    assert (settings.shard, settings.total_shards) == (0, 1)
    assert settings.ledger_url == "sqlite:///conduit-exporter.db"
    assert (settings.retention_s, settings.outbox_limit_bytes) == (7 * DAY_S, 1 << 30)
    assert (settings.traces_exporter, settings.service_name) == ("otlp", "conduit")
    assert (settings.trace_detail, settings.trace_sample_ratio) == ("full", 1.0)
    assert settings.trace_always == {"failed", "escalated", "escalation_and_answer"}
    assert (settings.tool_timing, settings.capture_content) == ("instants", False)
    assert (settings.redact_patterns, settings.resource_attributes) == ((), ())
    assert (settings.listen, settings.max_label_values) == (ListenAddress("0.0.0.0", 10464), 100)
    assert (settings.web_config_file, settings.trace_link) == (None, None)
    assert (settings.monthly_budget_usd, settings.timezone) == ({}, ZoneInfo("UTC"))
    assert (settings.log_level, settings.log_format) == ("info", "text")
    assert settings.conduit_server == ("api.conduit.ai", None)
    assert settings.warnings == ()


def test_named_runs_alone_mean_no_agents() -> None:
    """CONDUIT_RUNS fetches just these; CONDUIT_AGENTS beside it adds agents again."""
    runs = given("CONDUIT_RUNS", "ag1/ar1")
    assert load(runs).agents == frozenset()
    assert load({**runs, "CONDUIT_AGENTS": "*"}).agents is None
    assert load({**runs, "CONDUIT_AGENTS": "ag2"}).agents == frozenset({"ag2"})


def test_a_shard_is_one_of_the_shards() -> None:
    """They are counted from 0, as the pods of a StatefulSet are."""
    shards = {**given("EXPORTER_SHARD", "2"), "EXPORTER_TOTAL_SHARDS": "3"}
    assert (load(shards).shard, load(shards).total_shards) == (2, 3)


def test_patterns_are_one_a_line() -> None:
    """Empty lines and carriage returns are not part of a pattern."""
    settings = load(given("EXPORTER_REDACT", "BK-[0-9]{6}\r\n\n  \nroom [0-9]+"))
    masked = [one.sub(lambda _: "#", "BK-123456 room 12\r") for one in settings.redact_patterns]
    assert masked == ["# room 12\r", "BK-123456 #\r"]


def test_every_bad_pattern_is_named() -> None:
    """The line, the pattern and what is wrong with it; good ones beside it are not."""
    with pytest.raises(ConfigError) as caught:
        load(given("EXPORTER_REDACT", "fine\n(\n\x08x\nx*"))
    (problem,) = caught.value.problems
    assert problem.startswith("EXPORTER_REDACT: line 2: '(' is no regular expression of RE2: ")
    held = "line 3: '\\x08x' holds a control character: in a file, put it into single quotes"
    assert held in problem
    assert "line 4: 'x*' matches the empty text, so it would mask everything; allowed" in problem
    assert "line 1" not in problem


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize(
    ("name", "text", "attribute"),
    [(name, text, attribute) for name, text, attribute, _ in GOOD if text not in ("0", "*")],
)
def test_a_pair_of_quotes_around_a_value_is_none_of_it(
    name: str, text: str, attribute: str, quote: str
) -> None:
    """Container engines hand over the quotes of their env files, whatever the setting."""
    quoted = load(given(name, f"{quote}{text}{quote}"))
    assert getattr(quoted, attribute) == getattr(load(given(name, text)), attribute)


@pytest.mark.parametrize(
    "text",
    ["'BK-[0-9]{6}'", '"BK-[0-9]{6}"', "'BK-[0-9]{6}'\n'x+y'", "'BK-[0-9]{6}\nx+y'"],
    ids=["single", "double", "each line", "all lines"],
)
def test_quoted_patterns_mask_as_without_quotes(text: str) -> None:
    """`docker run --env-file` once switched masking off, silently."""
    settings = load(given("EXPORTER_REDACT", text))
    assert settings.redact_patterns[0].sub(lambda _: "#", "room BK-123456") == "room #"
    assert all(one.sub(lambda _: "#", "xxy") == "#" for one in settings.redact_patterns[1:])


def test_quotes_of_secrets_are_none_of_them() -> None:
    """Around a token, a header's value or a resource attribute's: the backend would refuse them."""
    settings = load(
        {
            "CONDUIT_API_TOKEN": '"cdt_live_0123456789"',
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key='abc def',y=1",
            "OTEL_RESOURCE_ATTRIBUTES": '"team="front desk",zone=eu"',
        }
    )
    assert settings.api_token is not None
    assert settings.api_token.get_secret_value() == TOKEN
    assert settings.otlp_environment()["OTEL_EXPORTER_OTLP_HEADERS"] == "x-key=abc def,y=1"
    assert settings.resource_attributes == (("team", "front desk"), ("zone", "eu"))


@pytest.mark.parametrize("text", ["'", "''", "\"'", " "])
def test_quotes_around_nothing_are_nothing(text: str) -> None:
    """A lone quote is kept, and refused where it makes no sense."""
    if text in ("''", " "):
        assert load(given("EXPORTER_LOOKBACK", text)).lookback_s == DAY_S
    else:
        with pytest.raises(ConfigError, match="is no duration"):
            load(given("EXPORTER_LOOKBACK", text))


@pytest.mark.parametrize(
    ("address", "text"),
    [(ListenAddress("::1", 80), "[::1]:80"), (ListenAddress("0.0.0.0", 1), "0.0.0.0:1")],
)
def test_listen_addresses_are_shown_as_they_are_typed(address: ListenAddress, text: str) -> None:
    """An IPv6 address is shown in brackets."""
    assert str(address) == text


@pytest.mark.parametrize("host", ["localhost", "API.Localhost", "127.0.0.9", "::1"])
def test_loopback_is_known_by_name_and_address(host: str) -> None:
    """Nothing is looked up."""
    assert is_loopback(host)
    assert not is_loopback(f"{host}.example")


@pytest.mark.parametrize(
    ("given_texts", "warned"),
    [
        (
            {"CONDUIT_BASE_URL": "http://proxy.internal:8080"},
            (
                "CONDUIT_BASE_URL http://proxy.internal:8080 has no TLS: "
                "the token travels readable by everyone on the way"
            ),
        ),
        ({"CONDUIT_BASE_URL": "http://127.0.0.1:9000"}, None),
        (
            {"HTTPS_PROXY": "http://me:hunter2@proxy"},
            "HTTPS_PROXY is set but not followed: a proxy is named by CONDUIT_PROXY",
        ),
        (
            {"https_proxy": "http://proxy"},
            "HTTPS_PROXY is set but not followed: a proxy is named by CONDUIT_PROXY",
        ),
        ({"HTTPS_PROXY": "http://proxy", "CONDUIT_PROXY": "http://proxy"}, None),
        (
            {"OTEL_SDK_DISABLED": "true"},
            "OTEL_SDK_DISABLED is true: no traces are made, metrics alone",
        ),
    ],
)
def test_what_works_but_should_be_known_is_a_warning(
    given_texts: dict[str, str], warned: str | None
) -> None:
    """A token in the clear, a proxy that is not followed, traces that are switched off."""
    settings = load({"CONDUIT_API_TOKEN": TOKEN, **given_texts})
    assert settings.warnings == (() if warned is None else (warned,))
