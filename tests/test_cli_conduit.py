"""The commands that ask Conduit and end: `check`, `once`, `trace-id`, against a simulated one."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import Result

from exporter.clock import SystemClock
from exporter.ledger.file import LedgerFile
from exporter.simulator.runs import SECOND_NS
from exporter.simulator.server import listening_socket
from tests.cli_support import invoke as call
from tests.real.conduit import Conduit
from tests.simulator_support import AG1, BOTH, ONE, WS1, WS2, sim_run, small_scenario

PADDED = "00000000000000000f9c2b1d8a7e4f36"


@pytest.fixture
def conduit() -> Iterator[Conduit]:
    """Three runs of one agent that have just ended, the last one failed."""
    now_ns = SystemClock().now_ns()
    runs = [
        sim_run(
            f"ar77{at}",
            created_ns=now_ns - (60 - 10 * at) * SECOND_NS,
            completed_ns=now_ns - (55 - 10 * at) * SECOND_NS,
            duration_ns=5 * SECOND_NS,
            trace_id=f"{at + 1:032x}",
        )
        for at in range(3)
    ]
    runs[2] = runs[2]._replace(status="failed", disposition=None, error="No answer\nfrom the PMS")
    with Conduit(small_scenario) as served:
        for run in runs:
            served.add_run(run)
        yield served


@pytest.fixture
def environ(conduit: Conduit, tmp_path: Path) -> dict[str, str]:
    """The settings of an exporter of this Conduit, whose budget does not slow a test down."""
    return {
        "CONDUIT_API_TOKEN": BOTH,
        "CONDUIT_BASE_URL": conduit.base_url,
        "CONDUIT_REQUESTS_PER_MINUTE": "60000",
        "EXPORTER_LEDGER": f"sqlite:///{tmp_path / 'ledger.db'}",
        "OTEL_TRACES_EXPORTER": "console",
    }


def invoke(environ: dict[str, str], *arguments: str) -> Result:
    return call(*arguments, **environ)


def dead_url() -> str:
    """An address of this machine at which nobody listens."""
    with contextlib.closing(listening_socket("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_check_tells_all_that_a_start_needs(environ: dict[str, str], tmp_path: Path) -> None:
    """Settings, token, workspaces, ledger, trace backend: a line each; nothing is created."""
    result = invoke({**environ, "OTEL_TRACES_EXPORTER": "none"}, "check")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "ok      settings: all settings can be used",
        f"ok      token: accepted; workspaces: {WS1}, {WS2}",
        f"ok      workspace {WS1}: 2 agents are listed",
        f"ok      workspace {WS2}: 1 agent is listed",
        f"ok      ledger: {tmp_path}/ledger.db will be created",
        "ok      trace backend: none: metrics only",
    ]
    assert list(tmp_path.iterdir()) == []


def test_check_tells_everything_that_fails(environ: dict[str, str], tmp_path: Path) -> None:
    """One failure does not hide the next; the exit code is 1."""
    dead = dead_url()
    broken = {
        "CONDUIT_AGENTS": f"{AG1},ag77gone",
        "EXPORTER_MONTHLY_BUDGET_USD": f"{WS1}=10,mistyped=10",
        "EXPORTER_LEDGER": f"sqlite:///{tmp_path}/absent/ledger.db",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": dead,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2000",
    }
    result = invoke({**environ, **broken}, "check")
    assert result.exit_code == 1
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAILED  ")]
    assert failed[:3] == [
        "FAILED  budget of mistyped: no such workspace is visible",
        "FAILED  agent ag77gone: is configured, but no workspace lists it",
        f"FAILED  ledger: {tmp_path}/absent is no folder that can be written",
    ]
    assert failed[3].startswith(f"FAILED  trace backend: {dead}/v1/traces: ")
    assert len(failed) == 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"CONDUIT_API_TOKEN": "stranger"},
            "Conduit API: The Conduit API does not accept the token (401",
        ),
        (
            {"CONDUIT_API_TOKEN": ONE, "CONDUIT_WORKSPACES": WS2},
            "Conduit API: The token has no access to what was asked for (403",
        ),
        ({"CONDUIT_BASE_URL": "dead"}, "Conduit API: The Conduit API cannot be reached"),
    ],
)
def test_check_says_why_conduit_does_not_answer(
    environ: dict[str, str], settings: dict[str, str], said: str
) -> None:
    """A wrong token, a foreign workspace, nobody there; the token is never shown."""
    if settings.get("CONDUIT_BASE_URL") == "dead":
        settings = {"CONDUIT_BASE_URL": dead_url()}
    result = invoke({**environ, **settings}, "check")
    assert result.exit_code == 1
    assert said in result.stdout
    assert "stranger" not in result.output


def test_check_looks_at_a_ledger_that_is_there(environ: dict[str, str], tmp_path: Path) -> None:
    """One that can be used is not changed; another program's is refused and left as it is."""
    assert invoke(environ, "once").exit_code == 0
    assert "ledger.db can be opened and written\n" in invoke(environ, "check").stdout
    foreign = tmp_path / "foreign.db"
    with contextlib.closing(sqlite3.connect(foreign)) as database:
        database.execute("CREATE TABLE notes (text)")
        database.commit()
    before = foreign.read_bytes()
    result = invoke({**environ, "EXPORTER_LEDGER": f"sqlite:///{foreign}"}, "check")
    assert result.exit_code == 1
    assert "is a database of another program" in result.stdout
    assert foreign.read_bytes() == before


