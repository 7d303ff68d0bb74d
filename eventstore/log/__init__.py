"""The log: append, read, horizon and ids, with the protocol itself in the database (schema/sql)."""
