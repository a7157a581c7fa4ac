"""Where settings come from, and how all that is wrong with them is told at once."""

from pathlib import Path

import pytest

from exporter.delivery.endpoint import resolve_endpoint
from exporter.errors import ConfigError
from exporter.settings.loading import load
from exporter.settings.model import Settings
from exporter.settings.sources import read_env_file

TOKEN = {"CONDUIT_API_TOKEN": "cdt_live_0123456789"}
MISSING = (
    "CONDUIT_API_TOKEN: is missing; allowed: the token here, "
    "or in CONDUIT_API_TOKEN_FILE the file that holds it"
)


def problems_of(
    environ: dict[str, str], env_file: Path | None = None, *, otlp: bool = True
) -> list[str]:
    """Everything that is said about settings that cannot be used."""
    with pytest.raises(ConfigError) as caught:
        load(environ, env_file, check_otlp=resolve_endpoint if otlp else None)
    return caught.value.problems


def written(folder: Path, text: str) -> Path:
    file = folder / "config.env"
    file.write_text(text)
    return file


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Values, names, the token and OTLP, from the environment and the file, in one error."""
    file = written(
        tmp_path,
        "EXPORTER_LEASE=1\n\n# a comment\nEXPORTER_LOKBACK=1h\nOTEL_EXPORTER_OTLP_TIMEOUT=10s\n",
    )
    environ = {"EXPORTER_LISTEN": "here", "CONDUIT_AGENT": "ag1", "CONDUIT_WORKSPACES": "*"}
    assert problems_of(environ, file) == [
        "CONDUIT_AGENT: no such setting; did you mean CONDUIT_AGENTS?",
        MISSING,
        "CONDUIT_WORKSPACES: `*` is no id; leave this setting out for all",
        (
            f"EXPORTER_LEASE ({file}, line 1): '1' is no duration; "
            "allowed: a number and a unit, such as 500ms, 15s, 5m, 24h or 7d"
        ),
        (
            "EXPORTER_LISTEN: 'here' is no address to listen on; "
            "allowed: host:port, such as 0.0.0.0:10464, 127.0.0.1:10464 or [::]:10464"
        ),
        f"EXPORTER_LOKBACK ({file}, line 4): no such setting; did you mean EXPORTER_LOOKBACK?",
        (
            f"OTEL_EXPORTER_OTLP_TIMEOUT ({file}, line 5): '10s' is not a whole number of "
            "milliseconds, such as 10000"
        ),
    ]


def test_the_error_is_all_problems_a_line_each() -> None:
    """Its text is what the command prints."""
    environ = {"EXPORTER_LEASE": "1ms", "EXPORTER_LOG_FORMAT": "xml"}
    with pytest.raises(ConfigError) as caught:
        load({**TOKEN, **environ})
    assert str(caught.value).splitlines() == caught.value.problems
    assert len(caught.value.problems) == 2


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    """What both name is the environment's; an empty variable takes the file's back."""
    file = written(
        tmp_path,
        "EXPORTER_LOOKBACK=1h\nEXPORTER_LEASE=30s\nEXPORTER_RETENTION=2d\nCONDUIT_AGENTS=ag1\n",
    )
    environ = {**TOKEN, "EXPORTER_LOOKBACK": " 2h ", "EXPORTER_LEASE": "", "CONDUIT_AGENTS": " "}
    settings = load(environ, file)
    assert settings.lookback_s == 7200
    assert settings.lease_s == 15
    assert settings.retention_s == 2 * 86_400
    assert settings.agents is None


def test_a_value_of_the_environment_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    """The place that is named is the one to change."""
    file = written(tmp_path, "EXPORTER_LEASE=30s\n")
    (problem,) = problems_of({**TOKEN, "EXPORTER_LEASE": "1"}, file)
    assert problem.startswith("EXPORTER_LEASE: '1' is no duration")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CONDUIT_TOKEN", "no such setting; did you mean CONDUIT_API_TOKEN?"),
        ("EXPORTER_POLL_INTERVALL", "no such setting; did you mean EXPORTER_POLL_INTERVAL?"),
        ("EXPORTER_SAMPLE_RATIO", "no such setting; did you mean EXPORTER_TRACE_SAMPLE_RATIO?"),
        ("EXPORTER_REDACTED", "no such setting; did you mean EXPORTER_REDACT?"),
        ("CONDUIT_XXXXXXXXXXXXX", "no such setting"),
        ("exporter_lookback", "is written EXPORTER_LOOKBACK"),
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
    assert problem.startswith(f"{name} ({tmp_path / 'config.env'}, line 1): no such setting")


def test_names_of_others_are_left_alone(tmp_path: Path) -> None:
    """Other variables are nobody's mistake; in the file a near miss is one after all."""
    environ = {**TOKEN, "PATH": "/bin", "OTEL_EXPORTER_OTLP_ENDPIONT": "x", "OTEL_LOG_LEVEL": "x"}
    file = written(tmp_path, "TZ=UTC\nOTEL_EXPORTER_OTLP_ENDPIONT=http://x:1\nOTEL_LOG_LEVEL=x\n")
    assert isinstance(load(environ), Settings)
    assert problems_of(TOKEN, file) == [
        (
            f"OTEL_EXPORTER_OTLP_ENDPIONT ({file}, line 2): no such setting; "
            "did you mean OTEL_EXPORTER_OTLP_ENDPOINT?"
        )
    ]


