"""A standing chaos test: all that may be done to the store, while all that may happen happens."""
