"""Alembic's entry point: run the revisions on the connection that migrate.upgrade() opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
