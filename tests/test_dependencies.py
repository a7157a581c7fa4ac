"""Pins, declared dependencies, imports and DEPENDENCIES.md agree with each other."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = [Requirement(line) for line in PROJECT["dependencies"]]
DEVELOPMENT = [Requirement(line) for line in PROJECT["optional-dependencies"]["dev"]]

PINNED = re.compile(r"^([a-z0-9.-]+)==([^\s;]+)(?: ; ([^\\]+?))? \\$", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    """Package to version of a compiled requirements file."""
    return {found[1]: found[2] for found in PINNED.finditer((ROOT / name).read_text())}


def asked_for(name: str) -> set[str]:
    """The packages that a compiled requirements file says pyproject.toml asked for."""
    asked: set[str] = set()
    package = ""
    for line in (ROOT / name).read_text().splitlines():
        if found := PINNED.match(line):
            package = found[1]
        elif line.lstrip(" #").startswith(("via conduit-exporter", "conduit-exporter")):
            asked.add(package)
    return asked


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


@pytest.mark.parametrize(
    ("file", "wanted"),
    [("requirements.txt", RUNTIME), ("requirements-dev.txt", [*RUNTIME, *DEVELOPMENT])],
    ids=["runtime", "development"],
)
def test_requirements_are_compiled_from_pyproject(file: str, wanted: list[Requirement]) -> None:
    """The pins answer to exactly the present dependencies, each within its specifier."""
    pinned = pins(file)

    assert asked_for(file) == names(wanted), "run `make requirements`"
    for requirement in wanted:
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), requirement


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_carries_hashes(file: str) -> None:
    """The installer can refuse a file that was not there when the pins were made."""
    entries = re.split(r"^(?=[a-z0-9])", (ROOT / file).read_text(), flags=re.MULTILINE)[1:]

    assert len(entries) == len(pins(file)) > 0
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]


def test_development_pins_hold_the_runtime_pins() -> None:
    """Tests run against the very versions that are shipped."""
    assert pins("requirements.txt").items() <= pins("requirements-dev.txt").items()


def test_installed_packages_fit_together() -> None:
    """Nothing is missing or at odds, though the installation resolves no dependency."""
    checked = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout


def test_pinned_versions_are_installed() -> None:
    """These tests run on what is pinned for this platform."""
    installed = {canonicalize_name(one.name): one.version for one in metadata.distributions()}
    differing = {
        package: (version, installed[canonicalize_name(package)])
        for package, version in pins("requirements-dev.txt").items()
        if installed.get(canonicalize_name(package), version) != version
    }

    assert differing == {}, "run `make requirements`, or remove .venv"


@cache
def modules_by_distribution() -> dict[str, tuple[str, ...]]:
    """The installed Python files of each pinned runtime package."""
    return {
        package: tuple(str(file) for file in metadata.files(package) or ())
        for package in pins("requirements.txt")
    }


def owner(module: str) -> str | None:
    """The runtime package that a module comes from, None if it is from no single one."""
    path = module.replace(".", "/")
    owners = {
        package
        for package, files in modules_by_distribution().items()
        if any(file == f"{path}.py" or file.startswith(f"{path}/") for file in files)
    }
    return owners.pop() if len(owners) == 1 else None


def imported_modules() -> Iterator[tuple[str, str]]:
    """Every absolute import of the package: (file, module), a `from` with what it takes."""
    for path in sorted((ROOT / "exporter").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield str(path.relative_to(ROOT)), alias.name
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                # In a namespace package, what is taken from it tells the distribution.
                names_owner = owner(node.module) is not None
                for alias in node.names:
                    tail = "" if names_owner else f".{alias.name}"
                    yield str(path.relative_to(ROOT)), node.module + tail


def brought_along() -> dict[str, str]:
    """Package to the direct dependency that it comes with, from the table of DEPENDENCIES.md."""
    page = (ROOT / "docs/DEPENDENCIES.md").read_text()
    table = page.partition("## Brought along")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| ([a-z][a-z0-9-]*) \| ([a-z][a-z0-9-]*) \|", table, re.MULTILINE))


def requirements_of(package: str) -> set[str]:
    """Everything that a package needs, and what that needs, by canonical name."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        for line in metadata.requires(waiting.pop()) or ():
            requirement = Requirement(line)
            name = canonicalize_name(requirement.name)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


# Not imported by the package, and why it is installed all the same.
NOT_IMPORTED = {
    "opentelemetry-exporter-otlp": "brings the messages and grpcio",
}


def test_every_runtime_dependency_is_imported() -> None:
    """No package is installed beside someone else's application for nothing."""
    used = {owner(module) for _, module in imported_modules()}

    assert names(RUNTIME) - used == set(NOT_IMPORTED)


def test_everything_imported_is_a_dependency_or_documented_to_come_with_one() -> None:
    """What is used of a dependency's own dependencies stands in a table, and really comes along."""
    ours = {"exporter", *sys.stdlib_module_names}
    borrowed = {
        str(owner(module))
        for _, module in imported_modules()
        if module.partition(".")[0] not in ours and owner(module) not in names(RUNTIME)
    }

    assert borrowed == set(brought_along())
    for package, lender in brought_along().items():
        assert package in requirements_of(lender)


def documented_dependencies() -> dict[str, str]:
    """Package to licence, from the tables of DEPENDENCIES.md."""
    page = (ROOT / "docs/DEPENDENCIES.md").read_text()
    own, _, rest = page.partition("## Brought along")
    tables = own + rest.partition("\n## ")[2]
    rows = re.findall(r"^\| ([a-z][a-z0-9-]*) \| ([^|]+) \|", tables, re.MULTILINE)
    return {package: licence for package, licence in rows if package != "package"}


def test_every_dependency_is_documented() -> None:
    """DEPENDENCIES.md has a row for each direct dependency and for no other."""
    assert set(documented_dependencies()) == names(RUNTIME) | names(DEVELOPMENT)


@pytest.mark.parametrize(
    ("package", "licence"), documented_dependencies().items(), ids=documented_dependencies()
)
def test_documented_licence_is_the_declared_one(package: str, licence: str) -> None:
    """A dependency's licence is what its own metadata declares."""
    declared = metadata.metadata(package)
    fields = [declared[name] for name in ("License-Expression", "License") if name in declared]
    family = licence.partition("-")[0]
    classified = [
        line for line in declared.get_all("Classifier") or [] if line.startswith("License ::")
    ]

    assert licence in fields or any(family in line for line in classified)
