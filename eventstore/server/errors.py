"""The one error of this layer."""


class ServerError(Exception):
    """No usable database server: one line that says what is wrong, where, and what to do."""