def test_once_reads_and_delivers_all_that_is_visible(
    environ: dict[str, str], conduit: Conduit
) -> None:
    """Each run is a trace on standard output; a second pass finds nothing to do."""
    result = invoke(environ, "once")
    assert result.exit_code == 0, result.output
    traces = [
        json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
        for line in result.stdout.splitlines()
    ]
    assert sorted({span["traceId"] for spans in traces for span in spans}) == [
        f"{at + 1:032x}" for at in range(3)
    ]
    assert BOTH not in result.output
    assert "traces delivered: 3" in result.stderr
    assert "runs counted: 3" in result.stderr
    details = conduit.requests()
    again = invoke(environ, "once")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "traces delivered: 0" in again.stderr
    assert "runs counted: 0" in again.stderr
    assert conduit.requests() - details < details


def test_once_says_what_could_not_be_read(environ: dict[str, str]) -> None:
    """The rest is read and delivered; it ends with 1 and the reason, as JSON if that was asked."""
    settings = {"CONDUIT_AGENTS": f"{AG1},ag77gone", "EXPORTER_LOG_FORMAT": "json"}
    result = invoke({**environ, **settings}, "once")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 3
    told = [json.loads(line) for line in result.stderr.splitlines()]
    assert [(one["logger"], one["message"]) for one in told if one["level"] == "error"] == [
        ("app", "agent ag77gone: no workspace of this token lists it")
    ]


def test_trace_id_is_found_in_the_ledger(environ: dict[str, str]) -> None:
    """What was traced is known without a request; the link is the operator's own."""
    assert invoke(environ, "once").exit_code == 0
    settings = {
        "CONDUIT_BASE_URL": environ["CONDUIT_BASE_URL"],
        "EXPORTER_TRACE_LINK": "http://jaeger/trace/{trace_id}",
        "CONDUIT_API_TOKEN": "stranger",
    }
    result = invoke({**environ, **settings}, "trace-id", AG1, "ar771")
    assert (result.exit_code, result.stdout) == (0, f"{2:032x}\n")
    assert result.stderr == f"found in the ledger\nhttp://jaeger/trace/{2:032x}\n"


def test_trace_id_is_asked_of_conduit_where_the_ledger_has_none(
    environ: dict[str, str], conduit: Conduit, tmp_path: Path
) -> None:
    """There is no ledger yet, and none is created."""
    conduit.add_run(sim_run("ar77x"))
    result = invoke(environ, "trace-id", AG1, "ar77x")
    assert (result.exit_code, result.stdout) == (0, f"{PADDED}\n")
    assert result.stderr == "found in the Conduit API\n"
    assert list(tmp_path.iterdir()) == []


def test_trace_id_leaves_a_held_ledger_alone(environ: dict[str, str], tmp_path: Path) -> None:
    """The daemon's ledger is its own while it runs: Conduit is asked instead."""
    assert invoke(environ, "once").exit_code == 0
    held = LedgerFile(
        tmp_path / "ledger.db",
        base_url=environ["CONDUIT_BASE_URL"],
        now_ns=SystemClock().now_ns(),
    )
    try:
        result = invoke(environ, "trace-id", AG1, "ar771")
        assert "ledger.db is held by a running exporter\n" in invoke(environ, "check").stdout
    finally:
        held.close()
    assert (result.stdout, result.stderr) == (f"{2:032x}\n", "found in the Conduit API\n")


