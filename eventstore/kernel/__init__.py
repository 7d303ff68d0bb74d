"""What every domain shares: recorded events, payloads, the fold. Pure: no I/O, clock or database."""
