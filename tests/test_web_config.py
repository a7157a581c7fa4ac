"""The web config file's meaning: what is honoured, what is refused and with which words."""

from pathlib import Path

import pytest
import yaml

from exporter.errors import ConfigError
from exporter.web.config import (
    CIPHERS,
    CURVES,
    RateLimit,
    TlsConfig,
    WebConfig,
    parse_web_config,
)
from tests.web_support import HASHED

FOLDER = Path("/etc/exporter")
SECRET = "hunter2-do-not-print"
FILES = "cert_file: c.pem, key_file: k.pem"


def parse(text: str) -> WebConfig:
    return parse_web_config(text, folder=FOLDER)


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.problems


def tls_of(text: str) -> TlsConfig:
    tls = parse(f"tls_server_config: {{{FILES}, {text}}}").tls
    assert tls is not None
    return tls


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n", "tls_server_config:\n", "---\n"])
def test_an_empty_file_changes_nothing(text: str) -> None:
    """Plain HTTP, open to all who reach it."""
    assert parse(text) == WebConfig()


def test_the_whole_format_is_understood() -> None:
    """Every key of the toolkit that can be honoured, as its documentation writes it."""
    config = parse(f"""
tls_server_config:
  cert_file: server.crt
  key_file: /keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [prometheus.example, 10.0.0.1]
  min_version: TLS13
  max_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP384]
http_server_config:
  http2: false
  headers:
    Content-Security-Policy: default-src 'self'
    Strict-Transport-Security: max-age=31536000
    X-Content-Type-Options: nosniff
    X-Frame-Options: sameorigin
    X-XSS-Protection: ""
rate_limit:
  interval: 1m30.5s
  burst: 20
basic_auth_users:
  alice: {HASHED}
""")
    assert config == WebConfig(
        tls=TlsConfig(
            cert_file=FOLDER / "server.crt",
            key_file=Path("/keys/server.key"),
            client_auth="RequireAndVerifyClientCert",
            client_ca_file=FOLDER / "ca.crt",
            allowed_names=frozenset({"prometheus.example", "10.0.0.1"}),
            min_version="TLS13",
            max_version="TLS13",
            ciphers=("TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
            prefer_server_ciphers=False,
            curve="secp384r1",
        ),
        headers={
            "Content-Security-Policy": "default-src 'self'",
            "Strict-Transport-Security": "max-age=31536000",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "sameorigin",
            "X-XSS-Protection": "",
        },
        users={"alice": HASHED},
        rate_limit=RateLimit(90.5, 20),
    )


def test_tls_needs_two_files_and_no_more() -> None:
    """Relative to the folder of the file; everything else has the toolkit's default."""
    tls = tls_of("")
    assert tls == TlsConfig(cert_file=FOLDER / "c.pem", key_file=FOLDER / "k.pem")
    assert tls.files == (FOLDER / "c.pem", FOLDER / "k.pem")


def test_the_files_that_tls_is_made_of_are_known() -> None:
    """A change of any of them is a change of the context."""
    tls = tls_of("client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem")
    assert tls.files[-1] == FOLDER / "ca.pem"


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [
        ("1s", 1.0),
        ("500ms", 0.5),
        ("1h2m3s", 3723.0),
        ("2us", 2e-6),
        ("2\u00b5s", 2e-6),
        ("1000000000", 1.0),
        ("1.5m", 90.0),
    ],
)
def test_an_interval_is_written_as_go_does(interval: str, seconds: float) -> None:
    """A duration, or a whole number of nanoseconds."""
    limit = parse(f"rate_limit: {{interval: {interval}, burst: 1}}").rate_limit
    assert limit is not None
    assert limit.interval_s == pytest.approx(seconds)


@pytest.mark.parametrize("interval", ["0", '"0"', "0s", "-5"])
def test_no_interval_is_no_limit(interval: str) -> None:
    """As in the toolkit."""
    assert parse(f"rate_limit: {{interval: {interval}}}").rate_limit is None


