"""Every setting's text as a value: a table of what is taken, and of what is said to the rest."""

from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exporter.errors import ConfigError
from exporter.settings.loading import load
from exporter.settings.values import ListenAddress

TOKEN = "cdt_live_0123456789"
DAY_S = 86_400.0
ENV = Path("/usr/bin/env")

DURATION = "is no duration; allowed: a number and a unit, such as 500ms, 15s, 5m, 24h or 7d"
NO_ID = "is no id; allowed: ids, separated by commas"
NO_RUN = "is no run; allowed: agent_id/run_id, separated by commas"
NO_ADDRESS = (
    "is no address to listen on; "
    "allowed: host:port, such as 0.0.0.0:10464, 127.0.0.1:10464 or [::]:10464"
)
NO_LINK = "is no link to a trace; allowed: an http(s) URL that holds {trace_id}"
AMOUNTS = "allowed: workspace_id=amount, separated by commas, or one amount such as 250.00"
ALWAYS = (
    "allowed: completed, failed, escalated, escalation_and_answer, resolved, unresolved, no_op, "
    "proactive, or none"
)
NO_ZONE = (
    "is no time zone that is known here; allowed: a name such as Europe/Berlin "
    "(where every name is unknown, install the package tzdata)"
)
PAIRS = "is not key=value; allowed: key=value, by commas"
CONTROL = "holds a line break or another control character; allowed: one line"
NO_TOKEN = "holds more than one word, or characters that no token has"
NO_BOOLEAN = "input should be a valid boolean, unable to interpret input; such as false"
NO_NUMBER = "input should be a valid number, unable to parse string as a number; such as"
NO_INTEGER = "input should be a valid integer, unable to parse string as an integer; such as"
NO_FILE = "/absent cannot be read: No such file or directory"
NO_QUERY = "holds a query or a fragment; allowed: http(s)://host[:port][/path]"
NO_URL = "is no web URL; allowed: http(s)://host[:port][/path]"
NO_PATTERN = "matches the empty text, so it would mask everything"

# For each setting: the attribute, and what it is for a text.
GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "CONDUIT_API_TOKEN_FILE": ("api_token_file", {str(ENV): ENV}),
    "CONDUIT_BASE_URL": (
        "base_url",
        {
            "https://api.conduit.ai": "https://api.conduit.ai",
            "HTTPS://API.Conduit.ai:443/": "https://api.conduit.ai",
            "http://[::1]:9000/eu/": "http://[::1]:9000/eu",
        },
    ),
    "CONDUIT_WORKSPACES": ("workspaces", {" ws2, ws1,,ws2 ": ("ws2", "ws1")}),
    "CONDUIT_AGENTS": ("agents", {"*": None, "ag1,ag2": frozenset({"ag1", "ag2"})}),
    "CONDUIT_RUNS": ("runs", {"a1/r1, a1/r1,a2/r2": (("a1", "r1"), ("a2", "r2"))}),
    "CONDUIT_REQUESTS_PER_MINUTE": ("requests_per_minute", {"0.5": 0.5, "100000": 1e5}),
    "EXPORTER_POLL_INTERVAL": ("poll_interval_s", {"500ms": 0.5, "1.5m": 90.0}),
    "EXPORTER_LOOKBACK": ("lookback_s", {"0s": 0.0, "3650d": 3650 * DAY_S}),
    "EXPORTER_LEDGER": (
        "ledger_path",
        {"sqlite:////var/a b.db": Path("/var/a b.db"), "sqlite:///a.db": Path("a.db")},
    ),
    "EXPORTER_OUTBOX_LIMIT": ("outbox_limit_bytes", {"1MiB": 1 << 20, "1.5gb": 1_500_000_000}),
    "OTEL_SDK_DISABLED": ("traces_exporter", {"True": "none", "false": "otlp"}),
    "OTEL_TRACES_EXPORTER": ("traces_exporter", {"Console": "console"}),
    "OTEL_SERVICE_NAME": ("service_name", {"conduit hotels": "conduit hotels"}),
    "OTEL_RESOURCE_ATTRIBUTES": (
        "resource_attributes",
        {"a=1,, b%20c = d%2Ce ,a=2,service.name=x": (("a", "2"), ("b c", "d,e"))},
    ),
    "EXPORTER_TRACE_SAMPLE_RATIO": ("trace_sample_ratio", {"0": 0.0, ".25": 0.25}),
    "EXPORTER_TRACE_ALWAYS": (
        "trace_always",
        {"None": frozenset(), "Failed, no_op": frozenset({"failed", "no_op"})},
    ),
    "EXPORTER_CAPTURE_CONTENT": ("capture_content", {"Yes": True, "0": False}),
    "OTEL_EXPORTER_OTLP_CERTIFICATE": ("otlp_certificate", {str(ENV): ENV}),
    "EXPORTER_LISTEN": (
        "listen",
        {
            ":8080": ListenAddress("0.0.0.0", 8080),
            "[::1]:0": ListenAddress("::1", 0),
            "box.local:65535": ListenAddress("box.local", 65_535),
        },
    ),
    "EXPORTER_MONTHLY_BUDGET_USD": (
        "monthly_budget_usd",
        {
            "250.50": {"": Decimal("250.50")},
            "ws1=500, ws2 = 0.000001": {"ws1": Decimal(500), "ws2": Decimal("0.000001")},
        },
    ),
    "EXPORTER_TIMEZONE": ("timezone", {"Europe/Berlin": ZoneInfo("Europe/Berlin")}),
    "EXPORTER_TRACE_LINK": ("trace_link", {"/t/{trace_id}": "/t/{trace_id}"}),
}

