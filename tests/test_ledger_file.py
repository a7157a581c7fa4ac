"""What may be opened as a ledger, what is refused and left as it is, and who can read it."""

import contextlib
import logging
import os
import sqlite3
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from exporter.errors import LedgerLocked, LedgerRefused, LedgerUnavailable
from exporter.ledger import file as ledger_file
from exporter.ledger.file import LedgerFile, ledger_path
from exporter.ledger.totals import Family
from tests.factories import make_record, make_run, make_trace
from tests.fakes import START_NS
from tests.ledger_support import add_agent, do, fetch, open_ledger, record


def write_ledger(path: Path, *, runs: int = 500) -> None:
    """A ledger of some pages, closed in order."""
    ledger = open_ledger(path)
    add_agent(ledger)
    record(ledger, *(make_record(make_run(f"ar{i:030d}")) for i in range(runs)))
    fetch(ledger, make_record(make_run("traced")), make_trace())
    ledger.close()


def execute(path: Path, statement: str) -> None:
    """Change a file behind the exporter's back."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def changed(path: Path, statement: str) -> None:
    """A ledger that somebody has changed."""
    write_ledger(path)
    execute(path, statement)


def _cut_short(path: Path) -> None:
    write_ledger(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _overwritten(path: Path) -> None:
    write_ledger(path)
    damaged = bytearray(path.read_bytes())
    for place in range(4096 * 3, 4096 * 3 + 64):
        damaged[place] ^= 0xFF
    path.write_bytes(bytes(damaged))


def _empty_beside_a_log(path: Path) -> None:
    path.touch()
    Path(f"{path}-wal").write_bytes(b"\x37\x7f\x06\x82" * 99)


def _another_deployment(path: Path) -> None:
    LedgerFile(path, base_url="https://other", now_ns=START_NS).close()


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another program's": (
        partial(execute, statement="CREATE TABLE theirs (x)"),
        "is a database of another program",
    ),
    "a preview's": (
        partial(changed, statement="PRAGMA user_version = 0"),
        "is of a preview that was never released",
    ),
    "a newer schema": (
        partial(changed, statement="PRAGMA user_version = 999"),
        "was written by a newer conduit-exporter",
    ),
    "a damaged value": (
        partial(changed, statement="UPDATE total SET value = 'ten' WHERE family = 'cost_usd'"),
        "holds a damaged value",
    ),
    "text": (lambda path: path.write_bytes(b"no database" * 99), "is not a SQLite database"),
    "zeros": (lambda path: path.write_bytes(b"\x00" * 5000), "is not a SQLite database"),
    "cut short": (_cut_short, "is cut short"),
    "overwritten": (_overwritten, "damaged"),
    "empty beside a log": (_empty_beside_a_log, "is empty, but ledger.db-wal beside it is not"),
    "another deployment's": (_another_deployment, "belongs to https://other"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_ledger_of_ours_is_refused_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    """Never a silent start with an empty one over somebody's file; the hint says what to do."""
    path = tmp_path / "ledger.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(LedgerRefused, match=message) as refused:
        open_ledger(path)
    assert refused.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a FIFO", "a folder"])
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """A FIFO would hang whoever opens it."""
    make(tmp_path / "ledger.db")
    with pytest.raises(LedgerRefused, match="is no regular file"):
        open_ledger(tmp_path / "ledger.db")


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """One exporter a file."""
    first = open_ledger(tmp_path / "ledger.db")
    with pytest.raises(LedgerLocked, match="Another process holds the ledger"):
        open_ledger(tmp_path / "ledger.db")
    first.close()
    open_ledger(tmp_path / "ledger.db").close()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A volume that is not mounted is a clear error."""
    with pytest.raises(LedgerUnavailable, match="cannot be created"):
        open_ledger(tmp_path / "nowhere" / "ledger.db")


def test_nobody_else_can_read_a_ledger(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A new file, its log, and one that was readable by all before."""
    path = tmp_path / "ledger.db"
    ledger = open_ledger(path)
    add_agent(ledger)
    modes = {stat.S_IMODE(one.stat().st_mode) for one in tmp_path.glob("ledger.db*")}
    ledger.close()
    assert modes == {0o600}
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        open_ledger(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "was readable by others" in caplog.text


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
def test_a_file_that_goes_under_the_daemon_takes_no_commits(
    tmp_path: Path, *, replaced: bool
) -> None:
    """What would be written is lost: it is refused until the file is back."""
    path = tmp_path / "ledger.db"
    ledger = open_ledger(path)
    path.rename(tmp_path / "aside.db")
    if replaced:
        path.touch()
    with pytest.raises(LedgerUnavailable, match="was deleted or replaced while it was in use"):
        add_agent(ledger)
    (tmp_path / "aside.db").replace(path)
    assert add_agent(ledger) == 1
    ledger.close()


def test_a_stored_trace_that_is_damaged_holds_up_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Zlib's checksum finds what SQLite has none for; its run stays counted."""
    path = tmp_path / "ledger.db"
    write_ledger(path, runs=1)
    execute(path, "UPDATE trace SET payload = x'789c4bca'")
    ledger = open_ledger(path)
    fetch(ledger, make_record(make_run("whole")), make_trace())
    for _ in range(2):
        due = do(ledger, lambda one: one.traces.due(now_ns=0, max_traces=9, max_bytes=9999))
        assert [trace.no for trace in due] == [2]
    assert ledger.totals.get(Family.TRACES_PENDING) == 1
    assert ledger.totals.get(Family.QUARANTINED, 0, "damaged") == 1
    assert do(ledger, lambda one: one.history.run("ag1", "traced")).reason == "damaged"
    assert do(ledger, lambda one: one.traces.of_run(1, "traced")) is None
    assert "is damaged and cannot be sent" in caplog.text
    ledger.close()


def test_migrations_run_once_in_order_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older ledger is brought up to date; one whose migration fails stays as it was."""
    path = tmp_path / "ledger.db"
    write_ledger(path, runs=1)
    scripts = {
        "m3": "ALTER TABLE meta ADD COLUMN extra TEXT;\nUPDATE meta SET extra = 'two';\n",
        "m4": "UPDATE meta SET extra = extra || ' three';\nINSERT INTO nowhere VALUES (1);\n",
    }
    monkeypatch.setattr(ledger_file, "migrations", lambda: [(3, "m3"), (4, "m4")])
    monkeypatch.setattr(ledger_file, "_sql", scripts.__getitem__)

    def extras() -> list[str]:
        connection = sqlite3.connect(path)
        try:
            return [row[0] for row in connection.execute("SELECT extra FROM meta")]
        finally:
            connection.close()

    with pytest.raises(LedgerUnavailable, match="no such table: nowhere"):
        open_ledger(path)
    with pytest.raises(sqlite3.OperationalError):
        extras()
    scripts["m4"] = "UPDATE meta SET extra = extra || ' three';\n"
    for _ in range(2):
        open_ledger(path).close()
    assert extras() == ["two three", "two three"]


def test_an_older_ledger_becomes_what_a_new_one_is(tmp_path: Path) -> None:
    """With its columns, and counting begins where its floor lies."""
    new, old = tmp_path / "new.db", tmp_path / "old.db"
    write_ledger(new, runs=1)
    write_ledger(old, runs=1)
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("ALTER TABLE workspace DROP COLUMN listed_ns")
        connection.execute("ALTER TABLE workspace DROP COLUMN listed")
        connection.execute("ALTER TABLE agent DROP COLUMN counted_from_ns")
        connection.execute("UPDATE agent SET floor_ns = 7")
        connection.execute("PRAGMA user_version = 1")
        connection.commit()
    open_ledger(old).close()

    def shape(path: Path) -> list[list[tuple[object, ...]]]:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            tables = ("workspace", "agent")
            return [connection.execute(f"PRAGMA table_info({one})").fetchall() for one in tables]

    assert shape(old) == shape(new)
    with contextlib.closing(sqlite3.connect(old)) as connection:
        ((floor_ns, begin_ns),) = connection.execute("SELECT floor_ns, counted_from_ns FROM agent")
    assert begin_ns == floor_ns == 7


@pytest.mark.parametrize("url", ["postgresql://host/db", "sqlite://", "sqlite:///", "ledger.db"])
def test_only_a_sqlite_file_can_be_a_ledger(url: str) -> None:
    """Anything else is refused by name of the setting; four slashes begin an absolute path."""
    assert ledger_path("sqlite:////var/lib/x.db") == Path("/var/lib/x.db")
    with pytest.raises(LedgerRefused, match="EXPORTER_LEDGER"):
        ledger_path(url)