BAD = {
    "[]": "the file: must be a mapping",
    "tls_server_config: [a]": "tls_server_config: must be a mapping",
    "basic_auth_user: {}": "basic_auth_user: unknown key; did you mean basic_auth_users?",
    "nonsense: 1": "nonsense: unknown key",
    "a: [": "line 1: not YAML: expected the node content, but found '<stream end>'",
    "rate_limit: {}\nrate_limit: {}": "line 1: not YAML: the key rate_limit stands twice",
    "a: !!python/name:os.system x": (
        "line 1: not YAML: could not determine a constructor for the tag ..."
    ),
    "a: \x00": "not YAML: ReaderError",
    "[" * 5000: "not YAML: RecursionError",
    "tls_server_config: {cert_file: c}": "tls_server_config.key_file: is missing",
    "tls_server_config: {cert_file: 1, key_file: k}": (
        "tls_server_config.cert_file: must be a string"
    ),
    f"tls_server_config: {{{FILES}, cert: {SECRET}}}": (
        "tls_server_config.cert: cannot be inside the file here; use cert_file"
    ),
    f"tls_server_config: {{{FILES}, key: {SECRET}}}": (
        "tls_server_config.key: cannot be inside the file here; use key_file"
    ),
    f"tls_server_config: {{{FILES}, client_auth_type: Perhaps}}": (
        "tls_server_config.client_auth_type: must be one of NoClientCert, "
        "VerifyClientCertIfGiven, RequireAndVerifyClientCert"
    ),
    f"tls_server_config: {{{FILES}, client_auth_type: RequireAnyClientCert}}": (
        "tls_server_config.client_auth_type: an unverified certificate proves nothing; "
        "use RequireAndVerifyClientCert"
    ),
    f"tls_server_config: {{{FILES}, client_auth_type: RequireAndVerifyClientCert}}": (
        "tls_server_config.client_auth_type: needs client_ca_file to verify against"
    ),
    f"tls_server_config: {{{FILES}, client_ca_file: ca.pem}}": (
        "tls_server_config.client_ca_file: has no effect with client_auth_type NoClientCert"
    ),
    (
        f"tls_server_config: {{{FILES}, client_auth_type: VerifyClientCertIfGiven, "
        "client_ca: x, client_ca_file: ca.pem}"
    ): "tls_server_config.client_ca: stands beside client_ca_file; keep one of them",
    f"tls_server_config: {{{FILES}, client_allowed_sans: [a]}}": (
        "tls_server_config.client_allowed_sans: needs client_auth_type RequireAndVerifyClientCert"
    ),
    f"tls_server_config: {{{FILES}, client_allowed_sans: [1]}}": (
        "tls_server_config.client_allowed_sans: must be a list of strings"
    ),
    f"tls_server_config: {{{FILES}, client_allowed_sans: a}}": (
        "tls_server_config.client_allowed_sans: must be a list"
    ),
    f"tls_server_config: {{{FILES}, min_version: TLS11}}": (
        "tls_server_config.min_version: must be one of TLS12, TLS13"
    ),
    f"tls_server_config: {{{FILES}, min_version: TLS13, max_version: TLS12}}": (
        "tls_server_config.min_version: is above max_version"
    ),
    f"tls_server_config: {{{FILES}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}}": (
        f"tls_server_config.cipher_suites: knows {', '.join(CIPHERS)}, not TLS_RSA_WITH_RC4_128_SHA"
    ),
    f"tls_server_config: {{{FILES}, curve_preferences: [Curve1]}}": (
        f"tls_server_config.curve_preferences: knows {', '.join(CURVES)}, not Curve1"
    ),
    f"tls_server_config: {{{FILES}, curve_preferences: [X25519, CurveP256]}}": (
        "tls_server_config.curve_preferences: more than one cannot be set here"
    ),
    f"tls_server_config: {{{FILES}, prefer_server_cipher_suites: 1}}": (
        "tls_server_config.prefer_server_cipher_suites: must be a boolean"
    ),
    f"tls_server_config: {{{FILES}, certfile: x}}": (
        "tls_server_config.certfile: unknown key; did you mean cert_file?"
    ),
    "http_server_config: {http2: true}": (
        "http_server_config.http2: only HTTP/1.1 is spoken; leave it out or set it to false"
    ),
    "http_server_config: {headers: {X-Frame-Options: allow}}": (
        "http_server_config.headers.X-Frame-Options: must be one of deny, sameorigin"
    ),
    "http_server_config: {headers: {Server: x}}": (
        "http_server_config.headers.Server: unknown key"
    ),
    'http_server_config: {headers: {X-XSS-Protection: "a\\r\\nb"}}': (
        "http_server_config.headers.X-XSS-Protection: has characters that a header cannot have"
    ),
    "rate_limit: {interval: 1s}": (
        "rate_limit.burst: must be at least 1, or nothing would ever be answered"
    ),
    "rate_limit: {interval: soon, burst: 1}": (
        "rate_limit.interval: must be a duration such as 500ms, 1s or 1m30s"
    ),
    "rate_limit: {interval: 1s, burst: true}": "rate_limit.burst: must be a whole number",
    "rate_limit: {interval: [1], burst: 1}": (
        "rate_limit.interval: must be a string or a whole number"
    ),
    f"basic_auth_users: {{alice: {SECRET}}}": (
        "basic_auth_users.alice: is not a bcrypt hash; `htpasswd -nBC 10 NAME` makes one"
    ),
    "basic_auth_users: {alice: 5}": (
        "basic_auth_users.alice: is not a bcrypt hash; `htpasswd -nBC 10 NAME` makes one"
    ),
    f"basic_auth_users: {{5: {HASHED}}}": (
        "basic_auth_users.5: a user name is a string without a colon; quote a number"
    ),
    f"basic_auth_users: {{'a:b': {HASHED}}}": (
        "basic_auth_users.a:b: a user name is a string without a colon; quote a number"
    ),
    f"basic_auth_users: {{alice: {HASHED.replace('$04$', '$17$')}}}": (
        "basic_auth_users.alice: bcrypt's cost must be from 4 to 16"
    ),
}