# For each setting: what is said to a text.
BAD: dict[str, dict[str, str]] = {
    "CONDUIT_API_TOKEN": {
        "two words": NO_TOKEN,
        "Bearer abcdef": 'starts with "Bearer": give the token alone',
    },
    "CONDUIT_API_TOKEN_FILE": {
        "a\nb": CONTROL,
        "/absent": NO_FILE,
        "/dev/null": "/dev/null is not a regular file",
    },
    "CONDUIT_BASE_URL": {
        "api.conduit.ai": NO_URL,
        "https://h/v1/": "'https://h/v1' ends in /v1, which the exporter adds itself",
        "https://h?key=hunter2": NO_QUERY,
        "https://me:hunter2@h": "holds a user or password; the token has a setting of its own",
    },
    "CONDUIT_PROXY": {"socks5://me:hunter2@proxy": NO_URL, "proxy:3128": NO_URL},
    "CONDUIT_WORKSPACES": {
        "*": f"'*' {NO_ID}",
        ",": "',' names nothing; allowed: ids, separated by commas",
        "ws/1": f"'ws/1' {NO_ID}",
        "w" * 257: f"'{'w' * 60}'... {NO_ID}",
    },
    "CONDUIT_AGENTS": {"ag1,*": f"'*' {NO_ID}"},
    "CONDUIT_RUNS": {
        "ar1": f"'ar1' {NO_RUN}",
        "a/b/c": f"'a/b/c' {NO_RUN}",
        ",": "',' names nothing; allowed: agent_id/run_id, separated by commas",
    },
    "CONDUIT_REQUESTS_PER_MINUTE": {
        "many": f"{NO_NUMBER} 90",
        **dict.fromkeys(("0.0", "-1"), "input should be greater than 0; such as 90"),
        **dict.fromkeys(("nan", "1e999"), "input should be a finite number; such as 90"),
    },
    "EXPORTER_POLL_INTERVAL": {
        "15": f"'15' {DURATION}",
        "499ms": "'499ms' is too short; allowed: 500ms or longer",
    },
    "EXPORTER_LOOKBACK": {
        "3651d": "'3651d' is too long; allowed: up to 3650d",
    },
    "EXPORTER_SHARD": {
        "1": "is 1, but EXPORTER_TOTAL_SHARDS is 1; the first is 0",
        "-1": "input should be greater than or equal to 0; such as 0",
    },
    "EXPORTER_OUTBOX_LIMIT": {
        "1KB": "input should be greater than or equal to 1048576; such as 1GiB",
    },
    "OTEL_SERVICE_NAME": {"a\x1bb": CONTROL},
    "OTEL_RESOURCE_ATTRIBUTES": {"a=b,hunter2": f"item 2 {PAIRS}", "=hunter2": f"item 1 {PAIRS}"},
    "EXPORTER_TRACE_SAMPLE_RATIO": {
        "50%": f"{NO_NUMBER} 1.0",
        **dict.fromkeys(("1.5", "nan"), "input should be less than or equal to 1; such as 1.0"),
    },
    "EXPORTER_TRACE_ALWAYS": {
        "failed,angry": f"'angry' is not known; {ALWAYS}",
    },
    "EXPORTER_CAPTURE_CONTENT": {"maybe": NO_BOOLEAN},
    "EXPORTER_REDACT": {
        "x*": f"line 1: 'x*' {NO_PATTERN}; allowed: regular expressions of RE2, one a line",
    },
    "OTEL_EXPORTER_OTLP_ENDPOINT": {"http://h\nhunter2": NO_URL},
    "OTEL_EXPORTER_OTLP_HEADERS": {"a=hunter2\x1b": CONTROL},
    "OTEL_EXPORTER_OTLP_TIMEOUT": {
        "10s": f"{NO_INTEGER} 10000",
        "10": "input should be greater than or equal to 100; such as 10000",
    },
    "OTEL_EXPORTER_OTLP_CERTIFICATE": {"/absent": NO_FILE},
    "EXPORTER_LISTEN": {
        "10464": f"'10464' {NO_ADDRESS}",
        "::1:80": f"'::1:80' {NO_ADDRESS}",
        "[no]:1": f"'[no]:1' {NO_ADDRESS}",
        "h:65536": f"'h:65536' {NO_ADDRESS}",
    },
    "EXPORTER_MONTHLY_BUDGET_USD": {
        **{
            text: f"{item!r} is no budget; {AMOUNTS}"
            for text, item in {
                "ws1=lots": "ws1=lots",
                "ws1=6,=5": "=5",
                "5,ws1=6": "5,ws1=6",
            }.items()
        },
        "ws1=5,ws1=6": f"'ws1=6' is a second amount for the same; {AMOUNTS}",
    },
    "EXPORTER_TIMEZONE": {
        text: f"{text!r} {NO_ZONE}" for text in ("Mars/Olympus", "Europe", "../../etc/passwd")
    },
    "EXPORTER_TRACE_LINK": {
        text: f"{text!r} {NO_LINK}" for text in ("j/{trace_id}", "http://j/", "/{trace_id}/{span}")
    },
    "EXPORTER_LOG_LEVEL": {
        "loud": "input should be 'debug', 'info', 'warning' or 'error'",
    },
}


