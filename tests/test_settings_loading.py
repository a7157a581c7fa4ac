"""Where settings come from, how all that is wrong is told at once, and that no secret is shown."""

import re
import traceback
from base64 import b64encode
from pathlib import Path

import pytest

from exporter.errors import ConfigError
from exporter.settings.loading import load, names_of
from exporter.settings.model import OTLP, Settings
from exporter.settings.values import read_env_file

ROOT = Path(__file__).parent.parent
TOKEN = {"CONDUIT_API_TOKEN": "cdt_live_0123456789"}
MISSING = (
    "CONDUIT_API_TOKEN: is missing; allowed: the token here, "
    "or in CONDUIT_API_TOKEN_FILE the file that holds it"
)
SECRETS = {
    "CONDUIT_API_TOKEN": "cdt_hunter2",
    "CONDUIT_PROXY": "http://me:proxy-hunter2@proxy:3128",
    "HTTPS_PROXY": "http://me:hunter2@proxy",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector/in?key=hunter2",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=header%20hunter2,x-tenant=gzip",
}


def problems_of(environ: dict[str, str], env_file: Path | None = None) -> list[str]:
    """Everything that is said about settings that cannot be used."""
    with pytest.raises(ConfigError) as caught:
        load(environ, env_file)
    assert str(caught.value).splitlines() == caught.value.problems
    return caught.value.problems


def written(folder: Path, text: str) -> Path:
    file = folder / "config.env"
    file.write_text(text)
    return file


def setting_names() -> list[str]:
    """Every name an operator may type, but for the one that is only warned of."""
    fields = Settings.model_fields.values()
    return [name for field in fields if field.description for name in names_of(field)]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Values, names, the token and OTLP, from the environment and the file, in one error."""
    file = written(
        tmp_path,
        "EXPORTER_RETENTION=1\n\n# a comment\nEXPORTER_LOKBACK=1h\n"
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=10s\nOTEL_EXPORTER_OTLP_HEADERS=nothing\nnonsense\n",
    )
    environ = {"EXPORTER_LISTEN": "here", "CONDUIT_AGENT": "ag1", "EXPORTER_SHARD": "1"}
    assert problems_of(environ, file) == [
        f"{file}, line 7: is not NAME=VALUE (are the quotes closed?)",
        "CONDUIT_AGENT: no such setting; did you mean CONDUIT_AGENTS?",
        MISSING,
        (
            "EXPORTER_LISTEN: 'here' is no address to listen on; "
            "allowed: host:port, such as 0.0.0.0:10464, 127.0.0.1:10464 or [::]:10464"
        ),
        "EXPORTER_LOKBACK: no such setting; did you mean EXPORTER_LOOKBACK?",
        (
            "EXPORTER_RETENTION: '1' is no duration; "
            "allowed: a number and a unit, such as 500ms, 15s, 5m, 24h or 7d"
        ),
        "EXPORTER_SHARD: is 1, but EXPORTER_TOTAL_SHARDS is 1; the first is 0",
        "OTEL_EXPORTER_OTLP_HEADERS: item 1 is not key=value; allowed: key=value, by commas",
        (
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: input should be a valid integer, "
            "unable to parse string as an integer; such as 10000"
        ),
    ]


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    """What both name is the environment's; an empty variable takes the file's back."""
    file = written(
        tmp_path,
        "EXPORTER_LOOKBACK=1h\nEXPORTER_LISTEN=:1\nEXPORTER_RETENTION=2d\nCONDUIT_AGENTS=ag1\n",
    )
    environ = {**TOKEN, "EXPORTER_LOOKBACK": " 2h ", "EXPORTER_LISTEN": "", "CONDUIT_AGENTS": " "}
    settings = load(environ, file)
    assert settings.lookback_s == 7200
    assert settings.listen.port == 10464
    assert settings.retention_s == 2 * 86_400
    assert settings.agents is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CONDUIT_TOKEN", "no such setting; did you mean CONDUIT_API_TOKEN?"),
        ("EXPORTER_POLL_INTERVALL", "no such setting; did you mean EXPORTER_POLL_INTERVAL?"),
        ("EXPORTER_SAMPLE_RATIO", "no such setting; did you mean EXPORTER_TRACE_SAMPLE_RATIO?"),
        ("EXPORTER_REDACTED", "no such setting; did you mean EXPORTER_REDACT?"),
        ("CONDUIT_XXXXXXXXXXXXX", "no such setting"),
        ("exporter_lookback", "no such setting; did you mean EXPORTER_LOOKBACK?"),
    ],
)
def test_the_nearest_name_is_suggested(name: str, said: str) -> None:
    """A misspelt setting would silently do nothing; a far one gets no guess."""
    assert problems_of({**TOKEN, name: "1h"}) == [f"{name}: {said}"]


@pytest.mark.parametrize(
    "name",
    [
        "CONDUIT_EXPORTER_SERVICE_HOST",
        "CONDUIT_EXPORTER_SERVICE_PORT",
        "CONDUIT_EXPORTER_SERVICE_PORT_METRICS",
        "CONDUIT_EXPORTER_PORT",
        "CONDUIT_EXPORTER_PORT_10464_TCP_ADDR",
        "EXPORTER_PORT_10464_TCP",
    ],
)
def test_service_links_of_kubernetes_are_ignored(name: str, tmp_path: Path) -> None:
    """What Kubernetes injects for a service called `conduit-...` stops nothing; a file's does."""
    assert isinstance(load({**TOKEN, name: "tcp://10.0.0.1:10464"}), Settings)
    (problem,) = problems_of(TOKEN, written(tmp_path, f"{name}=tcp://10.0.0.1\n"))
    assert problem.startswith(f"{name}: no such setting")


