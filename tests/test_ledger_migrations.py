"""Migrations lead to exactly the tables that the code works with, whole or not at all."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect

from exporter.ledger import database, schema
from exporter.ledger.migrate import SCRIPTS, upgrade


def test_migrations_from_empty_lead_to_the_schema(tmp_path: Path) -> None:
    """Empty -> head equals what a new ledger is created with, indexes included."""
    migrated = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    created = create_engine(f"sqlite:///{tmp_path / 'created.db'}")
    with migrated.connect() as connection:
        upgrade(connection)
    with created.begin() as connection:
        schema.metadata.create_all(connection)
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == schema.HEAD
    for table in schema.metadata.tables:
        left, right = inspect(migrated), inspect(created)
        assert repr(left.get_columns(table)) == repr(right.get_columns(table))
    assert _indexes(migrated) == _indexes(created)
    migrated.dispose()
    created.dispose()


def _indexes(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'index'")
        return {str(row.sql) for row in rows}


def test_every_migration_is_known_to_the_opening_code() -> None:
    """The list of revisions that are not "newer" is the list of scripts."""
    scripts = ScriptDirectory(str(SCRIPTS))
    known = [script.revision for script in scripts.walk_revisions()]
    assert sorted(known) == sorted(database._REVISIONS)
    assert scripts.get_current_head() == schema.HEAD


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it in one transaction, or nothing."""
    engine = create_engine(f"sqlite:///{tmp_path / 'l.db'}")
    database.listen_transactions(engine)

    def fails(*_args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("alembic.runtime.migration.HeadMaintainer.update_to_step", fails)
    with engine.connect() as connection, pytest.raises(ZeroDivisionError):
        upgrade(connection)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
