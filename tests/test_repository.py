"""The repository itself: nothing of one machine in it, make tasks and hooks that work."""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import exporter

ROOT = Path(__file__).parent.parent
# In pieces, so that this file does not hold what it looks for.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("deb", "debian", "org"),
        ("crates", "io"),
    )
)
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:root|home/\w+|Users/\w+|work)/\w")


@cache
def repository_files() -> tuple[Path, ...]:
    """What is committed or about to be: everything that git does not ignore."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def texts() -> Iterator[tuple[str, str]]:
    """Name and text of every file of the repository that is text."""
    for path in repository_files():
        content = path.read_bytes()
        if b"\0" not in content:
            yield str(path.relative_to(ROOT)), content.decode()


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make quietly on the repository's Makefile, in a plain environment."""
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        timeout=60,
    )


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the installer's matter: no committed file names a registry."""
    assert [
        (name, registry) for name, text in texts() for registry in REGISTRIES if registry in text
    ] == []


def test_no_file_holds_a_path_of_one_machine() -> None:
    """No committed file names a home or a checkout folder."""
    assert [
        (name, found[0]) for name, text in texts() for found in MACHINE_PATH.finditer(text)
    ] == []


def test_the_changelog_begins_with_this_version() -> None:
    """What is released is described."""
    version = exporter.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## .*$", changelog, re.MULTILINE)
    assert newest is not None

    assert re.search(rf"\b{re.escape(version)}\b", newest[0]), newest[0]


def described_tasks() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_lists_every_task() -> None:
    """Plain `make` shows each task with its description, and no task is without one."""
    shown = make()
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None

    assert shown.returncode == 0, shown.stderr
    assert set(re.findall(r"^  make (\S+) +\S", shown.stdout, re.MULTILINE)) == described_tasks()
    assert set(phony[1].split()) == described_tasks()


def test_make_run_without_settings_says_what_to_do(tmp_path: Path) -> None:
    """A missing settings file is named, with the way on, before anything is installed."""
    result = make("run", f"ENV_FILE={tmp_path}/mine.env", f"VENV={tmp_path}/venv")

    assert result.returncode != 0
    assert f"Copy config.example.env to {tmp_path}/mine.env" in result.stdout
    assert "make demo" in result.stdout
    assert not (tmp_path / "venv").exists()


def test_make_refuses_an_old_python(tmp_path: Path) -> None:
    """A Python that is too old is named, and no environment is left behind."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ntest "$1" = --version && echo Python 3.9.2\n')
    old.chmod(0o755)

    result = make("demo", f"PYTHON={old}", f"VENV={tmp_path}/venv")

    assert result.returncode != 0
    assert "Python 3.9.2 is too old: conduit-exporter needs Python 3.11 or newer" in result.stdout
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("recipe", "status", "closing"),
    [
        ("echo '==== 5 passed, 1 skipped in 3.1s (0:00:03) ===='", 0, "5 passed, 1 skipped in"),
        ("echo '==== 1 failed, 5 passed in 3.1s ===='; exit 1", 2, "1 failed, 5 passed in"),
        ("echo '==== 5 passed in 3.1s ===='; echo 'TOTAL 94%'; exit 1", 2, "5 passed in"),
        ("echo 'would be reformatted'; exit 1", 2, None),
        ("echo '==== no tests ran in 0.1s ===='", 1, None),
        ("echo '==== 7 deselected in 0.1s ===='", 1, "7 deselected in"),
    ],
    ids=["passed", "failed", "uncovered", "unformatted", "empty", "deselected"],
)
def test_ci_closes_with_the_tests_own_line(
    tmp_path: Path, recipe: str, status: int, closing: str | None
) -> None:
    """CI ends with pytest's closing line and fails whenever `make check` does or no test ran."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    parts = tmp_path / ".ci/real-parts"
    parts.write_text("#!/bin/sh\n")
    parts.chmod(0o755)
    required = 'test "$$CONDUIT_EXPORTER_REQUIRE_REAL_PARTS" = 1'
    makefile = f".venv/.dev:\ncheck:\n\t@{required}\n\t@{recipe}\n"
    (tmp_path / "Makefile").write_text(makefile)

    result = subprocess.run(
        [tmp_path / ".ci/run"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        timeout=60,
    )

    assert result.returncode == status, result.stdout + result.stderr
    last = result.stdout.splitlines()[-1]
    assert (closing in last) if closing else ("passed" not in last)


def test_a_wheel_holds_every_file_of_the_package() -> None:
    """Templates, schema, migrations: what the patterns of package-data do not name is lost."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    for path in (ROOT / "exporter").rglob("*.*"):
        # A folder without Python is a package to setuptools as well.
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            assert f"*{path.suffix}" in patterns, path
