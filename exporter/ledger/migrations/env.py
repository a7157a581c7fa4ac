"""Alembic's entry: migrations run on the connection that they are given, in its transaction."""

from alembic import context

from exporter.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
