"""The domain that is shipped: orders. Its event types, rules and tables; the engine knows none of it."""
