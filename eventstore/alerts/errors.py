"""What can go wrong with an alert."""


class NotDeliveredError(Exception):
    """An alert did not arrive; one line that says why and shows no secret."""
