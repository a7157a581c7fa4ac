"""The web config file in use: read at the start, and again when it or a certificate changes.

Parsed whole, then swapped: what is wrong leaves the former state in use, is logged once for each
change, and shows in `reloaded`. Nothing of it is ever half in use.
"""

import logging
import ssl
from pathlib import Path
from typing import Final

from exporter.clock import Clock
from exporter.errors import ConfigError
from exporter.web.config import (
    CIPHERS,
    NO_CLIENT_CERT,
    REQUIRE_AND_VERIFY,
    TlsConfig,
    WebConfig,
    parse_web_config,
)

logger = logging.getLogger("exporter.web")

_MOST_BYTES: Final = 1024 * 1024
# A few `stat` calls; no more often than this, however many requests come.
_CHECK_EVERY_S: Final = 1.0
_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY: Final = {NO_CLIENT_CERT: ssl.CERT_NONE, REQUIRE_AND_VERIFY: ssl.CERT_REQUIRED}

# What tells that a file is another one now; None: it cannot be seen.
_Signature = tuple[tuple[int, int, int] | None, ...]


class WebConfigFile:
    """A web config file and the TLS context made of it. The constructor raises ConfigError.

    `path` None stands for an empty file. The reads are of small local files and happen in place.
    """

    def __init__(self, path: Path | None, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._checked_s = clock.monotonic_s()
        self.config = WebConfig()
        self.context: ssl.SSLContext | None = None
        self._signature: _Signature = ()
        # Whether the file as it is now is the one in use; None where there is no file.
        self.reloaded: bool | None = None
        if path is not None:
            self.config, self.context = _read(path)
            self._signature = self._sign()
            self.reloaded = True

    def refresh(self) -> None:
        """Take over a changed file; cheap when nothing changed, and never raises."""
        now_s = self._clock.monotonic_s()
        if self._path is None or now_s - self._checked_s < _CHECK_EVERY_S:
            return
        self._checked_s = now_s
        signature = self._sign()
        if signature == self._signature:
            return
        # Also when it is refused: the same fault is not reported again.
        self._signature = signature
        try:
            config, context = _read(self._path)
            _check_switch(self._path, self.context, context)
        except ConfigError as error:
            self.reloaded = False
            logger.error("The web config file was not reloaded: %s", error)  # noqa: TRY400 - no bug of ours, no traceback
            return
        self.config, self.context, self.reloaded = config, context, True
        # A new file may name other certificates.
        self._signature = self._sign()
        logger.info("The web config file was reloaded")

    def _sign(self) -> _Signature:
        assert self._path is not None  # noqa: S101 - callers look first
        tls = self.config.tls
        return tuple(map(_sign, (self._path, *(() if tls is None else tls.files))))


def _sign(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _check_switch(path: Path, before: ssl.SSLContext | None, after: ssl.SSLContext | None) -> None:
    if (before is None) != (after is None):
        raise ConfigError([f"{path}: TLS can be switched on or off by a restart alone"])


def _read(path: Path) -> tuple[WebConfig, ssl.SSLContext | None]:
    try:
        config = parse_web_config(_content(path).decode(), folder=path.parent)
        return config, None if config.tls is None else make_context(config.tls)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8"]) from error
    except ConfigError as error:
        raise ConfigError([f"{path}: {problem}" for problem in error.problems]) from None


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ConfigError(["is larger than 1 MiB"])
    return content


def make_context(config: TlsConfig) -> ssl.SSLContext:
    """A server's TLS context; reads the certificates. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.minimum_version = _VERSIONS[config.min_version]
    context.maximum_version = _VERSIONS[config.max_version]
    context.set_alpn_protocols(["http/1.1"])
    if config.prefer_server_ciphers:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        _set_ciphers(context, config)
        if config.curve is not None:
            context.set_ecdh_curve(config.curve)
        _load_certificates(context, config)
    except ssl.SSLError as error:
        raise ConfigError([f"tls_server_config: {error.reason or error}"]) from error
    context.verify_mode = _VERIFY.get(config.client_auth, ssl.CERT_OPTIONAL)
    return context


def _set_ciphers(context: ssl.SSLContext, config: TlsConfig) -> None:
    ciphers = [name for suite in config.ciphers if (name := CIPHERS[suite]) is not None]
    if ciphers:
        context.set_ciphers(":".join(ciphers))
    elif config.ciphers:
        if config.max_version == "TLS12":
            raise ConfigError(["tls_server_config.cipher_suites: holds none for TLS12"])
        # Suites of TLS 1.3 alone leave none for TLS 1.2.
        context.minimum_version = ssl.TLSVersion.TLSv1_3


def _load_certificates(context: ssl.SSLContext, config: TlsConfig) -> None:
    # Without this callable OpenSSL would ask a terminal for the password of an encrypted key.
    for key, path in (("cert_file", config.cert_file), ("key_file", config.key_file)):
        _check_readable(key, path)
    try:
        context.load_cert_chain(config.cert_file, config.key_file, password=lambda: "")
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise ConfigError(
            [f"tls_server_config: {config.cert_file} and {config.key_file} do not load: {reason}"]
        ) from error
    if config.client_ca_file is not None:
        _check_readable("client_ca_file", config.client_ca_file)
        context.load_verify_locations(config.client_ca_file)
    elif config.client_ca is not None:
        context.load_verify_locations(cadata=config.client_ca)


def _check_readable(key: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(
            [f"tls_server_config.{key}: {path} cannot be read: {error.strerror}"]
        ) from error