def test_the_token_comes_from_one_place(tmp_path: Path) -> None:
    """Text or file; neither and both are told."""
    assert load({"CONDUIT_API_TOKEN_FILE": "/run/token"}).api_token_file == Path("/run/token")
    assert problems_of({}) == [MISSING]
    assert problems_of({"CONDUIT_API_TOKEN": "  "}) == [MISSING]
    file = written(tmp_path, "CONDUIT_API_TOKEN_FILE=/run/token\n")
    assert problems_of(TOKEN, file) == [
        (
            f"CONDUIT_API_TOKEN: is given beside CONDUIT_API_TOKEN_FILE ({file}, line 1); "
            "keep one of the two"
        )
    ]


def test_named_runs_alone_mean_no_agents() -> None:
    """CONDUIT_RUNS fetches just these; CONDUIT_AGENTS beside it adds agents again."""
    runs = {**TOKEN, "CONDUIT_RUNS": "ag1/ar1"}
    assert load(runs).agents == frozenset()
    assert load({**runs, "CONDUIT_AGENTS": "*"}).agents is None
    assert load({**runs, "CONDUIT_AGENTS": "ag2"}).agents == frozenset({"ag2"})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/json",
            ": 'http/json' is not supported; allowed are http/protobuf and grpc",
        ),
        (
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
            "zstd",
            ": 'zstd' is not supported; allowed are gzip and none",
        ),
        (
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "/k.pem",
            (
                " needs OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE beside it: "
                "a client certificate and its key go together"
            ),
        ),
    ],
)
def test_otlp_problems_are_told_along(name: str, text: str, said: str, tmp_path: Path) -> None:
    """By the delivery stage's own words, with the place; not where no trace goes by OTLP."""
    environ = {**TOKEN, name: text}
    assert problems_of(environ) == [f"{name}{said}"]
    file = written(tmp_path, f"\n{name}={text}\n")
    assert problems_of(TOKEN, file) == [f"{name} ({file}, line 2){said}"]
    for other in ("none", "Console"):
        settings = load({**environ, "OTEL_TRACES_EXPORTER": other}, check_otlp=resolve_endpoint)
        assert settings.otlp_environment() == {name: text}


def test_a_problem_of_no_one_setting_is_told_as_it_is() -> None:
    """What the check says is kept where it begins with no name that was given."""

    def check(_: object) -> None:
        raise ConfigError(["nothing fits", "OTEL_EXPORTER_OTLP_ENDPOINT: is not there"])

    with pytest.raises(ConfigError) as caught:
        load(TOKEN, check_otlp=check)
    assert caught.value.problems == [
        "OTEL_EXPORTER_OTLP_ENDPOINT: is not there",
        "nothing fits",
    ]


def test_the_file_is_what_people_write(tmp_path: Path) -> None:
    """Quotes, comments, `export`, a byte order mark, Windows' line ends; nothing is expanded."""
    file = written(
        tmp_path,
        "\ufeffexport CONDUIT_API_TOKEN='cdt_#1'\r\n"
        "\r\n"
        "   # indented comment\r\n"
        'EXPORTER_REPLICA="a b" # said\r\n'
        "CONDUIT_AGENTS=ag1,ag2\r\n"
        "OTEL_SERVICE_NAME=$HOME-${USER}\r\n"
        "EXPORTER_LOOKBACK=\r\n"
        "EXPORTER_REDACT='BK-[0-9]{6}\nroom [0-9]+'\r\n",
    )
    given, problems = read_env_file(file)
    assert problems == []
    assert {name: (one.text, one.line) for name, one in given.items()} == {
        "CONDUIT_API_TOKEN": ("cdt_#1", 1),
        "EXPORTER_REPLICA": ("a b", 4),
        "CONDUIT_AGENTS": ("ag1,ag2", 5),
        "OTEL_SERVICE_NAME": ("$HOME-${USER}", 6),
        "EXPORTER_LOOKBACK": ("", 7),
        "EXPORTER_REDACT": ("BK-[0-9]{6}\nroom [0-9]+", 8),
    }


def test_faults_of_the_file_are_told_by_line(tmp_path: Path) -> None:
    """A name without a value, an open quote, a name set twice; the line itself is not shown."""
    file = written(
        tmp_path,
        "EXPORTER_LEASE=20s\nhunter2\n\nEXPORTER_LEASE=30s\nCONDUIT_API_TOKEN='hunter2\n",
    )
    assert problems_of({"CONDUIT_API_TOKEN_FILE": "/t"}, file) == [
        f"{file}, line 2: is not KEY=VALUE (are the quotes closed?)",
        f"{file}, line 5: is not KEY=VALUE (are the quotes closed?)",
        f"EXPORTER_LEASE ({file}, line 4): is set twice, first in line 1; keep one",
    ]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Absent, a folder, no text, or no settings file at all."""
    absent, binary, huge = tmp_path / "absent", tmp_path / "binary", tmp_path / "huge"
    binary.write_bytes(b"EXPORTER_LEASE=20s\n\xff\xfe\n")
    huge.write_bytes(b"#" * ((1 << 20) + 1))
    assert problems_of(TOKEN, absent) == [f"{absent}: cannot be read: No such file or directory"]
    assert problems_of(TOKEN, tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]
    assert problems_of(TOKEN, binary) == [f"{binary}, line 2: is not UTF-8 text"]
    assert problems_of(TOKEN, huge) == [
        f"{huge}: is larger than 1 MiB; a settings file is a few lines"
    ]


def test_the_model_looks_at_nothing_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is handed in counts, whatever the process was started with."""
    monkeypatch.setenv("EXPORTER_LOOKBACK", "1h")
    monkeypatch.setenv("CONDUIT_API_TOKEN", "cdt_live_of_the_environment")
    settings = Settings.model_validate(TOKEN)
    assert settings.lookback_s == 86_400
    assert settings.secrets() == (TOKEN["CONDUIT_API_TOKEN"],)
