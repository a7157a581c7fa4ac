"""TLS with certificates made here: versions, reloads, client certificates, and wrong files."""

import asyncio
import shutil
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from exporter.clock import SystemClock
from exporter.errors import ConfigError
from exporter.web.config_file import WebConfigFile
from exporter.web.connections import WebLimits
from exporter.web.server import WebServer
from exporter.web.tls import names_of
from tests.delivery_support import Certificates, make_certificates
from tests.fakes import FakeClock
from tests.web_support import Answer, Gate, connected, running, web_config_file

SOON_S = 0.2
FILES = "cert_file: server.crt, key_file: server.key"
VERIFIED = "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made once: openssl takes a moment."""
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def certificates(made: Certificates, tmp_path: Path) -> Certificates:
    """A copy of them that a test may spoil."""
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    return Certificates(tmp_path)


def configured(
    certificates: Certificates, text: str = "", *, clock: FakeClock | None = None
) -> WebConfigFile:
    """A web config file beside the certificates, with the server's and these settings of TLS."""
    whole = f"tls_server_config: {{{FILES}{', ' if text else ''}{text}}}"
    return web_config_file(certificates.folder, whole, clock=clock)


def client_context(
    certificates: Certificates,
    *,
    own: str | None = None,
    version: ssl.TLSVersion | None = None,
) -> ssl.SSLContext:
    """A client that trusts our authority, with a certificate of its own or without."""
    context = ssl.create_default_context(cafile=certificates.ca)
    if own is not None:
        context.load_cert_chain(certificates.certificate(own), certificates.key(own))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


async def ask(server: WebServer, context: ssl.SSLContext) -> Answer | None:
    """The answer, None where the server did not let the client in."""
    try:
        async with connected(server, ssl=context) as client:
            return await client.ask()
    except (OSError, asyncio.IncompleteReadError):
        return None


def answer_to(config_file: WebConfigFile, context: ssl.SSLContext) -> Answer | None:
    async def scenario() -> Answer | None:
        async with running(config_file=config_file) as server:
            assert server.url.startswith("https://127.0.0.1:")
            return await ask(server, context)

    return asyncio.run(scenario())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_pages_are_served_over_tls(certificates: Certificates, version: ssl.TLSVersion) -> None:
    """With both versions that are safe."""
    answer = answer_to(configured(certificates), client_context(certificates, version=version))
    assert answer is not None
    assert answer.text == "Healthy\n"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("min_version: TLS13", ssl.TLSVersion.TLSv1_2),
        ("max_version: TLS12", ssl.TLSVersion.TLSv1_3),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", ssl.TLSVersion.TLSv1_2),
    ],
)
def test_a_version_that_is_not_wanted_is_refused(
    certificates: Certificates, text: str, version: ssl.TLSVersion
) -> None:
    """Suites of one version alone leave the other out."""
    context = client_context(certificates, version=version)
    assert answer_to(configured(certificates, text), context) is None


@pytest.mark.parametrize(
    "text",
    [
        "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]",
        "curve_preferences: [CurveP384]",
        "prefer_server_cipher_suites: false",
        "cipher_suites: [TLS_AES_128_GCM_SHA256]",
    ],
)
def test_every_choice_makes_a_context_that_works(certificates: Certificates, text: str) -> None:
    """Each of them with an ordinary client."""
    assert answer_to(configured(certificates, text), client_context(certificates)) is not None


def test_no_version_below_one_point_two_is_spoken(certificates: Certificates) -> None:
    """Whatever OpenSSL would allow."""
    context = configured(certificates).context
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_changed_certificate_is_served_to_the_next_connection(
    certificates: Certificates,
) -> None:
    """Without a restart; connections that are open stay."""

    async def subject(server: WebServer, context: ssl.SSLContext) -> object:
        async with connected(server, ssl=context) as client:
            return client.writer.get_extra_info("peercert")["subject"]

    async def scenario() -> tuple[object, object, int]:
        clock = FakeClock()
        config_file = configured(certificates, clock=clock)
        context = client_context(certificates)
        context.check_hostname = False
        async with running(config_file=config_file) as server:
            before = await subject(server, context)
            async with connected(server, ssl=context) as kept:
                for kind in ("crt", "key"):
                    new = certificates.folder / f"other.{kind}"
                    new.replace(certificates.folder / f"server.{kind}")
                clock.advance(1)
                after = await subject(server, context)
                return before, after, (await kept.ask()).status

    before, after, status = asyncio.run(scenario())
    assert (before, after) == (((("commonName", "server"),),), ((("commonName", "other"),),))
    assert status == 200


