"""Where traces go: the OTEL_EXPORTER_OTLP_* settings, their rules and their mistakes."""

from pathlib import Path

import pytest

from exporter.delivery.endpoint import OtlpEndpoint, resolve_endpoint
from exporter.errors import ConfigError

OTLP = "OTEL_EXPORTER_OTLP_"
SECRET = "t0ps3cr3t"


def resolve(**options: str) -> OtlpEndpoint:
    return resolve_endpoint({OTLP + name: value for name, value in options.items()})


def problems(**options: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolve(**options)
    return caught.value.problems


def test_nothing_set_is_the_default_of_the_specification() -> None:
    """A collector on this machine, over http/protobuf, ten seconds, no compression."""
    endpoint = resolve_endpoint({})
    assert endpoint == OtlpEndpoint()
    assert endpoint.target == "http://localhost:4318/v1/traces"
    assert (endpoint.timeout_s, endpoint.gzip, endpoint.secure) == (10.0, False, False)
    assert resolve(PROTOCOL="grpc").target == "localhost:4317"


@pytest.mark.parametrize(
    ("general", "target"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://otel.example/otlp", "https://otel.example/otlp/v1/traces"),
        ("https://otel.example/otlp?tenant=a", "https://otel.example/otlp/v1/traces?tenant=a"),
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


def test_every_form_for_traces_wins_over_the_general_one() -> None:
    """Each option by itself."""
    endpoint = resolve(
        PROTOCOL="grpc",
        TRACES_PROTOCOL="http/protobuf",
        ENDPOINT="http://a:1",
        TRACES_ENDPOINT="https://b:2/x",
        HEADERS="a=1",
        TRACES_HEADERS="b=2",
        TIMEOUT="1000",
        TRACES_TIMEOUT="2000",
        COMPRESSION="none",
        TRACES_COMPRESSION="gzip",
        CERTIFICATE="/a.pem",
        TRACES_CERTIFICATE="/b.pem",
        CLIENT_CERTIFICATE="/c.pem",
        TRACES_CLIENT_CERTIFICATE="/d.pem",
        CLIENT_KEY="/e.pem",
        TRACES_CLIENT_KEY="/f.pem",
    )
    assert endpoint == OtlpEndpoint(
        protocol="http/protobuf",
        target="https://b:2/x",
        destination="https://b:2/x",
        secure=True,
        headers=(("b", "2"),),
        timeout_s=2.0,
        gzip=True,
        ca_file=Path("/b.pem"),
        client_certificate_file=Path("/d.pem"),
        client_key_file=Path("/f.pem"),
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
        (
            "novalue",
            "entry 1 is not name=value with a name that is allowed (a comma in a value is %2C)",
        ),
        (
            "a b=1",
            "entry 1 is not name=value with a name that is allowed (a comma in a value is %2C)",
        ),
        ("content-type=text/plain", "content-type is set by the exporter itself"),
        ("grpc-timeout=1S", "grpc-timeout is set by the exporter itself"),
        (f"a={SECRET}%0D%0Ax", "the value of a has characters no header has"),
        (f"a={SECRET}%C3%A9", "the value of a has characters no header has"),
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
        *("http://a:99999", "http://a:port", "http://[::1", "http://a\tb", "http://1.2.3.999"),
    ],
)
def test_an_endpoint_that_is_no_url_is_named(text: str) -> None:
    """By the variable that was typed."""
    problem = "this is not an http or https URL with a host, such as http://localhost:4318"
    assert problems(ENDPOINT=text) == [f"{OTLP}ENDPOINT: {problem}"]
    assert problems(TRACES_ENDPOINT=text) == [f"{OTLP}TRACES_ENDPOINT: {problem}"]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_credentials_in_the_url_are_refused_and_not_repeated(protocol: str) -> None:
    """They would end in logs and on pages."""
    found = problems(ENDPOINT=f"https://user:{SECRET}@a.example", PROTOCOL=protocol)
    assert len(found) == 1
    assert "credentials do not belong into the URL" in found[0]
    assert SECRET not in found[0]


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("PROTOCOL", "http/json", "'http/json' is not supported; allowed are http/protobuf and"),
        ("COMPRESSION", "zstd", "'zstd' is not supported; allowed are gzip and none"),
        *(
            ("TIMEOUT", text, f"'{text[:60]}' is not a whole number of milliseconds")
            for text in ("10s", "-1", "1e4", "9" * 5000)
        ),
        ("TIMEOUT", "10", "milliseconds from 100 to 600000, 10000 for 10 s"),
        ("TIMEOUT", "600001", "'600001' is out of range"),
    ],
)
def test_a_bad_value_names_its_variable(option: str, text: str, said: str) -> None:
    """The one that was set, general or for traces, and what would be right."""
    for name in (option, f"TRACES_{option}"):
        (found,) = problems(**{name: text})
        assert found.startswith(f"{OTLP}{name}: ")
        assert said in found
        assert len(found) < 200


