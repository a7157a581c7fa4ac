"""The web config file: TLS, users and headers in the format of Prometheus' exporter-toolkit.

Never ignores a key: what cannot be honoured is refused with the reason. Reads no file itself, and
never repeats a value of the file in a message: they may be secrets.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from exporter.errors import ConfigError
from exporter.web.section import Section, load_yaml

NO_CLIENT_CERT: Final = "NoClientCert"
VERIFY_IF_GIVEN: Final = "VerifyClientCertIfGiven"
REQUIRE_AND_VERIFY: Final = "RequireAndVerifyClientCert"

# The toolkit's names, which are Go's, to OpenSSL's; None: a suite of TLS 1.3, always there.
CIPHERS: Final[Mapping[str, str | None]] = {
    "TLS_AES_128_GCM_SHA256": None,
    "TLS_AES_256_GCM_SHA384": None,
    "TLS_CHACHA20_POLY1305_SHA256": None,
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
CURVES: Final[Mapping[str, str]] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}

_CLIENT_AUTH: Final = (NO_CLIENT_CERT, VERIFY_IF_GIVEN, REQUIRE_AND_VERIFY)
_UNVERIFIED: Final = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
_VERSIONS: Final = ("TLS12", "TLS13")
# A header that may be set, and the only values that it may have (empty: any).
_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
_BCRYPT: Final = re.compile(r"\$2[abxy]?\$([0-9]{2})\$[./A-Za-z0-9]{53}\Z")
# At 16 one check takes seconds of a processor, and anybody may ask for one.
_COSTS: Final = range(4, 17)
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|\u00b5s|ms|s|m|h)")
_SECONDS: Final = {
    "ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """How to speak TLS; `client_ca` is the text of certificates, `curve` OpenSSL's name."""

    cert_file: Path
    key_file: Path
    client_auth: str = NO_CLIENT_CERT
    client_ca_file: Path | None = None
    client_ca: str | None = None
    allowed_names: frozenset[str] | None = None
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    ciphers: tuple[str, ...] = ()
    prefer_server_ciphers: bool = True
    curve: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the TLS context is made of."""
        files = (self.cert_file, self.key_file)
        return files if self.client_ca_file is None else (*files, self.client_ca_file)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One request each `interval_s`, and `burst` at once."""

    interval_s: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """The whole file; `users` are bcrypt hashes by name."""

    tls: TlsConfig | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    rate_limit: RateLimit | None = None


def parse_web_config(text: str, *, folder: Path) -> WebConfig:
    """The file's meaning; relative paths are relative to `folder`. Raises ConfigError."""
    problems: list[str] = []
    root = Section("", load_yaml(text), problems)
    tls = root.section("tls_server_config")
    http = root.section("http_server_config")
    config = WebConfig(
        tls=_tls(tls, folder) if tls.given else None,
        headers=_headers(http),
        users=_users(root.section("basic_auth_users")),
        rate_limit=_rate_limit(root.section("rate_limit")),
    )
    if http.take("http2", bool, default=False):
        http.complain("http2", "only HTTP/1.1 is spoken; leave it out or set it to false")
    http.finish()
    root.finish()
    if problems:
        raise ConfigError(problems)
    return config