def test_trace_id_of_no_run_is_an_error(environ: dict[str, str]) -> None:
    """Conduit's own word, and exit code 1."""
    for arguments in ((AG1, "ar77none"), ("ag77none", "ar771")):
        result = invoke(environ, "trace-id", *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(
            "error: The Conduit API does not know what was asked for (404"
        )


def test_check_reads_the_web_config_file(environ: dict[str, str], tmp_path: Path) -> None:
    """What the daemon would refuse at its start is said before."""
    web = tmp_path / "web.yml"
    web.write_text("basic_auth_users: {alice: secret}\n")
    result = invoke({**environ, "EXPORTER_WEB_CONFIG_FILE": str(web)}, "check")
    assert result.exit_code == 1
    assert "FAILED  web config:" in result.stdout
    assert "is not a bcrypt hash" in result.stdout
    assert "secret" not in result.stdout

    web.write_text("{}\n")
    result = invoke({**environ, "EXPORTER_WEB_CONFIG_FILE": str(web)}, "check")
    assert f"ok      web config: {web} can be used" in result.stdout


@pytest.mark.parametrize("command", ["replay", "reconcile --dry-run"])
@pytest.mark.parametrize("content", [None, b""], ids=["no file", "an empty file"])
def test_replay_and_a_dry_run_make_no_ledger(
    environ: dict[str, str], tmp_path: Path, command: str, content: bytes | None
) -> None:
    """A mistyped path is wrong settings, and not a ledger in which nothing is."""
    ledger = tmp_path / "ledger.db"
    if content is not None:
        ledger.write_bytes(content)
    result = invoke(environ, *command.split(), "--since", "1h")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"error: EXPORTER_LEDGER: there is no ledger at {ledger}" in result.stderr
    assert (ledger.read_bytes() if ledger.exists() else None) == content


def test_check_and_trace_id_fill_no_empty_file(environ: dict[str, str], tmp_path: Path) -> None:
    """What they call a look changes nothing; beside a log that is not empty, it is damaged."""
    ledger = tmp_path / "ledger.db"
    ledger.touch()
    assert f"ok      ledger: {ledger} will be created\n" in invoke(environ, "check").stdout
    assert invoke(environ, "trace-id", AG1, "ar771").stderr == "found in the Conduit API\n"
    assert ledger.read_bytes() == b""
    (tmp_path / "ledger.db-wal").write_bytes(b"x")
    assert f"FAILED  ledger: The ledger {ledger} is empty, but" in invoke(environ, "check").stdout


def test_backfill_wants_a_trace_backend(environ: dict[str, str], tmp_path: Path) -> None:
    """With none it would end with 0, having done nothing."""
    result = invoke({**environ, "OTEL_TRACES_EXPORTER": "none"}, "backfill", "--since", "1h")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "error: OTEL_TRACES_EXPORTER: is none, so there is nowhere to backfill" in result.stderr
    assert list(tmp_path.iterdir()) == []


class Echo(BaseHTTPRequestHandler):
    """A proxy, and a trace backend, that quotes in its refusal whatever it was sent."""

    def do_GET(self) -> None:
        said = {"error": f"{self.headers['proxy-authorization']} {self.requestline}"}
        self.send_response(400)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def do_POST(self) -> None:
        self.send_response(404)
        self.send_header("content-type", "text/plain")
        self.end_headers()
        self.wfile.write(self.requestline.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_no_part_of_a_query_or_of_a_proxys_credentials_is_shown(environ: dict[str, str]) -> None:
    """Whoever is asked may quote what it got: the address with its key, the header of the proxy."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(server.serve_forever, 0.05)
        there = f"127.0.0.1:{server.server_port}"
        settings = {
            "CONDUIT_BASE_URL": "http://conduit.invalid",
            "CONDUIT_PROXY": f"http://me:proxy%2Dhunter2@{there}",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://{there}/in?a=key%2Dhunter2&hunter2",
        }
        result = invoke({**environ, **settings}, "check")
        server.shutdown()
    assert "Basic [hidden] GET http://conduit.invalid/v1/workspaces" in result.stdout
    assert "POST /in?[hidden] HTTP" in result.stdout
    assert "hunter2" not in result.output
