"""The schema: Alembic revisions, each with its SQL in sql/<revision>, a file per function or table."""
