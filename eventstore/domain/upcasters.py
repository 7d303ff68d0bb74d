"""Old payloads as today's: converted when they are read, never rewritten.

Each function takes a payload of its version to the next; a payload goes through all that lie between its own
version and PAYLOAD_VERSION. To change the form of payloads: write ``_from_N``, add it to UPCASTERS.
"""

from collections.abc import Callable
from typing import Any

Payload = dict[str, Any]
Upcaster = Callable[[str, Payload], Payload]


def _from_1(_event_type: str, payload: Payload) -> Payload:
    """Version 1 counted integer cents: 1250. Version 2 writes a decimal string: "12.50"."""
    if isinstance(payload.get("amount"), int):
        sign, cents = "-" if payload["amount"] < 0 else "", abs(payload["amount"])
        payload = {**payload, "amount": f"{sign}{cents // 100}.{cents % 100:02d}"}
    return payload


#: By the version that they convert from, in order: 1, 2, …
UPCASTERS: dict[int, Upcaster] = {1: _from_1}

#: The version of payloads that are written now.
PAYLOAD_VERSION = max(UPCASTERS) + 1

#: The version of a payload that does not say its own; it stays 2 when newer versions come.
UNMARKED_VERSION = 2


def upcast(event_type: str, payload: Payload, version: int) -> Payload:
    """``payload`` of ``version`` in the form of PAYLOAD_VERSION.

    Raises ValueError for a version that this code does not know.
    """
    if not 1 <= version <= PAYLOAD_VERSION:
        raise ValueError(
            f"{event_type} has a payload of version {version}, this code knows versions 1 to "
            f"{PAYLOAD_VERSION}: upgrade it"
        )
    for step in range(version, PAYLOAD_VERSION):
        payload = UPCASTERS[step](event_type, payload)
    return payload
