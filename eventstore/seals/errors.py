"""Why nothing can be sealed, or proven. Each message says what was found and what to do."""

from eventstore.log.errors import EventStoreError


class SealError(EventStoreError):
    """Sealing would go against what was sealed before, or something that it needs is missing."""


class KeyMissingError(SealError):
    """The private key is not here, or is not the one that signs now."""
