"""Old payloads as today's: converted when they are read, never rewritten.

Each function takes a payload of its version to the next. To change the form of payloads: write ``_from_N``,
add it to UPCASTERS.
"""

from eventstore.kernel.codec import Payload, Upcaster


def _from_1(_event_type: str, payload: Payload) -> Payload:
    """Version 1 counted integer cents: 1250. Version 2 writes a decimal string: "12.50"."""
    if isinstance(payload.get("amount"), int):
        sign, cents = "-" if payload["amount"] < 0 else "", abs(payload["amount"])
        payload = {**payload, "amount": f"{sign}{cents // 100}.{cents % 100:02d}"}
    return payload


#: By the version that they convert from, in order: 1, 2, …
UPCASTERS: dict[int, Upcaster] = {1: _from_1}
