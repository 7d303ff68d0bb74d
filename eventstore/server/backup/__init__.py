"""Backups and restores: base backups with the write-ahead log that follows, and dumps with roles."""
