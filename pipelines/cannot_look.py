"""A check that cannot look, because of a file, a key or a setting, fails and says why on its page.

An outage of the database is another thing: it fails the run, which is tried again.
"""

from eventstore.ingestion.files import InputFileError
from eventstore.seals.errors import SealError
from eventstore.server.errors import ServerError

CANNOT_LOOK = (InputFileError, SealError, ServerError, OSError)


def why(error: BaseException) -> str:
    """The reason, on one line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {error.filename}: {error.strerror or error}"
    return " ".join(str(error).split())
