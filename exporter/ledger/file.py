"""Opens the ledger's file, or says why it must not be opened; holds no statement of the work.

SQLite: WAL, synchronous=FULL (a commit survives power loss), one connection, exclusive. A file that
is foreign, newer, cut short or damaged is refused and left as it is.
"""

import contextlib
import logging
import os
import sqlite3
import stat
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from exporter.errors import LedgerError, LedgerLocked, LedgerRefused, LedgerUnavailable

logger = logging.getLogger("exporter.ledger")

# "CExp" in a SQLite header's application id: a file of ours.
APPLICATION_ID: Final = 0x43457870
_MAGIC: Final = b"SQLite format 3\x00"
_URL_PREFIX: Final = "sqlite:///"
# A file up to this size is checked whole at start; above it that would delay the start by seconds.
_CHECK_LIMIT_BYTES: Final = 64 << 20
_BUSY_TIMEOUT_S: Final = 1.0
_MODE: Final = 0o600
# Wrong SQL, a constraint broken, a value too large: faults of a work, not of the database.
_OF_THE_STATEMENT: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
)
_READ_PRAGMAS: Final = (
    # Exclusive before the first access: then WAL needs no shared memory file, no second process
    # can enter, and the WAL-reset race of SQLite before 3.51.3 (two connections) cannot happen.
    "locking_mode = EXCLUSIVE",
    # No temporary files: the root file system may be read-only.
    "temp_store = MEMORY",
    "foreign_keys = ON",
)
# These change the file: only once it is known to be ours.
_WRITE_PRAGMAS: Final = (
    "auto_vacuum = INCREMENTAL",
    "journal_mode = WAL",
    "synchronous = FULL",
    "journal_size_limit = 4194304",
)
HINT_DAMAGED: Final = (
    "the file is left untouched: restore a copy, or move it away to start anew; "
    "counters then restart from the look-back"
)


def ledger_path(url: str) -> Path:
    """The file of a `sqlite:///PATH` URL. Raises LedgerRefused for any other."""
    if not url.startswith(_URL_PREFIX) or url == _URL_PREFIX:
        raise LedgerRefused(
            "EXPORTER_LEDGER is no ledger of this version", hint="set it to sqlite:///PATH"
        )
    return Path(url.removeprefix(_URL_PREFIX))


