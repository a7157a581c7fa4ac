"""Asks the daemon on this machine how it is, for container probes.

Made to start at once: it reads no setting but where the daemon listens and whether that may be with
TLS, and sends nothing secret. So it needs no proof of whom it talks to.
"""

import contextlib
import http.client
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from exporter.errors import ConfigError
from exporter.logs import escape
from exporter.settings.values import ListenAddress, parse_listen, read_texts

_DEFAULT_LISTEN: Final = "0.0.0.0:10464"
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to recognise
_MAX_BODY_BYTES: Final = 2_000
_MAX_LINE_CHARS: Final = 300


def probe(
    environ: Mapping[str, str], env_file: Path | None, *, ready: bool, timeout_s: float
) -> tuple[bool, str]:
    """Whether the daemon is healthy (or ready), and a line that says so. Raises ConfigError."""
    texts, problems = read_texts(environ, env_file)
    if problems:
        raise ConfigError(problems)
    try:
        host, port = parse_listen(texts.get("EXPORTER_LISTEN", _DEFAULT_LISTEN))
    except ValueError as exc:
        raise ConfigError([f"EXPORTER_LISTEN: {exc}"]) from None
    if port == 0:
        raise ConfigError(["EXPORTER_LISTEN: port 0 is another one at each start; name a port"])
    address = ListenAddress(_EVERYWHERE.get(host, host), port)
    path = "/-/ready" if ready else "/-/healthy"
    # Not what the file says: since the daemon took it over it may have become another.
    tls = "EXPORTER_WEB_CONFIG_FILE" in texts
    met = False

    def line(words: str) -> str:
        return escape(f"{'https' if tls else 'http'}://{address}{path} {words}")[:_MAX_LINE_CHARS]

    try:
        connection = _connect(address, tls=tls, timeout_s=timeout_s)
        met = tls = isinstance(connection, http.client.HTTPSConnection)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read(_MAX_BODY_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as exc:
        if met and isinstance(exc, (ssl.SSLError, ConnectionError)):
            # TLS 1.3 turns a client without a certificate away after the handshake, and only who
            # is alive shakes hands.
            return not ready, line("answers (TLS: it asks for a client certificate)")
        return False, line(f"does not answer: {str(exc) or type(exc).__name__}")
    if response.status == http.client.UNAUTHORIZED:
        # The password is for people; whoever asks for it is alive.
        return not ready, line("answers (401: it asks for a password)")
    words = "; ".join(one.strip() for one in body.splitlines() if one.strip())
    return response.status == http.client.OK, line(f"answers {response.status}: {words}")


def _connect(address: ListenAddress, *, tls: bool, timeout_s: float) -> http.client.HTTPConnection:
    """An open connection, with TLS where that is wanted and the other end speaks it."""
    if tls:
        # The certificate is made out to the name that others use, by whom they trust.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        secure = http.client.HTTPSConnection(*address, timeout=timeout_s, context=context)
        with contextlib.suppress(ssl.SSLError):
            secure.connect()
            return secure
    plain = http.client.HTTPConnection(*address, timeout=timeout_s)
    plain.connect()
    return plain
