"""Alembic's scripts: how a ledger of an older release becomes one of this release."""
