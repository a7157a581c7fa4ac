"""Statements that SQLAlchemy Core builds once and the driver runs.

For the few statements that run for every run: Core's caching and result objects cost several times
what SQLite's own work does. What Core knows of dialects and types stays in use; only its machinery
between text and driver is stepped around.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql.expression import ClauseElement


class Prepared:
    """One statement, compiled for one connection; parameters go by the names of its binds."""

    def __init__(self, connection: Connection, statement: ClauseElement) -> None:
        compiled: Any = statement.compile(dialect=connection.dialect)
        if compiled.positiontup is None:
            raise TypeError("prepared statements need a driver with positional parameters")
        self._sql = str(compiled)
        fixed = {name: value for name, value in compiled.params.items() if value is not None}
        self._places = tuple((name, fixed.get(name)) for name in compiled.positiontup)
        driver: Any = connection.connection.driver_connection
        self._execute = driver.execute
        self._execute_many = driver.executemany

    def run(self, parameters: Mapping[str, Any]) -> None:
        """Execute once, for its effect."""
        self._execute(self._sql, self._values(parameters))

    def run_many(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute once for each of `rows`."""
        self._execute_many(self._sql, [self._values(row) for row in rows])

    def first(self, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row, as a plain tuple in the order of the selected columns."""
        row: tuple[Any, ...] | None = self._execute(self._sql, self._values(parameters)).fetchone()
        return row

    def rows(self, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """All rows, as plain tuples in the order of the selected columns."""
        found: list[tuple[Any, ...]] = self._execute(self._sql, self._values(parameters)).fetchall()
        return found

    def _values(self, parameters: Mapping[str, Any]) -> list[Any]:
        return [parameters.get(name, fixed) for name, fixed in self._places]
