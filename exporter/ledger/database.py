"""Opens the ledger's database, or says why it must not be opened; holds no statement of the work.

SQLite: WAL, synchronous=FULL (a commit survives power loss), one connection, exclusive. A file that
is foreign, newer, truncated or damaged is refused and left as it is.
"""

import contextlib
import logging
import os
import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, insert, make_url, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from exporter.errors import LedgerError, LedgerLocked, LedgerRefused, LedgerUnavailable
from exporter.ledger import schema

logger = logging.getLogger("exporter.ledger")

# "CExp" in a SQLite header's application id: a file of ours.
APPLICATION_ID: Final = 0x43457870
_MAGIC: Final = b"SQLite format 3\x00"
_REVISIONS: Final = ("0001",)
# A file up to this size is checked whole at start; above it that would delay the start by seconds,
# and what is read is checked as it is read.
_QUICK_CHECK_LIMIT_BYTES: Final = 64 << 20
_BUSY_TIMEOUT_S: Final = 1.0
# Wrong SQL, a constraint broken, a value too large: faults of a work, not of the database.
_OF_THE_STATEMENT: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.NotSupportedError,
    sqlite3.ProgrammingError,
)

_HINT_DAMAGED: Final = (
    "the file is left untouched: restore a copy, or move it away to start anew; "
    "counters then restart from the look-back"
)


class Database:
    """One open connection to a ledger that is ours, current and whole."""

    def __init__(self, *, url: str, base_url: str) -> None:
        if not is_sqlite(url):
            raise LedgerRefused(
                "A ledger on PostgreSQL is not supported by this version",
                hint="set EXPORTER_LEDGER to sqlite:///PATH",
            )
        self._path = sqlite_path(url)
        self._engine = _sqlite_engine(url, self._path)
        try:
            with translated():
                self.connection = self._engine.connect()
                self._prepare(base_url)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        connection = getattr(self, "connection", None)
        if connection is not None and not connection.closed:
            connection.close()
        self._engine.dispose()

    def size_bytes(self) -> int:
        """What the ledger takes on the disk now, write-ahead log included."""
        if self._path is None:
            return 0
        size = 0
        for path in (str(self._path), f"{self._path}-wal"):
            with contextlib.suppress(FileNotFoundError):
                size += os.stat(path).st_size  # noqa: PTH116 - after every few commits
        return size

    def _prepare(self, base_url: str) -> None:
        connection = self.connection
        with connection.begin():
            version = _version(connection)
            if version is None:
                if _is_foreign(connection):
                    raise LedgerRefused(
                        f"{self._name} is a database of another program",
                        hint="set EXPORTER_LEDGER to a file of the exporter's own",
                    )
                self._create(base_url)
                # Whoever meant to keep one learns here that it did not come along.
                logger.info("%s is new: everything in the look-back is counted anew", self._name)
                return
        if version not in _REVISIONS:
            raise LedgerRefused(
                f"{self._name} was written by a newer conduit-exporter (schema {version}, "
                f"this program knows up to {schema.HEAD})",
                hint="run that version or a later one; a ledger is never downgraded",
            )
        if version != schema.HEAD:
            # Alembic is a heavy import that almost no start needs.
            from exporter.ledger.migrate import upgrade  # noqa: PLC0415

            logger.info("upgrading the ledger from schema %s to %s", version, schema.HEAD)
            upgrade(connection)
        self._check(base_url)

    def _create(self, base_url: str) -> None:
        schema.metadata.create_all(self.connection)
        self.connection.execute(insert(schema.alembic_version).values(version_num=schema.HEAD))
        self.connection.execute(insert(schema.meta).values(key="base_url", value=base_url))
        self.connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")

    def _check(self, base_url: str) -> None:
        with self.connection.begin():
            if self._path is not None and self._path.stat().st_size <= _QUICK_CHECK_LIMIT_BYTES:
                verdict = self.connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
                if verdict != "ok":
                    raise LedgerRefused(f"{self._name} is damaged: {verdict}", hint=_HINT_DAMAGED)
            known = self.connection.execute(
                select(schema.meta.c.value).where(schema.meta.c.key == "base_url")
            ).scalar()
        if known != base_url:
            raise LedgerRefused(
                f"{self._name} belongs to {known}, but CONDUIT_BASE_URL is {base_url}",
                hint="use one ledger for each deployment: set EXPORTER_LEDGER to another file",
            )

    @property
    def _name(self) -> str:
        return f"The ledger {self._path or 'in memory'}"


