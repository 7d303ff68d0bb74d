"""The database schema: Alembic revisions, each with its SQL in sql/<revision>, one file per function or table."""
