"""The one error of this layer."""

from eventstore.kernel.addresses import without_logins


class ServerError(Exception):
    """No usable database server: one line that says what is wrong, where, and what to do."""

    def __init__(self, message: str = "") -> None:
        super().__init__(without_logins(message))