def given(name: str, text: str) -> dict[str, str]:
    """One setting, and a token where it is not about the token itself."""
    token = {} if name.startswith("CONDUIT_API_TOKEN") else {"CONDUIT_API_TOKEN": TOKEN}
    return {**token, name: text}


@pytest.mark.parametrize("quote", ["", "'", '"'], ids=["bare", "single", "double"])
@pytest.mark.parametrize("name", GOOD)
def test_good_values_are_taken(name: str, quote: str) -> None:
    """As the typed value, with and without the quotes that container engines leave in place."""
    attribute, values = GOOD[name]
    for text, value in values.items():
        assert getattr(load(given(name, f"{quote}{text}{quote}")), attribute) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [(name, text, message) for name, said in BAD.items() for text, message in said.items()],
)
def test_bad_values_are_refused_with_what_is_allowed(name: str, text: str, message: str) -> None:
    """Each is told under its own name, in one sentence, with what is allowed."""
    with pytest.raises(ConfigError) as caught:
        load(given(name, text))
    assert caught.value.problems == [f"{name}: {message}"]


def test_a_token_is_enough() -> None:
    """Everything else has a default that can be used as it stands, without a warning."""
    settings = load(given("CONDUIT_API_TOKEN", TOKEN))
    assert settings.warnings == ()
    assert (settings.workspaces, settings.agents, settings.runs) == ((), None, ())
    assert (settings.service_name, settings.conduit_server) == ("conduit", ("api.conduit.ai", None))
    # Not ZoneInfo("UTC"): a machine without a time zone database has none.
    assert settings.timezone is UTC


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
    headers = {name: text.get_secret_value() for name, text in settings.otlp_headers}
    assert headers == {"x-key": "abc def", "y": "1"}
    assert settings.resource_attributes == (("team", "front desk"), ("zone", "eu"))


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
