"""`order_snapshots`: the state of each order at the end of each business day on which it changed."""
