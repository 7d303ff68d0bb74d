"""Alerts: what was told to whom, the message, and the ways on which it goes out. Knows nothing of Dagster."""