class LedgerFile:
    """One open connection to a ledger that is ours, current and whole.

    `base_url` is the deployment that the ledger belongs to. Raises LedgerError.
    """

    def __init__(self, path: Path, *, base_url: str, now_ns: int) -> None:
        self.path = path
        with translated():
            _refuse_unlike_ledger(path)
            _create_private(path)
            self.connection = sqlite3.connect(
                path,
                timeout=_BUSY_TIMEOUT_S,
                # Transactions are begun by hand: the driver's own guessing would commit DDL alone.
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            with translated():
                self._set(_READ_PRAGMAS)
                version = self._version()
                if version:
                    self._check(base_url)
                self._set(_WRITE_PRAGMAS)
                self._prepare(version, base_url, now_ns)
            self._identity = _identity(path)
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        self.connection.close()

    def size_bytes(self) -> int:
        """What the ledger takes on the disk now, write-ahead log included."""
        size = 0
        for path in (self.path, Path(f"{self.path}-wal")):
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def free_bytes(self) -> int:
        """What is left on the disk for users without privileges."""
        disk = os.statvfs(self.path.absolute().parent)
        return disk.f_bavail * disk.f_frsize

    def check_in_place(self) -> None:
        """Raise LedgerUnavailable where the path no longer names the file that is open."""
        if _identity(self.path) != self._identity:
            raise LedgerUnavailable(
                f"The ledger {self.path} was deleted or replaced while it was in use",
                hint="put the file back, or restart to begin with a new one",
            )

    def _set(self, pragmas: tuple[str, ...]) -> None:
        for pragma in pragmas:
            self.connection.execute(f"PRAGMA {pragma}")

    def _prepare(self, version: int, base_url: str, now_ns: int) -> None:
        """Create or migrate, in one transaction."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            if version == 0:
                self._create(base_url, now_ns)
            else:
                self._migrate(version)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _version(self) -> int:
        """The schema version of a ledger of ours, 0 for an empty file. Raises LedgerRefused."""
        ((version,),) = self.connection.execute("PRAGMA user_version")
        ((application_id,),) = self.connection.execute("PRAGMA application_id")
        tables = {name for (name,) in self.connection.execute("SELECT name FROM sqlite_master")}
        if not tables and version == 0:
            return 0
        if application_id != APPLICATION_ID:
            raise LedgerRefused(
                f"{self.path} is a database of another program",
                hint="set EXPORTER_LEDGER to a file of the exporter's own",
            )
        if version == 0:
            raise LedgerRefused(
                f"The ledger {self.path} is of a preview that was never released",
                hint="move it away to start anew; counters then restart from the look-back",
            )
        if version > schema_version():
            raise LedgerRefused(
                f"The ledger {self.path} was written by a newer conduit-exporter (schema "
                f"{version}, this program knows up to {schema_version()})",
                hint="run that version or a later one; a ledger is never downgraded",
            )
        return int(version)

    def _create(self, base_url: str, now_ns: int) -> None:
        _run_script(self.connection, _sql("schema.sql"))
        self.connection.executemany(
            "INSERT INTO meta (key, value) VALUES (?, ?)",
            [("base_url", base_url), ("created_ns", str(now_ns))],
        )
        self.connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self.connection.execute(f"PRAGMA user_version = {schema_version()}")
        # Whoever meant to keep one learns here that it did not come along.
        logger.warning(
            "the ledger %s is new: counters start at zero, and the look-back is counted", self.path
        )

    def _migrate(self, version: int) -> None:
        for number, name in migrations():
            if number > version:
                logger.info("upgrading the ledger to schema %d", number)
                _run_script(self.connection, _sql(name))
                self.connection.execute(f"PRAGMA user_version = {number}")

    def _check(self, base_url: str) -> None:
        if self.path.stat().st_size <= _CHECK_LIMIT_BYTES:
            ((answer,),) = self.connection.execute("PRAGMA integrity_check(1)")
            if answer != "ok":
                raise LedgerRefused(
                    f"The ledger {self.path} is damaged: {answer}", hint=HINT_DAMAGED
                )
        found = self.connection.execute("SELECT value FROM meta WHERE key = 'base_url'").fetchone()
        if found is None or found[0] != base_url:
            raise LedgerRefused(
                f"The ledger {self.path} belongs to {found and found[0]}, but CONDUIT_BASE_URL is "
                f"{base_url}",
                hint="use one ledger for each deployment: set EXPORTER_LEDGER to another file",
            )


class translated:  # noqa: N801 - reads as a clause: `with translated():`
    """Turns the database's exceptions into the ledger's, whatever it was doing.

    What a statement is to blame for goes through as it is: waiting would never mend it.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, sqlite3.Error) and not isinstance(error, _OF_THE_STATEMENT):
            raise _ledger_error(error) from error
        if isinstance(error, OSError):
            raise LedgerUnavailable(f"The ledger's disk failed: {error}") from error


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Turns a stored value that cannot be understood into LedgerRefused: it is damaged."""
    try:
        yield
    except (ValueError, TypeError, ArithmeticError, KeyError) as exc:
        raise LedgerRefused(
            f"The ledger holds a damaged value ({type(exc).__name__})", hint=HINT_DAMAGED
        ) from exc


def migrations() -> list[tuple[int, str]]:
    """The numbered migrations, in order: schema version and file name."""
    folder = resources.files("exporter.ledger").joinpath("migrations")
    if not folder.is_dir():
        return []
    names = sorted(one.name for one in folder.iterdir() if one.name.endswith(".sql"))
    return [(int(name[:4]), f"migrations/{name}") for name in names]


def schema_version() -> int:
    """The newest schema version: that of schema.sql, or of the last migration."""
    return max([1, *(number for number, _ in migrations())])


def _sql(name: str) -> str:
    return resources.files("exporter.ledger").joinpath(name).read_text(encoding="utf-8")


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    """Run statements inside the open transaction; `executescript` would commit it first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _create_private(path: Path) -> None:
    """Make sure that the file exists and that nobody else can read it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _MODE))
    except FileExistsError:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            try:
                path.chmod(_MODE)
                logger.warning("the ledger %s was readable by others; it is not any more", path)
            except PermissionError:
                logger.warning("the ledger %s is readable by others: chmod 600 it", path)
    except OSError as exc:
        raise LedgerUnavailable(
            f"The ledger {path} cannot be created: {exc.strerror}",
            hint="the folder of EXPORTER_LEDGER must exist and be writable for this user",
        ) from exc


def _refuse_unlike_ledger(path: Path) -> None:
    """Look at the file before SQLite does: its own words come late and vague, and a FIFO hangs."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise LedgerRefused(
                f"The ledger {path} is no regular file", hint="set EXPORTER_LEDGER to a file"
            )
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise LedgerUnavailable(
            f"The ledger {path} cannot be read: {exc.strerror}",
            hint="check the owner and the mode of the file and its folder",
        ) from exc
    wal = Path(f"{path}-wal")
    has_wal = wal.exists() and wal.stat().st_size > 0
    if not header:
        if has_wal:
            raise LedgerRefused(
                f"The ledger {path} is empty, but {wal.name} beside it is not", hint=HINT_DAMAGED
            )
        return
    if not header.startswith(_MAGIC):
        raise LedgerRefused(f"The ledger {path} is not a SQLite database", hint=HINT_DAMAGED)
    # With a log beside it the header may be behind, and the file rightly shorter than it will be.
    if has_wal:
        return
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    expected = int.from_bytes(header[28:32], "big") * page_size
    if found.st_size < expected:
        raise LedgerRefused(
            f"The ledger {path} is cut short: {found.st_size} of {expected} bytes are there",
            hint=HINT_DAMAGED,
        )


def _ledger_error(error: sqlite3.Error) -> LedgerError:
    """Map an exception to the tree: locked, refused (damaged) or unavailable (the rest)."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LedgerLocked(
            "Another process holds the ledger",
            hint="one exporter a file: stop the other one, or set EXPORTER_LEDGER to another file",
        )
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "decode" in str(error):
        return LedgerRefused(f"The ledger is damaged: {error}", hint=HINT_DAMAGED)
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return LedgerUnavailable(
            f"The ledger cannot be opened for writing: {error}",
            hint="the folder of EXPORTER_LEDGER must exist and be writable for this user",
        )
    return LedgerUnavailable(f"The ledger cannot be written: {error}")
