"""Where things are, and a PostgreSQL of our own where the user has none. Knows nothing of events."""
