"""ingest and rejects: files of CloudEvents in, what could not go in kept."""
