"""Where traces go: the OTEL_EXPORTER_OTLP_* settings, their rules and their mistakes."""

from pathlib import Path

import pytest

from exporter.app.adapters import endpoint_of
from exporter.delivery.endpoint import OtlpEndpoint
from exporter.errors import ConfigError
from exporter.http_client import TlsFiles
from exporter.settings.loading import load
from exporter.settings.model import Settings

OTLP = "OTEL_EXPORTER_OTLP_"
SECRET = "t0ps3cr3t"
NO_URL = "is no web URL; allowed: http(s)://host[:port][/path]"


def settings_with(**options: str) -> Settings:
    named = {OTLP + name: value for name, value in options.items()}
    return load({"CONDUIT_API_TOKEN": "cdt_live_0123456789", **named})


def resolve(**options: str) -> OtlpEndpoint:
    return endpoint_of(settings_with(**options))


def problems(**options: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolve(**options)
    return caught.value.problems


def test_nothing_set_is_the_default_of_the_specification() -> None:
    """A collector on this machine, over http/protobuf, ten seconds, no compression."""
    endpoint = resolve()
    assert endpoint == OtlpEndpoint()
    assert endpoint.target == "http://localhost:4318/v1/traces"
    assert (endpoint.timeout_s, endpoint.gzip, endpoint.tls) == (10.0, False, None)
    assert resolve(PROTOCOL="grpc").target == "localhost:4317"


@pytest.mark.parametrize(
    ("general", "target"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://otel.example/otlp", "https://otel.example/otlp/v1/traces"),
        ("https://otel.example/otlp?tenant=a", "https://otel.example/otlp/v1/traces?tenant=a"),
        ("https://otel.example/#top", "https://otel.example/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
        ("http://bücher.example", "http://xn--bcher-kva.example/v1/traces"),
        ("  http://collector:4318  ", "http://collector:4318/v1/traces"),
    ],
)
def test_the_general_endpoint_is_a_base(general: str, target: str) -> None:
    """The path of the signal is appended to it."""
    assert resolve(ENDPOINT=general).target == target


@pytest.mark.parametrize(
    ("own", "target"),
    [
        ("http://tempo:4318", "http://tempo:4318/"),
        ("http://tempo:4318/v1/traces", "http://tempo:4318/v1/traces"),
        ("https://apm.example/in?key=1", "https://apm.example/in?key=1"),
    ],
)
def test_the_endpoint_for_traces_is_taken_as_it_is(own: str, target: str) -> None:
    """Nothing is appended, and it wins over the general one."""
    assert resolve(ENDPOINT="http://other:4318", TRACES_ENDPOINT=own).target == target


def test_every_form_for_traces_wins_over_the_general_one(tmp_path: Path) -> None:
    """Each option by itself."""
    for name in "abcdef":
        (tmp_path / name).touch()
    general = {
        "PROTOCOL": "grpc",
        "ENDPOINT": "http://a:1",
        "HEADERS": "a=1",
        "TIMEOUT": "1000",
        "COMPRESSION": "none",
        "CERTIFICATE": f"{tmp_path}/a",
        "CLIENT_CERTIFICATE": f"{tmp_path}/c",
        "CLIENT_KEY": f"{tmp_path}/e",
    }
    own = ("http/protobuf", "https://b:2/x", "b=2", "2000", "gzip")
    files = (f"{tmp_path}/{name}" for name in "bdf")
    of_traces = dict(zip((f"TRACES_{name}" for name in general), (*own, *files), strict=True))
    endpoint = resolve(**general, **of_traces)
    assert endpoint == OtlpEndpoint(
        protocol="http/protobuf",
        target="https://b:2/x",
        destination="https://b:2/x",
        tls=TlsFiles(
            ca=tmp_path / "b", client_certificate=tmp_path / "d", client_key=tmp_path / "f"
        ),
        headers=(("b", "2"),),
        timeout_s=2.0,
        gzip=True,
    )


def test_an_empty_value_counts_as_unset() -> None:
    """As the specification says; so an empty form for traces does not hide the general one."""
    options = ("ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION", "INSECURE")
    assert resolve(**dict.fromkeys(options, " ")) == OtlpEndpoint()
    assert resolve(TRACES_TIMEOUT="", TIMEOUT="5000").timeout_s == 5.0


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("api-key=abc", (("api-key", "abc"),)),
        ("Authorization=Basic%20dTpw", (("authorization", "Basic dTpw"),)),
        (" a = 1 , b = 2 ,", (("a", "1"), ("b", "2"))),
        ("a=x%3Dy%2Cz", (("a", "x=y,z"),)),
        ("a=dTpw==", (("a", "dTpw=="),)),
        ("a=1,A=2", (("a", "2"),)),
        ("a=100%", (("a", "100%"),)),
    ],
)
def test_headers_are_percent_decoded(text: str, headers: tuple[tuple[str, str], ...]) -> None:
    """W3C Baggage without its properties: names fold, the last of a name counts."""
    assert resolve(HEADERS=text).headers == headers


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("novalue", "item 1 is not key=value; allowed: key=value, by commas"),
        ("a=1,=2", "item 2 is not key=value; allowed: key=value, by commas"),
        ("a b=1", "holds a name that no header has (a comma in a value is %2C)"),
        ("content-type=text/plain", "content-type is set by the exporter itself"),
        ("Host=x", "host is set by the exporter itself"),
        ("grpc-timeout=1S", "grpc-timeout is set by the exporter itself"),
        (f"a={SECRET}%0D%0Ax", "the value of a has characters that no header has"),
        (f"a={SECRET}%C3%A9", "the value of a has characters that no header has"),
        (f"a={SECRET}%FF", "the value of a has characters that no header has"),
    ],
)
def test_a_bad_header_is_named_and_its_value_is_not(text: str, problem: str) -> None:
    """The message helps to find it and gives nothing away."""
    assert problems(HEADERS=text) == [f"{OTLP}HEADERS: {problem}"]
    assert problems(TRACES_HEADERS=text) == [f"{OTLP}TRACES_HEADERS: {problem}"]


