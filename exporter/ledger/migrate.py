"""Runs the ledger's migrations; imported only when a ledger is behind, for Alembic is heavy."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from exporter.ledger.schema import HEAD

SCRIPTS: Final = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Bring the schema to `revision` in one transaction: all of it or nothing."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    with connection.begin():
        command.upgrade(config, revision)