def test_the_token_comes_from_one_place(tmp_path: Path) -> None:
    """Text or file; neither and both are told."""
    file = tmp_path / "token"
    file.write_text("cdt_0123\n")
    of_file = {"CONDUIT_API_TOKEN_FILE": str(file)}
    assert load(of_file).api_token_file == file
    assert problems_of({}) == [MISSING]
    assert problems_of({"CONDUIT_API_TOKEN": "  "}) == [MISSING]
    assert problems_of({**TOKEN, **of_file}) == [
        "CONDUIT_API_TOKEN: is given beside CONDUIT_API_TOKEN_FILE; keep one of the two"
    ]
    (problem,) = problems_of({"CONDUIT_API_TOKEN_FILE": "/absent"})
    assert problem == ("CONDUIT_API_TOKEN_FILE: /absent cannot be read: No such file or directory")


@pytest.mark.parametrize(
    "off",
    [
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "Console"},
        {"OTEL_SDK_DISABLED": "True"},
    ],
)
def test_otlp_settings_are_not_judged_where_no_trace_goes_by_otlp(off: dict[str, str]) -> None:
    """They are meant for other programs of the same environment."""
    others = {f"{OTLP}PROTOCOL": "http/json", f"{OTLP}CERTIFICATE": "/absent"}
    assert load({**TOKEN, **others, **off}).traces_exporter != "otlp"
    pair = {f"{OTLP}CLIENT_KEY": "/absent", f"{OTLP}CLIENT_CERTIFICATE": "/usr/bin/env"}
    assert len(problems_of({**TOKEN, **others, **pair})) == 3


