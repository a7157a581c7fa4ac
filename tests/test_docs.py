"""The documents say what the code does: settings, metrics, spans, commands, links, names."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from starlette.routing import Route

from exporter.cli.commands import cli
from exporter.metrics.catalogue import CATALOGUE
from exporter.settings.loading import names_of
from exporter.settings.model import Settings
from exporter.web.config import WebConfigFile
from tests.alert_rules import alerts
from tests.web_support import make_site

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "tests" / "fixtures" / "run_example.json"
DOCUMENTS = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not any(
        part.startswith(".") or part == "node_modules" for part in path.relative_to(ROOT).parts
    )
]

# What the design promises by name. A name may be added; one that goes or changes breaks dashboards,
# configurations and habits, and is a breaking change to be told in the changelog.
SETTINGS = """
CONDUIT_API_TOKEN CONDUIT_API_TOKEN_FILE CONDUIT_BASE_URL CONDUIT_WORKSPACES CONDUIT_AGENTS
CONDUIT_RUNS CONDUIT_REQUESTS_PER_MINUTE CONDUIT_PROXY CONDUIT_CA_FILE
EXPORTER_LISTEN EXPORTER_WEB_CONFIG_FILE EXPORTER_POLL_INTERVAL EXPORTER_LOOKBACK EXPORTER_LEDGER
EXPORTER_RETENTION EXPORTER_OUTBOX_LIMIT EXPORTER_TRACE_DETAIL EXPORTER_TRACE_SAMPLE_RATIO
EXPORTER_TRACE_ALWAYS EXPORTER_TOOL_TIMING EXPORTER_CAPTURE_CONTENT EXPORTER_REDACT
EXPORTER_MAX_LABEL_VALUES EXPORTER_TRACE_LINK EXPORTER_LOG_LEVEL EXPORTER_LOG_FORMAT
EXPORTER_SHARD EXPORTER_TOTAL_SHARDS EXPORTER_MONTHLY_BUDGET_USD EXPORTER_TIMEZONE
OTEL_SDK_DISABLED OTEL_TRACES_EXPORTER OTEL_SERVICE_NAME OTEL_RESOURCE_ATTRIBUTES
OTEL_EXPORTER_OTLP_ENDPOINT OTEL_EXPORTER_OTLP_PROTOCOL OTEL_EXPORTER_OTLP_HEADERS
OTEL_EXPORTER_OTLP_TIMEOUT OTEL_EXPORTER_OTLP_COMPRESSION OTEL_EXPORTER_OTLP_CERTIFICATE
OTEL_EXPORTER_OTLP_CLIENT_KEY OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE OTEL_EXPORTER_OTLP_INSECURE
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT OTEL_EXPORTER_OTLP_TRACES_PROTOCOL
OTEL_EXPORTER_OTLP_TRACES_HEADERS OTEL_EXPORTER_OTLP_TRACES_TIMEOUT
OTEL_EXPORTER_OTLP_TRACES_COMPRESSION OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE
OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE
OTEL_EXPORTER_OTLP_TRACES_INSECURE
"""
COMMANDS = {"run", "once", "check", "demo", "convert", "trace-id", "healthcheck"}
PATHS = {"/", "/runs", "/runs/<agent>/<run>", "/metrics", "/-/healthy", "/-/ready"}
NAMING = [
    "README.md",
    *(f"docs/{name}.md" for name in ("ARCHITECTURE", "OPERATING", "PRIVACY", "SECURITY", "SPANS")),
]
_OF_A_HISTOGRAM = ("", "_bucket", "_sum", "_count")


@cache
def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def section(name: str, heading: str) -> str:
    """The part of a document below a heading, up to the next of the same rank."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text_of(name), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{name} has no section {heading}"
    return found[1]