@pytest.mark.parametrize(
    "text",
    [
        *("localhost:4318", "ftp://a", "http://", "http:///v1/traces", "collector", "http://a b"),
        *("http://a:99999", "http://a:port", "http://[::1", "http://1.2.3.999"),
    ],
)
def test_an_endpoint_that_is_no_url_is_named(text: str) -> None:
    """By the variable that was typed."""
    assert problems(ENDPOINT=text) == [f"{OTLP}ENDPOINT: {NO_URL}"]
    assert problems(TRACES_ENDPOINT=text) == [f"{OTLP}TRACES_ENDPOINT: {NO_URL}"]


def test_a_client_certificate_needs_its_key(tmp_path: Path) -> None:
    """And the other way round."""
    file = tmp_path / "file"
    file.touch()
    together = f"a client certificate and its key ({OTLP}CLIENT_KEY) go together"
    assert problems(ENDPOINT="https://a", TRACES_CLIENT_CERTIFICATE=str(file)) == [
        f"{OTLP}TRACES_CLIENT_CERTIFICATE: {together}; the key is missing"
    ]
    assert problems(ENDPOINT="https://a", CLIENT_KEY=str(file)) == [
        f"{OTLP}CLIENT_CERTIFICATE: {together}; this is missing"
    ]


@pytest.mark.parametrize(
    ("text", "insecure", "target", "secure", "destination"),
    [
        ("http://a:4317", "", "a:4317", False, "http://a:4317"),
        ("http://a:4317", "false", "a:4317", False, "http://a:4317"),
        ("https://a:4317/", "true", "a:4317", True, "https://a:4317"),
        ("https://a", "", "a:443", True, "https://a:443"),
        ("http://a", "", "a:80", False, "http://a:80"),
        ("http://[::1]:4317", "", "[::1]:4317", False, "http://[::1]:4317"),
        ("a:4317", "", "a:4317", True, "a:4317 (TLS)"),
        ("a:4317", "False", "a:4317", True, "a:4317 (TLS)"),
        ("a:4317", "true", "a:4317", False, "a:4317 (plain)"),
        ("dns:///a:4317", "TRUE", "dns:///a:4317", False, "dns:///a:4317 (plain)"),
        (
            "unix:/run/otel.sock",
            "true",
            "unix:/run/otel.sock",
            False,
            "unix:/run/otel.sock (plain)",
        ),
    ],
)
def test_the_scheme_decides_and_insecure_only_where_there_is_none(
    text: str, insecure: str, target: str, destination: str, *, secure: bool
) -> None:
    """The specification's rule for gRPC; without either the connection is encrypted."""
    endpoint = resolve(PROTOCOL="grpc", ENDPOINT=text, INSECURE=insecure)
    assert endpoint.target == target
    assert (endpoint.tls is not None, endpoint.destination) == (secure, destination)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"ENDPOINT": "http://a:4317/v1/traces"},
            (
                "ENDPOINT: has a path, and gRPC has none; leave it out, "
                f"or set {OTLP}PROTOCOL=http/protobuf"
            ),
        ),
        ({"ENDPOINT": f"me:{SECRET}@a:4317"}, "ENDPOINT: is neither a URL nor a gRPC target"),
        ({"ENDPOINT": "a b"}, "ENDPOINT: is neither a URL nor a gRPC target"),
        ({"ENDPOINT": "http://"}, f"ENDPOINT: {NO_URL}"),
    ],
)
def test_a_bad_grpc_target_is_named(options: dict[str, str], problem: str) -> None:
    """Before a channel would fail on it for ever."""
    assert problems(PROTOCOL="grpc", **options) == [OTLP + problem]


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ({"ENDPOINT": "http://a:4317"}, "4317 is usually the port of grpc"),
        ({"ENDPOINT": "http://a:4318", "PROTOCOL": "grpc"}, "4318 is usually the port of http/"),
        (
            {"ENDPOINT": "http://a:1", "HEADERS": "k=v"},
            "http://a:1/v1/traces are sent unencrypted",
        ),
    ],
)
def test_what_works_but_is_rarely_meant_is_a_warning(options: dict[str, str], warning: str) -> None:
    """Told at the start, and never a reason not to start."""
    (found,) = settings_with(**options).warnings
    assert warning in found


def test_secrets_are_in_no_repr_and_no_destination() -> None:
    """Not the header values, and not the query of the URL."""
    settings = settings_with(
        ENDPOINT=f"https://a.example/in?key={SECRET}", HEADERS=f"authorization=Bearer%20{SECRET}"
    )
    endpoint = endpoint_of(settings)
    assert SECRET not in repr(settings)
    assert SECRET in endpoint.target
    assert SECRET not in repr(endpoint)
    assert SECRET not in endpoint.destination
    assert endpoint.destination == "https://a.example/in/v1/traces"
    assert set(endpoint.secrets) == {f"Bearer {SECRET}", SECRET, f"key={SECRET}"}