class translated:  # noqa: N801 - reads as a clause: `with translated():`
    """Turns the database's exceptions into the ledger's, whatever it was doing.

    What a statement is to blame for goes through as it is: waiting would never mend it.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        # The driver's own, bare where a prepared statement raised it.
        original = error.orig if isinstance(error, DBAPIError) else error
        if isinstance(original, sqlite3.Error) and not isinstance(original, _OF_THE_STATEMENT):
            raise _ledger_error(original) from error
        if isinstance(error, OSError):
            raise LedgerUnavailable(f"The ledger's disk failed: {error}") from error


def is_sqlite(url: str) -> bool:
    """Whether a ledger's URL names a SQLite file."""
    return make_url(url).get_backend_name() == "sqlite"


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL; None for a ledger in memory or elsewhere."""
    database = make_url(url).database
    return Path(database) if is_sqlite(url) and database and database != ":memory:" else None


def _ledger_error(error: sqlite3.Error) -> LedgerError:
    """Map an exception to the tree: locked, refused (damaged) or unavailable (the rest)."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LedgerLocked(
            "Another process holds the ledger",
            hint="one exporter a file: stop the other one, or set EXPORTER_LEDGER to another file",
        )
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LedgerRefused(f"The ledger is damaged: {error}", hint=_HINT_DAMAGED)
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return LedgerUnavailable(
            f"The ledger cannot be opened for writing: {error}",
            hint="the folder of EXPORTER_LEDGER must exist and be writable for this user",
        )
    return LedgerUnavailable(f"The ledger cannot be written: {error}")


def _sqlite_engine(url: str, path: Path | None) -> Engine:
    if path is not None:
        _refuse_unlike_sqlite(path)
    engine = create_engine(
        url,
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_S},
        # The exporter's statements are few and fixed.
        query_cache_size=200,
    )
    listen_transactions(engine)
    event.listen(engine, "connect", _on_connect)
    return engine


def listen_transactions(engine: Engine) -> None:
    """Begin transactions ourselves: the driver's own guessing would commit DDL on its own."""
    event.listen(engine, "connect", _no_driver_transactions)
    event.listen(engine, "begin", _on_begin)


def _refuse_unlike_sqlite(path: Path) -> None:
    """Look at the header before SQLite does: its own words for a short file come late and vague."""
    try:
        with path.open("rb") as file:
            header = file.read(100)
            size = file.seek(0, 2)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise LedgerUnavailable(
            f"The ledger {path} cannot be read: {exc.strerror}",
            hint="check the owner and the mode of the file and its folder",
        ) from exc
    if not header:
        return
    if not header.startswith(_MAGIC):
        raise LedgerRefused(f"The ledger {path} is not a SQLite database", hint=_HINT_DAMAGED)
    wal = Path(f"{path}-wal")
    has_wal = wal.exists() and wal.stat().st_size > 0
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    pages = int.from_bytes(header[28:32], "big")
    # With a log beside it the header may be behind and the file rightly shorter than it will be.
    if has_wal:
        return
    if pages > 1 and int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise LedgerRefused(
            f"{path} is a database of another program",
            hint="set EXPORTER_LEDGER to a file of the exporter's own",
        )
    if size < pages * page_size:
        raise LedgerRefused(
            f"The ledger {path} is cut short: {size} of {pages * page_size} bytes are there",
            hint=_HINT_DAMAGED,
        )


def _on_connect(dbapi_connection: Any, _record: object) -> None:
    cursor = dbapi_connection.cursor()
    # Exclusive before the first access: then WAL needs no shared memory file, no second process
    # can enter, and the WAL-reset race of SQLite before 3.51.3 (two connections) cannot happen.
    cursor.execute("PRAGMA locking_mode = EXCLUSIVE")
    cursor.execute("PRAGMA auto_vacuum = INCREMENTAL")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -4096")
    # A long log would be a long recovery; 4 MiB is a few hundred commits.
    cursor.execute("PRAGMA wal_autocheckpoint = 1000")
    cursor.execute("PRAGMA journal_size_limit = 4194304")
    cursor.close()


def _no_driver_transactions(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None


def _on_begin(connection: Connection) -> None:
    # On the driver: this runs for every commit, and there is nothing here for Core to do.
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE")


def _version(connection: Connection) -> str | None:
    tables = connection.exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
    ).all()
    if not tables:
        return None
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    application_id = connection.exec_driver_sql("PRAGMA application_id").scalar()
    return str(version) if application_id == APPLICATION_ID else None


def _is_foreign(connection: Connection) -> bool:
    return bool(connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar())
