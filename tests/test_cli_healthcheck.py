"""`healthcheck`: one question to the daemon on this machine, one line, one exit code."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from click.testing import Result

from tests.cli_support import invoke
from tests.delivery_support import make_certificates


@contextlib.contextmanager
def answering(
    status: int, body: bytes, *, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[Any]]]:
    """A server that gives one answer to all; yields host:port, and the requests it has seen."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, dict(self.headers)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def healthcheck(listen: str, *arguments: str, **environ: str) -> Result:
    return invoke("healthcheck", "--timeout", "5", *arguments, EXPORTER_LISTEN=listen, **environ)


def test_a_healthy_daemon_is_0() -> None:
    """It asks /-/healthy, sends nothing secret, and says what it heard."""
    with answering(200, b"Healthy.\n") as (listen, seen):
        result = healthcheck(listen, CONDUIT_API_TOKEN="cdt_hunter2")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"http://{listen}/-/healthy answers 200: Healthy.\n"
    ((path, headers),) = seen
    assert path == "/-/healthy"
    assert "hunter2" not in str(headers)


def test_a_daemon_that_is_not_ready_is_1_and_says_why() -> None:
    """Its reasons on one line, with whatever a terminal would obey written out."""
    body = b"Not ready.\n\n  The first scan of 2 agents\x1b[2J is not complete\r\n"
    with answering(503, body) as (listen, seen):
        result = healthcheck(listen, "--ready")
    assert result.exit_code == 1
    assert result.stdout == (
        f"http://{listen}/-/ready answers 503: "
        r"Not ready.; The first scan of 2 agents\x1b[2J is not complete" + "\n"
    )
    assert seen[0][0] == "/-/ready"


def test_a_daemon_that_asks_for_a_password_is_alive() -> None:
    """Whoever asks for it is there; whether it is ready cannot be known without."""
    with answering(401, b"Unauthorized\n") as (listen, _):
        alive, ready = healthcheck(listen), healthcheck(listen, "--ready")
    assert alive.exit_code == 0
    assert alive.stdout.endswith("/-/healthy answers (401: it asks for a password)\n")
    assert ready.exit_code == 1


def test_nobody_there_is_1() -> None:
    """A closed port, and a server that says no word of HTTP before the time is over."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        listen = f"127.0.0.1:{silent.getsockname()[1]}"
        waited = healthcheck(listen, "--timeout", "0.2")
    refused = healthcheck(listen)
    assert (waited.exit_code, refused.exit_code) == (1, 1)
    assert waited.stdout == f"http://{listen}/-/healthy does not answer: timed out\n"
    assert "does not answer: [Errno 111] Connection refused" in refused.stdout


def test_tls_is_spoken_where_the_daemon_speaks_it(tmp_path: Path) -> None:
    """The web config file says so; on a loopback the certificate need not be made out to it."""
    web = tmp_path / "web.yml"
    web.write_text("tls_server_config:\n  cert_file: a\n  key_file: b\n")
    context = make_certificates(tmp_path).server_context("stranger", mutual=False)
    with answering(200, b"Healthy.\n", tls=context) as (listen, _):
        result = healthcheck(listen, EXPORTER_WEB_CONFIG_FILE=str(web))
    assert result.exit_code == 0, result.output
    assert result.stdout == f"https://{listen}/-/healthy answers 200: Healthy.\n"


def test_settings_that_cannot_be_used_are_2(tmp_path: Path) -> None:
    """The address, the port 0, the web config file, the settings file."""
    absent, broken = tmp_path / "absent.yml", tmp_path / "broken.yml"
    broken.write_text("a: [")
    for environ, said in (
        ({"EXPORTER_LISTEN": "here"}, "EXPORTER_LISTEN: 'here' is no address to listen on"),
        ({"EXPORTER_LISTEN": ":0"}, "EXPORTER_LISTEN: port 0 is another one at each start"),
        (
            {"EXPORTER_WEB_CONFIG_FILE": str(absent)},
            f"EXPORTER_WEB_CONFIG_FILE: {absent} cannot be read: No such file or directory",
        ),
        (
            {"EXPORTER_WEB_CONFIG_FILE": str(broken)},
            f"EXPORTER_WEB_CONFIG_FILE: {broken} cannot be read: it is not YAML",
        ),
    ):
        result = invoke("healthcheck", **environ)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"error: {said}")
    result = invoke("--env-file", str(absent), "healthcheck")
    assert result.exit_code == 2
    assert "absent.yml: cannot be read" in result.stderr


def test_the_address_may_stand_in_the_settings_file(tmp_path: Path) -> None:
    """What the daemon was started with is enough, whatever else stands in it."""
    file = tmp_path / "config.env"
    with answering(200, b"Healthy.\n") as (listen, _):
        file.write_text(f"EXPORTER_LISTEN={listen}\nEXPORTER_NONSENSE=1\n")
        result = invoke("--env-file", str(file), "healthcheck")
    assert result.exit_code == 0, result.output
