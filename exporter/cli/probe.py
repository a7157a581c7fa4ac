"""Asks the daemon on this machine how it is, for container probes.

Made to start at once: it reads no setting but the two that say where the daemon listens, and sends
nothing secret. So it needs no proof of whom it talks to.
"""

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
    web_config = texts.get("EXPORTER_WEB_CONFIG_FILE")
    address = ListenAddress(_EVERYWHERE.get(host, host), port)
    tls = web_config is not None and _has_tls(Path(web_config))
    path = "/-/ready" if ready else "/-/healthy"
    url = f"{'https' if tls else 'http'}://{address}{path}"
    connection = _connection(address, tls=tls, timeout_s=timeout_s)
    met = False
    try:
        connection.connect()
        # Only who is alive shakes hands.
        met = tls
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(_MAX_BODY_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as exc:
        if met and isinstance(exc, (ssl.SSLError, ConnectionError)):
            # TLS 1.3 turns a client without a certificate away after the handshake.
            return not ready, _line(f"{url} answers (TLS: it asks for a client certificate)")
        return False, _line(f"{url} does not answer: {str(exc) or type(exc).__name__}")
    finally:
        connection.close()
    if response.status == http.client.UNAUTHORIZED:
        # The password is for people; whoever asks for it is alive.
        return not ready, _line(f"{url} answers (401: it asks for a password)")
    words = "; ".join(line.strip() for line in body.splitlines() if line.strip())
    return response.status == http.client.OK, _line(f"{url} answers {response.status}: {words}")


def _connection(
    address: ListenAddress, *, tls: bool, timeout_s: float
) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(*address, timeout=timeout_s)
    # The certificate is made out to the name that others use, by whatever authority they trust.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(*address, timeout=timeout_s, context=context)


def _has_tls(web_config: Path) -> bool:
    # Not at the top: only those who use TLS pay for the parser.
    import yaml  # noqa: PLC0415 - the reason stands above

    try:
        content = yaml.safe_load(web_config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not YAML"
        raise ConfigError(
            [f"EXPORTER_WEB_CONFIG_FILE: {web_config} cannot be read: {reason}"]
        ) from None
    return isinstance(content, dict) and bool(content.get("tls_server_config"))


def _line(text: str) -> str:
    return escape(text)[:_MAX_LINE_CHARS]
