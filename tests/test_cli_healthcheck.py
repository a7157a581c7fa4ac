"""`healthcheck`: one question to the daemon on this machine, one line, one exit code."""

import shutil
import socket
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli_support import invoke
from tests.delivery_support import Certificates
from tests.web_support import HASHED, Served, serving, web_config_file


def listen_of(served: Served) -> str:
    return served.url.rpartition("/")[2]


def healthcheck(listen: str, *arguments: str, **environ: str) -> Result:
    return invoke("healthcheck", "--timeout", "5", *arguments, EXPORTER_LISTEN=listen, **environ)


def test_a_healthy_daemon_is_0(tmp_path: Path) -> None:
    """Also where the settings file names the address, whatever else stands in it."""
    file = tmp_path / "config.env"
    with serving() as served:
        file.write_text(f"EXPORTER_LISTEN={listen_of(served)}\nEXPORTER_NONSENSE=1\n")
        results = healthcheck(listen_of(served)), invoke("--env-file", str(file), "healthcheck")
    for result in results:
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"{served.url}/-/healthy answers 200: Healthy\n"


def test_a_daemon_that_is_not_ready_is_1_and_says_why() -> None:
    """Its reasons on one line, with whatever a terminal would obey written out."""
    with serving(not_ready=lambda: ("The disk is full", "Agents\x1b[2J are not known")) as served:
        result = healthcheck(listen_of(served), "--ready")
    assert result.exit_code == 1
    said = r"The disk is full; Agents\x1b[2J are not known"
    assert result.stdout == f"{served.url}/-/ready answers 503: {said}\n"


def test_nobody_there_is_1() -> None:
    """A closed port, and a server that says no word of HTTP before the time is over."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        listen = f"127.0.0.1:{silent.getsockname()[1]}"
        waited = healthcheck(listen, "--timeout", "0.2")
    refused = healthcheck(listen)
    assert (waited.exit_code, refused.exit_code) == (1, 1)
    assert waited.stdout == f"http://{listen}/-/healthy does not answer: timed out\n"
    assert "does not answer: [Errno 111] Connection refused" in refused.stdout


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"EXPORTER_LISTEN": "here"}, "EXPORTER_LISTEN: 'here' is no address to listen on"),
        ({"EXPORTER_LISTEN": ":0"}, "EXPORTER_LISTEN: port 0 is another one at each start"),
        (
            {"EXPORTER_WEB_CONFIG_FILE": "/absent"},
            "EXPORTER_WEB_CONFIG_FILE: /absent cannot be read: No such file or directory",
        ),
        (
            {"EXPORTER_WEB_CONFIG_FILE": __file__},
            f"EXPORTER_WEB_CONFIG_FILE: {__file__} cannot be read: it is not YAML",
        ),
    ],
    ids=["address", "port 0", "no file", "no YAML"],
)
def test_settings_that_cannot_be_used_are_2(environ: dict[str, str], said: str) -> None:
    """Told under the name of the setting."""
    result = invoke("healthcheck", **environ)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {said}")


SERVER = "cert_file: server.crt, key_file: server.key"
STRANGER = "cert_file: stranger.crt, key_file: stranger.key"
VERIFIED = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"


@pytest.mark.parametrize(
    ("text", "said", "ready"),
    [
        (f"basic_auth_users: {{alice: {HASHED}}}", "answers (401: it asks for a password)", 1),
        (f"tls_server_config: {{{STRANGER}}}", "answers 200: ", 0),
        (f"tls_server_config: {{{SERVER}, min_version: TLS13}}", "answers 200: ", 0),
        (
            f"tls_server_config: {{{SERVER}, {VERIFIED}}}",
            "answers (TLS: it asks for a client certificate)",
            1,
        ),
    ],
    ids=["password", "unknown authority", "TLS 1.3", "client certificate"],
)
def test_each_web_config_that_the_server_accepts_is_healthy(
    certificates: Certificates, tmp_path: Path, text: str, said: str, ready: int
) -> None:
    """Whoever asks who we are is alive, and cannot be known to be ready; the probe trusts anyone.

    The address is no loopback by its looks.
    """
    shutil.copytree(certificates.folder, tmp_path, dirs_exist_ok=True)
    with serving(config_file=web_config_file(tmp_path, text)) as served:
        listen = listen_of(served).replace("127.0.0.1", "127.1")
        environ = {"EXPORTER_WEB_CONFIG_FILE": str(tmp_path / "web.yml")}
        results = healthcheck(listen, **environ), healthcheck(listen, "--ready", **environ)
    scheme = served.url.partition(":")[0]
    for result, path in zip(results, ("healthy", "ready"), strict=True):
        assert result.stdout.startswith(f"{scheme}://{listen}/-/{path} {said}"), result.output
    assert [result.exit_code for result in results] == [0, ready]