def test_a_client_certificate_needs_its_key() -> None:
    """And the other way round."""
    together = "a client certificate and its key go together"
    assert problems(ENDPOINT="https://a", TRACES_CLIENT_CERTIFICATE="/c") == [
        f"{OTLP}TRACES_CLIENT_CERTIFICATE needs {OTLP}CLIENT_KEY beside it: {together}"
    ]
    assert problems(ENDPOINT="https://a", CLIENT_KEY="/k") == [
        f"{OTLP}CLIENT_KEY needs {OTLP}CLIENT_CERTIFICATE beside it: {together}"
    ]


@pytest.mark.parametrize(
    ("text", "insecure", "target", "secure", "destination"),
    [
        ("http://a:4317", "", "a:4317", False, "http://a:4317"),
        ("https://a:4317/", "true", "a:4317", True, "https://a:4317"),
        ("http://[::1]:4317", "", "[::1]:4317", False, "http://[::1]:4317"),
        ("a:4317", "", "a:4317", True, "a:4317 (TLS)"),
        ("a:4317", "true", "a:4317", False, "a:4317 (plain)"),
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
    text: str,
    insecure: str,
    target: str,
    secure: bool,  # noqa: FBT001 - a column of the table
    destination: str,
) -> None:
    """The specification's rule for gRPC; without either the connection is encrypted."""
    endpoint = resolve(PROTOCOL="grpc", ENDPOINT=text, INSECURE=insecure)
    assert endpoint.target == target
    assert (endpoint.secure, endpoint.destination) == (secure, destination)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"ENDPOINT": "http://a:4317/v1/traces"},
            (
                "ENDPOINT: gRPC has no paths; leave the path out, "
                f"or set {OTLP}PROTOCOL=http/protobuf"
            ),
        ),
        ({"ENDPOINT": f"me:{SECRET}@a:4317"}, "ENDPOINT: this is neither a URL nor a gRPC target"),
        ({"ENDPOINT": "a b"}, "ENDPOINT: this is neither a URL nor a gRPC target"),
        (
            {"ENDPOINT": "http://"},
            "ENDPOINT: this is not an http or https URL with a host, such as http://localhost:4318",
        ),
        (
            {"ENDPOINT": "a:4317", "INSECURE": "yes"},
            "INSECURE: 'yes' is not supported; allowed are true and false",
        ),
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
        ({"ENDPOINT": "http://a:1", "HEADERS": "k=v"}, "headers go to http://a:1/v1/traces unenc"),
        ({"CERTIFICATE": "/ca.pem"}, "is plain: certificates unused"),
        (
            {"ENDPOINT": "a:1", "PROTOCOL": "grpc", "INSECURE": "true", "HEADERS": "k=v"},
            "headers go to a:1 (plain) unencrypted",
        ),
    ],
)
def test_what_works_but_is_rarely_meant_is_a_warning(options: dict[str, str], warning: str) -> None:
    """Told at the start, and never a reason not to start."""
    (found,) = resolve(**options).warnings
    assert warning in found


def test_secrets_are_in_no_repr_and_no_destination() -> None:
    """Not the header values, and not the query of the URL."""
    endpoint = resolve(
        ENDPOINT=f"https://a.example/in?key={SECRET}", HEADERS=f"authorization=Bearer%20{SECRET}"
    )
    assert SECRET in endpoint.target
    assert SECRET not in repr(endpoint)
    assert SECRET not in endpoint.destination
    assert endpoint.destination == "https://a.example/in/v1/traces"
    assert endpoint.secrets == (f"Bearer {SECRET}", SECRET)
