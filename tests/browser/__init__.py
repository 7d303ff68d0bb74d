"""``make browser``: Dagster's web pages as a person sees them, in a real browser, over a real ``make up``."""