def _tls(section: Section, folder: Path) -> TlsConfig:
    files: dict[str, Path | None] = {}
    for key in ("cert_file", "key_file", "client_ca_file"):
        name = section.take(key, str)
        files[key] = folder / name if name else None
    for key in ("cert", "key"):
        if section.take(key, str):
            section.complain(key, f"cannot be inside the file here; use {key}_file")
        if files[f"{key}_file"] is None:
            section.complain(f"{key}_file", "is missing")
    client_ca = section.take("client_ca", str)
    client_auth = _client_auth(section)
    verified = client_auth in {VERIFY_IF_GIVEN, REQUIRE_AND_VERIFY}
    if client_ca and files["client_ca_file"]:
        section.complain("client_ca", "stands beside client_ca_file; keep one of them")
    has_ca = bool(client_ca or files["client_ca_file"])
    if verified and not has_ca:
        section.complain("client_auth_type", "needs client_ca_file to verify against")
    if has_ca and not verified:
        section.complain("client_ca_file", f"has no effect with client_auth_type {client_auth}")
    allowed_names = section.take_names("client_allowed_sans")
    if allowed_names and client_auth != REQUIRE_AND_VERIFY:
        section.complain("client_allowed_sans", f"needs client_auth_type {REQUIRE_AND_VERIFY}")
    min_version, max_version = _versions(section)
    curves = section.take_names("curve_preferences", CURVES)
    if len(curves) > 1:
        section.complain("curve_preferences", "more than one cannot be set here")
    config = TlsConfig(
        cert_file=files["cert_file"] or folder,
        key_file=files["key_file"] or folder,
        client_auth=client_auth,
        client_ca_file=files["client_ca_file"],
        client_ca=client_ca or None,
        allowed_names=frozenset(allowed_names) or None,
        min_version=min_version,
        max_version=max_version,
        ciphers=section.take_names("cipher_suites", CIPHERS),
        prefer_server_ciphers=section.take("prefer_server_cipher_suites", bool, default=True),
        curve=CURVES[curves[0]] if curves else None,
    )
    section.finish()
    return config


def _client_auth(section: Section) -> str:
    value: str = section.take("client_auth_type", str) or NO_CLIENT_CERT
    if value in _UNVERIFIED:
        section.complain(
            "client_auth_type", f"an unverified certificate proves nothing; use {_CLIENT_AUTH[2]}"
        )
    elif value not in _CLIENT_AUTH:
        section.complain("client_auth_type", f"must be one of {', '.join(_CLIENT_AUTH)}")
    else:
        return value
    # Nothing follows from what was refused.
    return NO_CLIENT_CERT


def _versions(section: Section) -> tuple[str, str]:
    lowest = section.take_one_of("min_version", _VERSIONS, default=_VERSIONS[0])
    highest = section.take_one_of("max_version", _VERSIONS, default=_VERSIONS[-1])
    if lowest > highest:
        section.complain("min_version", "is above max_version")
    return lowest, highest


def _headers(http: Section) -> dict[str, str]:
    section = http.section("headers")
    headers = {}
    for name, allowed in _HEADERS.items():
        value = section.take(name, str)
        if value is None:
            continue
        if value and allowed and value not in allowed:
            section.complain(name, f"must be one of {', '.join(allowed)}")
        elif not value.isascii() or not value.isprintable():
            section.complain(name, "has characters that a header cannot have")
        else:
            headers[name] = value
    section.finish()
    return headers


def _users(section: Section) -> dict[str, str]:
    users = {}
    for name, hashed in section.take_rest().items():
        if not isinstance(name, str) or not name or ":" in name:
            section.complain(str(name), "a user name is a string without a colon; quote a number")
            continue
        matched = _BCRYPT.match(hashed) if isinstance(hashed, str) else None
        if matched is None:
            section.complain(name, "is not a bcrypt hash; `htpasswd -nBC 10 NAME` makes one")
        elif int(matched[1]) not in _COSTS:
            section.complain(name, f"bcrypt's cost must be from {_COSTS[0]} to {_COSTS[-1]}")
        else:
            users[name] = hashed
    return users


def _rate_limit(section: Section) -> RateLimit | None:
    given = section.given
    interval_s = _duration(section)
    burst = section.take("burst", int, default=0)
    section.finish()
    if not given or interval_s == 0:
        return None
    if burst < 1:
        section.complain("burst", "must be at least 1, or nothing would ever be answered")
    return RateLimit(interval_s, burst)


def _duration(section: Section) -> float:
    """The interval in seconds; Go's notation, or a whole number of nanoseconds."""
    text = section.take("interval", (str, int), default=0)
    if isinstance(text, int):
        return max(0, text) / 1e9
    parts = _DURATION.findall(text)
    if text != "0" and "".join(number + unit for number, unit in parts) != text:
        section.complain("interval", "must be a duration such as 500ms, 1s or 1m30s")
        return 0
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
