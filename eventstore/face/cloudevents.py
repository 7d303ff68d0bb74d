"""Recorded events in the CloudEvents 1.0 JSON format."""

import re
from typing import Any

import msgspec

from eventstore.kernel.recorded import RecordedEvent

_EXTENSION_NAME = re.compile("[a-z0-9]{1,40}")


def as_cloudevent(event: RecordedEvent, epoch: int | None = None) -> dict[str, Any]:
    """The event as other services read it.

    ``id`` is the position in the feed, usable as a watermark, with the ``epoch`` in which it was read;
    ``version`` is the event's version within its
    order (the subject). The identity that the producer gave stands in ``originsource`` and ``originid``.

    An event whose JSON cannot be decoded has it as text, and ``dataerror`` says why.
    """
    cloudevent: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(event.id),
        "source": "/eventstore/orders",
        "type": event.event_type,
        "subject": str(event.order_id),
        "time": event.happened_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "version": event.version,
        "recordedtime": event.recorded_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if epoch is not None:
        cloudevent["epoch"] = epoch
    if event.source is not None:
        cloudevent |= {"originsource": event.source, "originid": event.source_id}
    extensions = {
        name: value
        for name, value in event.metadata.items()
        if name not in cloudevent
        and name.isalnum()
        and name.islower()
        and isinstance(value, str | int | bool)
    }
    if event.undecodable is not None:
        text = {"datacontenttype": "text/plain", "dataerror": event.undecodable.error}
        return cloudevent | extensions | text | {"data": event.undecodable.raw}
    return cloudevent | extensions | {"data": msgspec.Raw(event.payload)}
