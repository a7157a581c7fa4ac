"""The web config file: what is supported, what is refused, how a change is taken over, TLS."""

import logging
import shutil
import ssl
from pathlib import Path

import httpx
import pytest

from exporter.errors import ConfigError
from exporter.web.config import WebConfigFile, parse_web_config
from tests.delivery_support import Certificates
from tests.fakes import FakeClock
from tests.web_support import HASHED, HASHED_ANOTHER, Served, basic, serving, web_config_file

FOLDER = Path("/etc/exporter")
SECRET = "hunter2-do-not-print"
FILES = "cert_file: server.crt, key_file: server.key"
VERIFIED = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"
IF_GIVEN = VERIFIED.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven")
ALICE = f"basic_auth_users: {{alice: {HASHED}}}\n"
BOB = f"basic_auth_users: {{bob: {HASHED_ANOTHER}}}\n"
NO_HASH = "is not a bcrypt hash; `htpasswd -nBC 10 NAME` makes one"


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_web_config(text, folder=FOLDER)
    return caught.value.problems


def test_what_is_supported_is_understood() -> None:
    """As the toolkit's documentation writes it; relative paths start at the file's folder."""
    config = parse_web_config(
        f"""
tls_server_config:
  cert_file: server.crt
  key_file: /keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  min_version: TLS13
http_server_config:
  http2: false
{ALICE}""",
        folder=FOLDER,
    )
    tls = config.tls_server_config
    assert tls is not None
    assert (tls.cert_file, tls.key_file) == (FOLDER / "server.crt", Path("/keys/server.key"))
    assert (tls.client_ca_file, tls.min_version) == (FOLDER / "ca.crt", "TLS13")
    assert config.basic_auth_users == {"alice": HASHED}
    assert HASHED not in repr(config)


def tls(text: str) -> str:
    return f"tls_server_config: {{{FILES}, {text}}}"


BAD = {
    "[]": "the file: ",
    "tls_server_config: [a]": "tls_server_config: ",
    "basic_auth_user: {}": "basic_auth_user: is not supported; supported are tls_server_config, "
    "http_server_config, basic_auth_users",
    "rate_limit: {interval: 1s, burst: 1}": "rate_limit: is not supported; ",
    "a: [": "line 1: not YAML",
    "a: !!python/name:os.system x": "line 1: not YAML",
    "[" * 1000: "not YAML",
    "tls_server_config: {cert_file: c}": "tls_server_config.key_file: field required",
    tls(f"cert: {SECRET}"): "tls_server_config.cert: is not supported; supported are cert_file, "
    "key_file, client_auth_type, client_ca_file, min_version",
    tls(f"key: {SECRET}"): "tls_server_config.key: is not supported; ",
    tls("min_version: TLS11"): "tls_server_config.min_version: input should be 'TLS12' or 'TLS13'",
    tls("client_auth_type: RequireAnyClientCert"): "tls_server_config.client_auth_type: input "
    "should be 'NoClientCert', 'VerifyClientCertIfGiven' or 'RequireAndVerifyClientCert'",
    tls("client_auth_type: RequireAndVerifyClientCert"): "tls_server_config: client_ca_file and a",
    tls("client_ca_file: ca.pem"): "tls_server_config: client_ca_file and a",
    "http_server_config: {http2: true}": "http_server_config.http2: input should be False",
    f"basic_auth_users: {{alice: {SECRET}}}": f"basic_auth_users.alice: {NO_HASH}",
    f"basic_auth_users: {{bob: {HASHED.replace('$2b', '$2')}}}": f"basic_auth_users.bob: {NO_HASH}",
    f"basic_auth_users: {{5: {HASHED}}}": "basic_auth_users.5: input should be a valid string",
    f"basic_auth_users: {{'a:b': {HASHED}}}": "basic_auth_users.a:b: a user name has ",
    f"basic_auth_users: {{alice: {HASHED.replace('$04$', '$17$')}}}": "basic_auth_users.alice: "
    "bcrypt's cost must be from 4 to 16",
}


@pytest.mark.parametrize(("text", "problem"), BAD.items(), ids=[str(n) for n in range(len(BAD))])
def test_what_is_not_supported_is_refused(text: str, problem: str) -> None:
    """By its name and with what is supported, and never with a value that may be a secret."""
    problems = problems_of(text)
    assert problems[0].startswith(problem)
    assert SECRET not in "\n".join(problems)
    assert HASHED not in "\n".join(problems)


