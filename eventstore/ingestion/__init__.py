"""CloudEvents files in; lines that cannot go in are kept as rejects, and can be tried again."""
