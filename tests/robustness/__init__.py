"""Whatever the log takes, or took in an older release: every command works, every other order is right."""
