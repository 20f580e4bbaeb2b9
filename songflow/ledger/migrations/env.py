"""Alembic's entry point: run the migrations on the ledger's connection."""

from __future__ import annotations

from alembic import context

from songflow.ledger.schema import metadata

# The ledger opens the transaction (and, on SQLite, takes the write lock) before it calls Alembic.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
    render_as_batch=True,
)
context.run_migrations()