def test_the_file_is_what_people_write(tmp_path: Path) -> None:
    """Quotes, comments, `export`, a byte order mark, Windows' line ends; nothing is expanded."""
    file = written(
        tmp_path,
        "\ufeffexport CONDUIT_API_TOKEN='cdt_#1'\r\n"
        "\r\n"
        "   # indented comment\r\n"
        'OTEL_SERVICE_NAME="a b" # said\r\n'
        "CONDUIT_AGENTS=ag1,ag2\r\n"
        "OTEL_RESOURCE_ATTRIBUTES=home=$HOME-${USER}\r\n"
        "EXPORTER_LOOKBACK=\r\n"
        "EXPORTER_REDACT='BK-[0-9]{6}\nroom [0-9]+'\r\n",
    )
    texts, problems = read_env_file(file)
    assert problems == []
    assert texts == {
        "CONDUIT_API_TOKEN": "cdt_#1",
        "OTEL_SERVICE_NAME": "a b",
        "CONDUIT_AGENTS": "ag1,ag2",
        "OTEL_RESOURCE_ATTRIBUTES": "home=$HOME-${USER}",
        "EXPORTER_LOOKBACK": "",
        "EXPORTER_REDACT": "BK-[0-9]{6}\nroom [0-9]+",
    }
    assert load({}, file).resource_attributes == (("home", "$HOME-${USER}"),)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Absent, a folder, or no text."""
    absent, binary = tmp_path / "absent", tmp_path / "binary"
    binary.write_bytes(b"EXPORTER_LISTEN=:1\n\xff\xfe\n")
    assert problems_of(TOKEN, absent) == [f"{absent}: cannot be read: No such file or directory"]
    assert problems_of(TOKEN, tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]
    assert problems_of(TOKEN, binary) == [f"{binary}: is not UTF-8 text"]


def test_no_text_of_the_settings_shows_a_secret() -> None:
    """repr, str, a format, a dump: all that a debugger or a log may take."""
    settings = load(SECRETS)
    shown = (
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        repr(list(settings)),
        repr(vars(settings)),
        repr(settings.warnings),
    )
    assert "hunter2" not in "".join(shown)


def test_every_secret_is_known_to_whoever_masks() -> None:
    """Percent-decoded; words too short to be secrets would tear holes into lines."""
    assert load(SECRETS).secrets() == (
        "cdt_hunter2",
        "me:proxy-hunter2",
        "proxy-hunter2",
        b64encode(b"me:proxy-hunter2").decode(),
        "key=hunter2",
        "hunter2",
        "header hunter2",
    )


@pytest.mark.parametrize(
    "broken",
    [
        {"CONDUIT_API_TOKEN": "Bearer hunter2"},
        {"CONDUIT_API_TOKEN": "hunter2 hunter2"},
        {"CONDUIT_API_TOKEN_FILE": "hunter2"},
        {"CONDUIT_API_TOKEN_FILE": "aa.hunter2.cc"},
        {"CONDUIT_API_TOKEN_FILE": "aa/hunter2+c="},
        {"CONDUIT_BASE_URL": "https://me:hunter2@api"},
        {"CONDUIT_BASE_URL": "https://me:hunter2@a b"},
        {"CONDUIT_PROXY": "http://me:hunter2@pro xy"},
        {"EXPORTER_LEDGER": "postgresql://me:hunter2@db/ledger"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:hunter2@collector"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "hunter2\x00"},
        {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "hunter2"},
        {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "key=hunter2\u00e9"},
        {"OTEL_RESOURCE_ATTRIBUTES": "hunter2"},
        {"CONDUIT_TOKEN": "hunter2"},
    ],
)
def test_no_error_shows_a_secret(broken: dict[str, str]) -> None:
    """Neither its text nor its traceback, causes included."""
    with pytest.raises(ConfigError) as caught:
        load({**SECRETS, **broken})
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in repr(caught.value)


def example_lines() -> dict[str, str]:
    """What stands behind each name in the example file."""
    text = (ROOT / "config.example.env").read_text()
    return dict(re.findall(r"^#?([A-Z][A-Z_]+)=(.*)$", text, re.MULTILINE))


def test_the_example_file_has_every_setting_with_its_default() -> None:
    """A line each, which holds the default where there is one, or else an example."""
    text = (ROOT / "config.example.env").read_text()
    for name in setting_names():
        assert len(re.findall(rf"^#?{name}=", text, re.MULTILINE)) == 1, name
    assert example_lines().keys() == set(setting_names())
    for field in Settings.model_fields.values():
        name = names_of(field)[-1]
        if field.default and name != "CONDUIT_AGENTS":
            assert example_lines()[name] == field.default
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", [name for name, text in example_lines().items() if text])
def test_every_example_is_a_good_value(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands behind the # can be used as it stands, each line alone."""
    text = example_lines()[name]
    if text.startswith("/"):
        # A file of somebody else's machine.
        (tmp_path / "file").write_text("cdt_0123")
        text = str(tmp_path / "file")
    token = {} if name == "CONDUIT_API_TOKEN_FILE" else TOKEN
    if name.startswith(f"{OTLP}CLIENT"):
        token = {**TOKEN, f"{OTLP}CLIENT_KEY": text, f"{OTLP}CLIENT_CERTIFICATE": text}
    assert isinstance(load(token, written(tmp_path, f"{name}={text}\n")), Settings)


def test_the_example_file_can_be_copied() -> None:
    """Only the token is missing in it."""
    example = ROOT / "config.example.env"
    assert problems_of({}, example) == [MISSING]
    assert load(TOKEN, example) == load(TOKEN)


def test_the_table_of_settings_has_every_setting_with_its_default() -> None:
    """README tells name, default and description as the model has them."""
    table = re.findall(
        r"^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    rows = {name: (default, description) for name, default, description in table}
    for field in Settings.model_fields.values():
        if field.description:
            default, description = rows.pop(names_of(field)[-1])
            assert description == field.description
            if field.default:
                assert default.startswith(f"`{field.default}`")
    assert rows == {}