def test_a_spoilt_certificate_leaves_the_former_in_use(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """A renewal that went wrong is told and shown, and closes the door to nobody."""

    async def scenario() -> tuple[Answer | None, bool | None]:
        clock = FakeClock()
        config_file = configured(certificates, clock=clock)
        async with running(config_file=config_file) as server:
            certificates.certificate("server").write_text("half of it")
            clock.advance(1)
            return await ask(server, client_context(certificates)), config_file.reloaded

    answer, reloaded = asyncio.run(scenario())
    assert answer is not None
    assert reloaded is False
    assert "do not load" in caplog.text


@pytest.mark.parametrize("before", ["tls", "plain"])
def test_tls_is_not_switched_while_running(
    certificates: Certificates, before: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A page that asked for TLS yesterday does not take passwords in the clear today."""
    texts = {"tls": f"tls_server_config: {{{FILES}}}", "plain": "{}"}
    clock = FakeClock()
    config_file = web_config_file(certificates.folder, texts.pop(before), clock=clock)
    (certificates.folder / "web.yml").write_text(texts.popitem()[1])
    clock.advance(1)
    config_file.refresh()
    assert (config_file.context is not None) is (before == "tls")
    assert config_file.reloaded is False
    assert "TLS can be switched on or off by a restart alone" in caplog.text


@pytest.mark.parametrize(
    ("text", "own", "let_in"),
    [
        (VERIFIED, "client", True),
        (VERIFIED, None, False),
        (VERIFIED, "stranger", False),
        (VERIFIED.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven"), None, True),
        (VERIFIED.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven"), "client", True),
        (
            VERIFIED.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven"),
            "stranger",
            False,
        ),
        (f"{VERIFIED}, client_allowed_sans: [localhost, y]", "server", True),
        (f"{VERIFIED}, client_allowed_sans: [127.0.0.1]", "server", True),
        (f"{VERIFIED}, client_allowed_sans: [localhost]", "other", False),
        (f"{VERIFIED}, client_allowed_sans: [localhost]", "client", False),
    ],
)
def test_client_certificates_decide_who_is_let_in(
    certificates: Certificates, text: str, own: str | None, *, let_in: bool
) -> None:
    """Required, or verified where given; and by name where names are listed."""
    answer = answer_to(configured(certificates, text), client_context(certificates, own=own))
    assert (answer is not None) is let_in


def test_an_authority_may_stand_inside_the_file(certificates: Certificates) -> None:
    """Its certificate is public."""
    inline = certificates.ca.read_text().replace("\n", "\\n")
    text = f'client_auth_type: RequireAndVerifyClientCert, client_ca: "{inline}"'
    config_file = configured(certificates, text)
    assert answer_to(config_file, client_context(certificates, own="client")) is not None
    assert answer_to(config_file, client_context(certificates)) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "cert_file: none.crt, key_file: server.key",
            "tls_server_config.cert_file: {0}/none.crt cannot be read: No such file or directory",
        ),
        (
            "cert_file: server.crt, key_file: none.key",
            "tls_server_config.key_file: {0}/none.key cannot be read: No such file or directory",
        ),
        (
            "cert_file: server.crt, key_file: client.key",
            "tls_server_config: {0}/server.crt and {0}/client.key do not load: key values mismatch",
        ),
        (
            "cert_file: client.key, key_file: client.key",
            "tls_server_config: {0}/client.key and {0}/client.key do not load: ",
        ),
        (
            "cert_file: client.crt, key_file: locked.key",
            "tls_server_config: {0}/client.crt and {0}/locked.key do not load: ",
        ),
        (
            f"{FILES}, {VERIFIED.replace('ca.crt', 'none')}",
            "tls_server_config.client_ca_file: {0}/none cannot be read: No such file or directory",
        ),
        (f"{FILES}, {VERIFIED.replace('ca.crt', 'web.yml')}", "tls_server_config: "),
        (
            f"{FILES}, client_auth_type: RequireAndVerifyClientCert, client_ca: nonsense",
            "tls_server_config: ",
        ),
        (
            f"{FILES}, max_version: TLS12, cipher_suites: [TLS_AES_128_GCM_SHA256]",
            "tls_server_config.cipher_suites: holds none for TLS12",
        ),
    ],
    ids=["cert", "key", "mismatch", "no cert", "locked", "no CA", "odd CA", "odd inline", "suites"],
)
def test_wrong_files_are_refused_at_the_start(
    certificates: Certificates, text: str, problem: str
) -> None:
    """With the setting and the file, and without asking a terminal for a password."""
    path = certificates.folder / "web.yml"
    path.write_text(f"tls_server_config: {{{text}}}")
    with pytest.raises(ConfigError) as caught:
        WebConfigFile(path, clock=SystemClock())
    (found,) = caught.value.problems
    assert found.startswith(f"{path}: {problem.format(certificates.folder)}")


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00\x05hello"]
)
def test_what_is_no_handshake_is_closed(certificates: Certificates, said: bytes) -> None:
    """Nothing is served, nothing is logged as an error, and the next client is let in."""

    async def scenario() -> tuple[bytes, Answer | None]:
        async with running(config_file=configured(certificates)) as server:
            async with connected(server) as client:
                client.send(said)
                received = await client.rest()
            return received, await ask(server, client_context(certificates))

    received, answer = asyncio.run(scenario())
    assert b"HTTP" not in received
    assert answer is not None


def test_a_handshake_has_a_deadline(certificates: Certificates) -> None:
    """A silent client holds its place no longer than a header may take."""

    async def scenario() -> bytes:
        limits = WebLimits(header_s=SOON_S)
        config_file = configured(certificates)
        async with (
            running(config_file=config_file, limits=limits) as server,
            connected(server) as client,
        ):
            return await client.rest()

    assert asyncio.run(scenario()) == b""


def test_unfinished_handshakes_give_way(certificates: Certificates) -> None:
    """They have places in the same table as all other connections."""

    async def scenario() -> tuple[Answer | None, int]:
        limits = WebLimits(connections=2)
        async with (
            running(config_file=configured(certificates), limits=limits) as server,
            connected(server) as one,
            connected(server),
            connected(server),
        ):
            assert await one.rest() == b""
            return await ask(server, client_context(certificates)), server.connections

    answer, connections = asyncio.run(scenario())
    assert answer is not None
    assert connections <= 2


def test_there_is_no_handshake_when_all_are_busy(certificates: Certificates) -> None:
    """It would cost more than the answer."""

    async def scenario() -> tuple[bytes, bytes]:
        gate = Gate()
        limits = WebLimits(connections=1)
        context = client_context(certificates)
        async with (
            running(config_file=configured(certificates), limits=limits, app=gate) as server,
            connected(server, ssl=context) as busy,
        ):
            busy.request()
            await gate.asked.acquire()
            async with connected(server) as other:
                refused = await other.rest()
            gate.opened.set()
            return refused, (await busy.answer()).body

    assert asyncio.run(scenario()) == (b"", b"done")


def test_stopping_ends_handshakes_and_connections(certificates: Certificates) -> None:
    """An unfinished one is not waited for beyond the time to drain."""

    async def scenario() -> bytes:
        limits = WebLimits(drain_s=SOON_S)
        config_file = configured(certificates)
        context = client_context(certificates)
        async with (
            running(config_file=config_file, limits=limits) as server,
            connected(server) as silent,
            connected(server, ssl=context) as idle,
        ):
            assert (await idle.ask()).status == 200
            await server.stop()
            with suppress(ssl.SSLError):
                assert await idle.rest() == b""
            return await silent.rest()

    assert asyncio.run(scenario()) == b""


def test_names_are_written_as_go_does() -> None:
    """An address in its shortest form, other kinds of names as they are, the rest not at all."""
    certificate = {
        "subjectAltName": (
            ("DNS", "a.example"),
            ("IP Address", "FD00:0:0:0:0:0:0:2"),
            ("IP Address", "10.0.0.1"),
            ("email", "x@example"),
            ("URI", "spiffe://x"),
            ("DirName", "no"),
        )
    }
    assert list(names_of(certificate)) == [
        "a.example",
        "fd00::2",
        "10.0.0.1",
        "x@example",
        "spiffe://x",
    ]
    assert list(names_of(None)) == []