@pytest.mark.parametrize(("text", "problem"), BAD.items(), ids=[str(n) for n in range(len(BAD))])
def test_what_cannot_be_honoured_is_refused(text: str, problem: str) -> None:
    """With the key and what to do, and never a value that may be a secret."""
    problems = problems_of(text)
    assert problem in problems
    assert SECRET not in "\n".join(problems)
    assert HASHED not in "\n".join(problems)


def test_every_problem_is_told_at_once() -> None:
    """One start, one list."""
    assert problems_of(f"""
tls_server_config: {{client_auth_type: no}}
http_server_config: {{http2: true, tls: 1}}
basic_auth_users: {{alice: {SECRET}}}
other: 1
""") == [
        "tls_server_config.cert_file: is missing",
        "tls_server_config.key_file: is missing",
        "tls_server_config.client_auth_type: must be a string",
        "basic_auth_users.alice: is not a bcrypt hash; `htpasswd -nBC 10 NAME` makes one",
        "http_server_config.http2: only HTTP/1.1 is spoken; leave it out or set it to false",
        "http_server_config.tls: unknown key",
        "other: unknown key",
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"basic_auth_users:\n  alice: {SECRET}\n bad indent",
        f"basic_auth_users: {{alice: '{SECRET}",
        f"basic_auth_users: *{SECRET}",
        f"basic_auth_users: !{SECRET} x",
        f"basic_auth_users: !{SECRET}! x",
        f"basic_auth_users: {{alice: &{SECRET} x, bob: &{SECRET} y}}",
        f'basic_auth_users: "\\{SECRET}"',
        f"basic_auth_users: @{SECRET}",
        f"%{SECRET} x\n--- y",
        f"tls_server_config: {SECRET}",
        f"{SECRET}",
        f"basic_auth_users: [{SECRET}]",
        f"rate_limit: {{interval: {SECRET}}}",
        f"tls_server_config: {{min_version: {SECRET}, client_auth_type: {SECRET}}}",
    ],
)
def test_a_value_is_never_repeated(text: str) -> None:
    """Not even of a file that is not YAML: what stands there may be a hash or a key."""
    assert SECRET not in "\n".join(problems_of(text))


def test_hashes_are_not_shown() -> None:
    """A config may end up in a log by its repr."""
    assert HASHED not in repr(parse(yaml.safe_dump({"basic_auth_users": {"alice": HASHED}})))