@pytest.mark.parametrize(
    "text",
    [
        f"basic_auth_users:\n  alice: {SECRET}\n bad indent",
        f"basic_auth_users: *{SECRET}",
        f"basic_auth_users: {{alice: &{SECRET} x, bob: &{SECRET} y}}",
        f"{SECRET}",
        f"basic_auth_users: [{SECRET}]",
        f"tls_server_config: {{min_version: {SECRET}, client_auth_type: {SECRET}}}",
    ],
)
def test_a_value_is_never_repeated(text: str) -> None:
    """Not even of a file that is not YAML: what stands there may be a hash or a key."""
    assert SECRET not in "\n".join(problems_of(text))


def replace_file(path: Path, text: str) -> None:
    """Put another file in its place, as a mounted secret is."""
    other = path.with_suffix(".new")
    other.write_text(text, encoding="utf-8")
    other.replace(path)


def test_a_changed_file_is_taken_over_while_serving(tmp_path: Path) -> None:
    """Without a restart and without a request: a password that was removed opens nothing."""
    config_file = web_config_file(tmp_path, ALICE)
    with serving(config_file=config_file, clock=FakeClock()) as served:
        old, new = basic("alice", "correct horse battery"), basic("bob", "another")
        assert served.ask(headers=old).status_code == 200
        replace_file(tmp_path / "web.yml", BOB)
        served.wait_for(lambda: "bob" in config_file.users)
        assert served.ask(headers=old).status_code == 401
        assert served.ask(headers=new).status_code == 200


def test_a_wrong_file_leaves_the_former_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once for each change, with the reason and without what the file holds; then mended."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "web.yml"
    config_file = web_config_file(tmp_path, ALICE)
    replace_file(path, "basic_auth_users: {alice: hunter2, bob: hunter3}\n")
    for _ in range(2):
        config_file.refresh()
    assert (list(config_file.users), config_file.reloaded) == (["alice"], False)
    path.unlink()
    config_file.refresh()
    assert (list(config_file.users), config_file.reloaded) == (["alice"], False)
    replace_file(path, BOB)
    config_file.refresh()
    assert (list(config_file.users), config_file.reloaded) == (["bob"], True)
    wrong, gone, mended = caplog.messages
    assert wrong.startswith(f"The web config file was not reloaded: {path}: basic_auth_users.alice")
    assert gone.endswith(f"{path}: cannot be read: No such file or directory")
    assert mended == "The web config file was reloaded"
    assert "hunter" not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)


@pytest.fixture
def certificates(certificates: Certificates, tmp_path: Path) -> Certificates:
    """A copy of them that a test may spoil."""
    shutil.copytree(certificates.folder, tmp_path, dirs_exist_ok=True)
    return Certificates(tmp_path)


def configured(certificates: Certificates, text: str = "") -> WebConfigFile:
    """A web config file beside the certificates, with the server's and these settings of TLS."""
    return web_config_file(certificates.folder, f"tls_server_config: {{{FILES}, {text}}}")


def client_context(certificates: Certificates, *, own: str | None = None) -> ssl.SSLContext:
    """A client that trusts our authority, with a certificate of its own or without."""
    context = ssl.create_default_context(cafile=certificates.ca)
    if own is not None:
        context.load_cert_chain(certificates.certificate(own), certificates.key(own))
    return context


def is_let_in(served: Served, context: ssl.SSLContext) -> bool:
    try:
        return served.ask(verify=context).text == "Healthy\n"
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("text", "own", "let_in"),
    [
        (VERIFIED, "client", True),
        (VERIFIED, None, False),
        (VERIFIED, "stranger", False),
        (IF_GIVEN, None, True),
        (IF_GIVEN, "client", True),
        (IF_GIVEN, "stranger", False),
    ],
)
def test_client_certificates_decide_who_is_let_in(
    certificates: Certificates, text: str, own: str | None, *, let_in: bool
) -> None:
    """Required, or verified where given."""
    with serving(config_file=configured(certificates, text)) as served:
        assert is_let_in(served, client_context(certificates, own=own)) is let_in


