"""Makes the real HTTP transport to Conduit: TLS that is always verified, no proxy, no retries."""

import ssl
from pathlib import Path
from typing import Final

import certifi

from exporter.errors import ConfigError
from exporter.http1.transport import Http1Transport

_MOST_CONNECTIONS: Final = 64
# Longer than a poll interval, so that the next poll needs no new TLS handshake, and shorter than
# the 60 s after which load balancers commonly hang up.
_KEEPALIVE_S: Final = 55.0


def open_transport(
    *, ca_file: Path | None = None, max_connections: int = _MOST_CONNECTIONS
) -> Http1Transport:
    """A transport for `ConduitClient`; whoever opens it owns it until a client takes it over.

    Trusts `ca_file` alone where one is given, else the system's authorities, else certifi's.
    Proxy settings of the environment are not looked at. Raises ConfigError for an unusable file.
    """
    return Http1Transport(
        tls=_tls_context(ca_file),
        max_connections=max_connections,
        keepalive_s=_KEEPALIVE_S,
    )


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return ssl.create_default_context(cafile=None if _system_trusts() else certifi.where())
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as exc:  # ssl.SSLError is one of them
        raise ConfigError([f"The CA file {ca_file} cannot be used: {exc}"]) from exc


def _system_trusts() -> bool:
    """Whether the system has certificate authorities; slim images come without."""
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile) or (bool(paths.capath) and any(Path(paths.capath).iterdir()))
