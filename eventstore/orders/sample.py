"""Sample files for a demo: some weeks of a shop, with all that goes wrong in real life."""

import gzip
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import msgspec

_DAYS = timedelta(days=28)
_CURRENCIES = {"EUR": 6, "USD": 3, "GBP": 1}
_CARRIERS = ("DHL", "UPS", "DPD", "Royal Mail")
_PRODUCTS = {f"SKU-{number:04d}": Decimal(199 + 137 * number % 9800).scaleb(-2) for number in range(1, 201)}

_DUPLICATES = 0.01
_LATE = 0.03
_NAMES = ("{day}-1.ndjson.gz", "{day}-2.ndjson", "{day}-3.jsonl")


class _Event(msgspec.Struct, kw_only=True):
    """A CloudEvent, as its fields are written."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: UUID
    time: datetime
    datacontenttype: str = "application/json"
    correlationid: str
    data: dict[str, Any]


def write_sample(folder: Path, orders: int = 3000, seed: int = 1, until: date | None = None) -> list[Path]:
    """Write files with the events of ``orders`` orders, of the four weeks up to ``until`` (today).

    The same arguments give the same files, byte by byte. Each is written under another name first, then
    renamed, so that nobody reads half of it.
    """
    day = until or datetime.now(UTC).date()
    random = Random(f"{seed} {orders} {day}")  # noqa: S311 - no secrets here
    lines = _lines(random, orders, datetime(day.year, day.month, day.day, tzinfo=UTC))
    half = len(lines) // 2
    parts = [lines[:half], lines[half : half + half // 2], lines[half + half // 2 :]]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, part in zip(_NAMES, parts, strict=True):
        path = folder / name.format(day=f"sample-{day}")
        content = b"".join(part)
        hidden = path.with_name(f".{path.name}.tmp")
        hidden.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
        paths.append(hidden.replace(path))
    return paths


def _lines(random: Random, orders: int, end: datetime) -> list[bytes]:
    """The lines of all files, in the order in which they arrive: mostly soon after they happened."""
    arrivals: list[tuple[datetime, bytes]] = []
    customers = [_uuid(random) for _ in range(max(1, orders // 2))]
    for _ in range(orders):
        for event in _order(random, random.choice(customers), end - random.random() * _DAYS):
            if event.time >= end:
                break  # has not happened yet
            late = timedelta(days=3) if random.random() < _LATE else timedelta(seconds=90)
            arrival = event.time + random.random() * late
            line = msgspec.json.encode(event) + b"\n"
            arrivals.append((arrival, line))
            if random.random() < _DUPLICATES:  # sent again, to be on the safe side
                arrivals.append((arrival + timedelta(hours=random.random()), line))
    arrivals.sort()
    lines = [line for _, line in arrivals]
    created = [line for line in lines if b'"OrderCreated"' in line]
    for bad in _bad_lines(random, created):
        lines.insert(random.randrange(len(lines)), bad)
    lines.append(random.choice(created).replace(b'"amount":"', b'"amount":"1'))  # known, with another amount
    return lines


def _order(random: Random, customer: UUID, placed: datetime) -> Iterator[_Event]:
    """The life of one order, as it happened."""
    order_id = _uuid(random)
    correlation = f"checkout-{random.getrandbits(40):010x}"
    [currency] = random.choices(list(_CURRENCIES), list(_CURRENCIES.values()))
    basket = [
        (sku, random.choice((1, 1, 1, 2, 4)))
        for sku in random.sample(list(_PRODUCTS), random.choice((1, 1, 1, 2, 2, 3, 5)))
    ]
    items = [{"sku": sku, "quantity": count, "price": str(_PRODUCTS[sku])} for sku, count in basket]
    amount = sum((_PRODUCTS[sku] * count for sku, count in basket), Decimal())

    def event(event_type: str, source: str, at: datetime, **data: Any) -> _Event:
        return _Event(
            id=f"{event_type}/{order_id}/{at:%H%M%S%f}",
            source=source,
            type=event_type,
            subject=order_id,
            time=at.replace(microsecond=at.microsecond // 1000 * 1000),
            correlationid=correlation,
            data=data,
        )

    def money(value: Decimal) -> dict[str, str]:
        return {"amount": str(value), "currency": currency}

    def hours(shortest: float, longest: float) -> timedelta:
        return timedelta(hours=random.uniform(shortest, longest))

    chance = random.random()
    paid = placed + hours(0.01, 2)
    shipped = placed + (hours(0.02, 1) if 0.10 < chance < 0.13 else hours(6, 72))  # some before they are paid
    delivered = shipped + hours(20, 120)
    yield event(
        "OrderCreated", "/shop/checkout", placed, customer_id=str(customer), **money(amount), items=items
    )
    if chance < 0.03:
        return  # a basket that nobody came back to
    if chance < 0.06:
        yield event("OrderCancelled", "/shop/service", placed + hours(1, 30), reason="changed my mind")
        return
    if 0.20 < chance < 0.22:
        amount -= min(amount, Decimal("5.00"))
        yield event(
            "OrderAmountCorrected",
            "/shop/service",
            placed + hours(0, 0.01),
            **money(amount),
            reason="voucher",
        )
    yield event("OrderPaid", "/payments", paid, **money(amount))
    if chance < 0.08:
        cancelled = paid + hours(1, 5)
        yield event("OrderCancelled", "/shop/service", cancelled, reason="out of stock")
        yield event(
            "OrderRefunded", "/payments", cancelled + hours(0.1, 3), **money(amount), reason="cancelled"
        )
        return
    carrier = random.choice(_CARRIERS)
    yield event(
        "OrderShipped",
        "/warehouse",
        shipped,
        carrier=carrier,
        tracking_number=f"{random.getrandbits(40):012d}",
    )
    if 0.08 < chance < 0.09:
        yield event("OrderCancelled", "/shop/service", shipped + hours(1, 20), reason="parcel lost")
        return
    yield event("OrderDelivered", f"/carriers/{carrier.lower().replace(' ', '-')}", delivered)
    if chance > 0.95:
        part = (amount / 2).quantize(Decimal("0.01"))
        yield event(
            "OrderRefunded", "/payments", delivered + hours(10, 150), **money(part), reason="sent back"
        )


def _bad_lines(random: Random, created: list[bytes]) -> Iterator[bytes]:
    """What cannot be appended, made of good lines; and what is odd but harmless."""

    def fresh() -> bytes:
        """An event with an identity that no other one has."""
        return random.choice(created).replace(b"OrderCreated/", b"%08x/" % random.getrandbits(32), 1)

    for _ in range(3):
        yield random.choice(created)[: random.randrange(20, 90)] + b"\n"
    yield b"<html><body>502 Bad Gateway</body></html>\n"
    yield fresh().replace(b'"specversion":"1.0"', b'"specversion":"0.3"')
    yield fresh().replace(b'"type":"OrderCreated"', b'"type":"OrderTeleported"')
    yield fresh().replace(b'"subject":"', b'"subject":"order-')
    yield fresh().replace(b'"amount":"', b'"amount":"1e')
    yield fresh().replace(b'"currency":"', b'"currency":"~')
    yield fresh().replace(b"SKU-", b"SKU\\u0000", 1)
    yield fresh().replace(b"SKU-", "Größe ".encode("latin-1"), 1)
    yield b"\n"
    yield random.choice(created).replace(b"\n", b"\r\n")


def _uuid(random: Random) -> UUID:
    return UUID(int=random.getrandbits(128), version=4)