def test_changed_certificates_are_those_of_the_next_connection(certificates: Certificates) -> None:
    """Whole: certificate, authority and lowest version; connections that are open stay."""
    config_file = configured(certificates)
    assert config_file.context is not None
    assert config_file.context.minimum_version == ssl.TLSVersion.TLSv1_2
    context = client_context(certificates)
    with serving(config_file=config_file) as served, httpx.Client(verify=context) as kept:
        assert kept.get(f"{served.url}/-/healthy").status_code == 200
        for kind in ("crt", "key"):
            (certificates.folder / f"other.{kind}").replace(certificates.folder / f"server.{kind}")
        config_file.refresh()
        # It is made out to another name.
        assert not is_let_in(served, client_context(certificates))
        assert kept.get(f"{served.url}/-/healthy").status_code == 200
        replace_file(
            certificates.folder / "web.yml",
            "tls_server_config: {cert_file: stranger.crt, key_file: stranger.key, "
            f"{VERIFIED}, min_version: TLS13}}",
        )
        config_file.refresh()
        stranger = client_context(certificates, own="client")
        stranger.load_verify_locations(certificates.certificate("stranger"))
        stranger.check_hostname = False
        assert is_let_in(served, stranger)
        stranger.maximum_version = ssl.TLSVersion.TLSv1_2
        assert not is_let_in(served, stranger)


@pytest.mark.parametrize("before", ["tls", "plain"])
def test_tls_is_not_switched_while_running(
    certificates: Certificates, before: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A page that asked for TLS yesterday does not take passwords in the clear today."""
    texts = {"tls": f"tls_server_config: {{{FILES}}}", "plain": "{}"}
    config_file = web_config_file(certificates.folder, texts.pop(before))
    replace_file(certificates.folder / "web.yml", texts.popitem()[1])
    config_file.refresh()
    assert (config_file.context is not None) is (before == "tls")
    assert config_file.reloaded is False
    assert "only a restart switches TLS on or off" in caplog.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cert_file: x.crt, key_file: server.key", "cert_file {0}/x.crt and key_file "),
        ("cert_file: server.crt, key_file: client.key", "cert_file {0}/server.crt and key_file "),
        ("cert_file: client.key, key_file: client.key", "cert_file {0}/client.key and key_file "),
        ("cert_file: client.crt, key_file: locked.key", "cert_file {0}/client.crt and key_file "),
        (f"{FILES}, {VERIFIED.replace('ca.crt', 'none')}", "client_ca_file {0}/none cannot be "),
        (f"{FILES}, {VERIFIED.replace('ca.crt', 'web.yml')}", "client_ca_file {0}/web.yml cannot "),
    ],
    ids=["no cert", "mismatch", "no certificate inside", "locked", "no CA", "odd CA"],
)
def test_wrong_certificates_are_refused_at_the_start(
    certificates: Certificates, text: str, problem: str
) -> None:
    """With the setting and the file, and without asking a terminal for a password."""
    with pytest.raises(ConfigError) as caught:
        web_config_file(certificates.folder, f"tls_server_config: {{{text}}}")
    (found,) = caught.value.problems
    path = certificates.folder / "web.yml"
    assert found.startswith(f"{path}: tls_server_config: {problem.format(certificates.folder)}")


def test_certificates_may_arrive_after_the_file_that_names_them(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be loaded yet is tried again, told once, and taken over when it is whole."""
    config_file = configured(certificates)
    former = config_file.context
    text = "tls_server_config: {cert_file: late.crt, key_file: late.key}"
    replace_file(certificates.folder / "web.yml", text)
    for kind in ("crt", "key"):
        config_file.refresh()
        assert (config_file.reloaded, config_file.context) == (False, former)
        shutil.copy(certificates.folder / f"other.{kind}", certificates.folder / f"late.{kind}")
    config_file.refresh()
    assert config_file.reloaded is True
    assert config_file.context is not former
    assert len(caplog.messages) == 1


def test_only_a_restart_switches_passwords_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is empty while it is written opens nothing; written, it is taken over."""
    config_file = web_config_file(tmp_path, ALICE)
    for text in ("", "basic_auth_users: {}"):
        replace_file(tmp_path / "web.yml", text)
        config_file.refresh()
        assert (list(config_file.users), config_file.reloaded) == (["alice"], False)
    assert "only a restart switches passwords off" in caplog.text
    replace_file(tmp_path / "web.yml", BOB)
    config_file.refresh()
    assert (list(config_file.users), config_file.reloaded) == (["bob"], True)
    assert not web_config_file(tmp_path, "").users