def rows(markdown: str) -> list[list[str]]:
    """The rows of a document's tables, heads left out."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    heads = {at - 1 for at, line in enumerate(lines) if set(line) <= set("|- ")}
    return [
        row for at, row in enumerate(cells) if at not in heads and not set(lines[at]) <= set("|- ")
    ]


def setting_names() -> set[str]:
    return {name for field in Settings.model_fields.values() for name in names_of(field)}


def test_readme_shows_the_trace_that_convert_prints() -> None:
    """The documented run, to the character."""
    tree = CliRunner().invoke(cli, ["convert", str(EXAMPLE)]).stdout
    assert f"```\n{tree}```\n" in section("README.md", "What a trace looks like")


def test_readme_has_every_command_and_no_other() -> None:
    """In the order of the help."""
    named = [row[0].strip("`") for row in rows(section("README.md", "Commands"))]
    assert named == list(cli.commands)


@pytest.mark.parametrize("name", [path.relative_to(ROOT).as_posix() for path in DOCUMENTS])
def test_commands_and_options_that_are_named_exist(name: str) -> None:
    """Of the exporter, in code anywhere; `--options` of others are listed here."""
    known = {option for one in (cli, *cli.commands.values()) for option in options_of(one)}
    others = {
        "--help",
        "--build",
        "--user",
        "--enable-feature=exemplar-storage",
        "--require-hashes",
    }
    for code in re.findall(r"`(--[a-z][^`]*)`", text_of(name)):
        assert code.split()[0] in known | others, code
    calls = r"^ *(?:conduit-exporter|\S*python -m exporter) ([a-z-][^\n#]*)"
    for call in re.findall(calls, in_code(name), re.MULTILINE):
        words = re.sub(r"--env-file \S+", "", call).split()
        command = cli.commands.get(words[0])
        assert command is not None, call
        assert {word for word in words if word.startswith("--")} <= options_of(command), call


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def in_code(name: str) -> str:
    """What a document shows as code, inline and in blocks, a piece a line."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text_of(name), re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", text_of(name))
    return "\n".join([*blocks, *inline])


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_make_tasks_that_are_named_exist(name: str) -> None:
    """What a newcomer is told to type can be typed."""
    tasks = set(re.findall(r"\bmake ([a-z-]+)", in_code(name)))
    assert {"demo", "check", "real-parts"} <= tasks
    assert tasks <= set(re.findall(r"^([a-z-]+):.* ## ", text_of("Makefile"), re.MULTILINE))


def links() -> Iterator[tuple[Path, str]]:
    for path in DOCUMENTS:
        plain = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", plain):
            if not re.match(r"[a-z]+:", target):
                yield path, target


def anchors(path: Path) -> set[str]:
    """The anchors that a page of a repository gets, by its headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def test_every_relative_link_leads_somewhere() -> None:
    """To a file that is there, and to a heading that it has."""
    found = list(links())
    assert len(found) >= 10
    for path, target in found:
        file, _, anchor = target.partition("#")
        aim = (path.parent / file).resolve() if file else path
        assert aim.exists(), f"{path.name}: {target}"
        assert not anchor or anchor in anchors(aim), f"{path.name}: {target}"


@pytest.mark.parametrize("document", NAMING)
def test_settings_and_metrics_that_are_named_exist(document: str) -> None:
    """No document speaks of a name that the code does not have."""
    settings = setting_names()
    named = set(re.findall(r"\b(?:CONDUIT|EXPORTER|OTEL)_[A-Z_]*[A-Z]\b", text_of(document)))
    assert named <= settings
    metrics = {metric.name + end for metric in CATALOGUE for end in _OF_A_HISTOGRAM}
    shown = set(re.findall(r"\bconduit_[a-z_]*[a-z]\b", text_of(document)))
    assert shown <= metrics


@pytest.mark.parametrize("document", ["README.md", "docs/OPERATING.md", "docs/SECURITY.md"])
def test_alerts_that_are_named_exist(document: str) -> None:
    """Nobody looks for an alert that has another name now."""
    assert set(re.findall(r"`(Conduit[A-Z]\w+)`", text_of(document))) <= alerts().keys()


@cache
def source_text() -> str:
    """All of the program's text, adjacent literals joined as Python joins them."""
    whole = "\n".join(path.read_text() for path in sorted((ROOT / "exporter").rglob("*.py")))
    return re.sub(r"\"\s*f?\"", "", whole)


def test_what_the_table_of_troubles_quotes_is_what_is_said() -> None:
    """Each quoted sentence, but for what differs, stands in the program."""
    quotes = [
        quote
        for row in rows(section("README.md", "When something is wrong"))
        for quote in re.findall(r"`([^`]+)`", row[1])
    ]
    assert len(quotes) >= 15
    for quote in quotes:
        for part in quote.split("\u2026"):
            said = part.strip().removesuffix("(401").removesuffix("(403").strip(" :?")
            assert len(said) < 4 or said in source_text(), quote


def test_no_setting_of_the_design_is_missing() -> None:
    """Names that operators have typed stay valid."""
    assert set(SETTINGS.split()) <= setting_names()


def test_no_command_of_the_design_is_missing() -> None:
    """What scripts call stays callable."""
    assert set(cli.commands) >= COMMANDS
    assert all(isinstance(command, click.Command) for command in cli.commands.values())


def test_no_path_of_the_design_is_missing() -> None:
    """What scrapers and probes ask stays there, and README names each."""
    site = make_site(WebConfigFile(None), None)
    served = {route.path for route in site.routes if isinstance(route, Route)}
    served = {re.sub(r"\{([a-z]+)[^}]*\}", r"<\1>", path) for path in served}
    assert served >= PATHS
    named = {row[0].strip("`") for row in rows(section("README.md", "HTTP"))}
    assert named >= PATHS
    assert served - {"/style.css"} == named
