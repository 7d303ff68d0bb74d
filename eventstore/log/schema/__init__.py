"""The schema: tables by revision, with their SQL in sql/<revision>; functions by topic (docs/schema.md)."""
