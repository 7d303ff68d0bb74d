"""A database of revision 0003 as it may stand somewhere, with all that it took and no later one takes."""

import json
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from tests.robustness.naive import CURRENCY, Given, as_json
from tests.shipped import upgrade

Connection = psycopg.Connection[Any]
DAY_MS = 86_400_000
MONEY = '"amount": "1.00", "currency": "EUR"'
YEAR_5000 = UUID("5706e17a-9600-7000-8000-000000000000")
YEAR_10000 = UUID("f6a2d3c0-1111-4222-8333-444444444444")  # what gen_random_uuid() may give
NEVER = UUID("ffffffff-ffff-ffff-ffff-ffffffffffff")
_LONG_AGO = (UUID("00000000-0001-7000-8000-000000000001"), UUID("4f1f2a1c-1f6b-4c0e-8d5e-111111111111"))
_ROW = "(id, order_id, version, event_type, event_data, created_at, metadata)"


def _nested(depth: int) -> str:
    return '{"x":' * depth + "1" + "}" * depth


#: type, data and metadata as JSON texts, and whether the rules can fold it.
_BAD = [
    ("OrderPaid", f'{{{MONEY}, "x": {_nested(150)}}}', "{}"),
    ("OrderPaid", f'{{{MONEY}, "x": {_nested(2_000)}}}', "{}"),
    ("Unheard", _nested(2_000), "{}"),
    ("OrderPaid", f"{{{MONEY}}}", _nested(2_000)),
    ("OrderPaid", f'{{{MONEY}, "x": 1e20000}}', "{}"),
    ("OrderPaid", f'{{{MONEY}, "x": {"9" * 5_000}}}', "{}"),
    ("OrderPaid", f"{{{MONEY}}}", '{"x": 1e20000}'),
    ("OrderPaid", '{"amount": "1.' + "0" * 20_000 + '", "currency": "EUR"}', "{}"),
    ("OrderPaid", f'{{{MONEY}, "x": "{"y" * 2_000_000}"}}', "{}"),
    ("OrderPaid vX", f"{{{MONEY}}}", "{}"),
    ("a\x1b[31m\nb", "{}", "{}"),
    ("OrderPaid", '{"amount": "99999999.99", "currency": "eur"}', "{}"),
    ("OrderPaid", "{}", "{}"),
    *(
        ("OrderPaid", f"{{{MONEY}}}", f'{{"schema_version": {version}}}')
        for version in (
            '"x"',
            "0",
            "-1",
            "2.5",
            "[2]",
            "null",
            "true",
            "99999999999999999999",
            '"2 "',
            "1e400",
        )
    ),
]


class OldDatabase(NamedTuple):
    good: dict[UUID, list[Given]]
    bad: list[UUID]


def make(url: str, moved_to: UUID | None = None) -> OldDatabase:
    """Bring the empty database at ``url`` to revision 0003 and fill it.

    ``moved_to``: the horizon was published when this id was the newest.
    """
    upgrade(url, "0003")
    good = {
        UUID(int=number): [
            Given("OrderCreated", number * DAY_MS, f"{number}.50", UUID(int=number % 5)),
            Given("OrderPaid", (number + 1) * DAY_MS, f"{number}.50"),
            Given("OrderRefunded", (number + 2) * DAY_MS, "0.50"),
            Given("OrderPaid", (number - 1) * DAY_MS, "2.00"),
        ]
        for number in range(1, 21)
    }
    bad = [UUID(int=1000 + number) for number in range(len(_BAD))]
    with psycopg.connect(url, autocommit=True) as connection:
        for order, events in good.items():
            _append(connection, order, *map(as_json, events[:1]))
        _read_models(connection)
        for order, (event_type, data, metadata) in zip(bad, _BAD, strict=True):
            _append(connection, order, as_json(Given("OrderCreated", 5, "9.00", currency="EUR")))
            connection.execute(
                "SELECT append_events(%s, jsonb_build_array(jsonb_build_object("
                "'type', %s::text, 'data', %s::jsonb, 'metadata', %s::jsonb, 'created_at', 6)))",
                (order, event_type, data, metadata),
            )
            _append(connection, order, as_json(Given("OrderShipped", 7)))
        _quarantine(connection, bad[-1])
        _views(connection)
        _rejects(connection)
        bad += _odd_ids(connection, moved_to)
        for order, events in good.items():
            _append(connection, order, *map(as_json, events[1:]))
        connection.execute("SELECT save_watermark('nobody', id) FROM order_events ORDER BY id LIMIT 1")
        connection.execute("SELECT save_watermark('ended', %s)", (NEVER,))
    return OldDatabase(good, bad)


def _append(connection: Connection, order: UUID, *events: dict[str, Any]) -> None:
    connection.execute("SELECT append_events(%s, %s)", (order, json.dumps(events)))


def _read_models(connection: Connection) -> None:
    """As a refresh of the release of that revision left them, when each good order had its first event."""
    connection.execute(
        """
        SELECT publish_horizon();
        INSERT INTO projections (name, watermark, fold_version)
             SELECT name, (SELECT id FROM order_events ORDER BY id DESC LIMIT 1), '1'
               FROM unnest(ARRAY['orders', 'order_history', 'order_snapshots', 'customers',
                                 'daily_order_metrics']) AS name;
        INSERT INTO orders
             SELECT order_id, (event_data ->> 'customer_id')::uuid, (event_data ->> 'amount')::numeric,
                    event_data ->> 'currency', 'Created', 0, 0, business_time(created_at),
                    NULL, NULL, NULL, NULL, NULL, version, id, business_time(created_at), '{}', '{}', NULL
               FROM order_events;
        INSERT INTO order_history
             SELECT o.*, o.last_event_at, 'infinity', recorded_at(o.last_event_id), 'infinity' FROM orders o;
        INSERT INTO order_snapshot_days (day, fold_version)
             SELECT DISTINCT business_day(created_at), '1' FROM order_events;
        INSERT INTO order_snapshots
             SELECT business_day(e.created_at), start_of_day_ms(business_day(e.created_at) + 1) - 1,
                    2147483647, 1, o.*
               FROM orders o JOIN order_events e USING (order_id);
        UPDATE order_snapshots SET fold_version = '1';
        INSERT INTO customers SELECT * FROM customers_as_of('2000-01-01');
        """
    )


def _quarantine(connection: Connection, order: UUID) -> None:
    for projection in ("orders", "order_history", "order_snapshots"):
        connection.execute(
            "INSERT INTO quarantine (projection, order_id, error) VALUES (%s, %s, 'version 2: no')",
            (projection, order),
        )


def _views(connection: Connection) -> None:
    connection.execute(
        f"""
        CREATE VIEW paid AS
            SELECT order_id, paid_amount, customer_id FROM orders WHERE currency = '{CURRENCY}';
        COMMENT ON VIEW paid IS 'of the team';
        CREATE VIEW paid_by_customer AS SELECT customer_id, sum(paid_amount) AS paid FROM paid GROUP BY 1;
        GRANT SELECT ON paid_by_customer TO eventstore_reader;
        CREATE FUNCTION paid_for(wanted uuid) RETURNS numeric LANGUAGE sql STABLE
            RETURN (SELECT paid_amount FROM orders WHERE order_id = wanted);
        """
    )


def _rejects(connection: Connection) -> None:
    for number, raw in enumerate((b"\xff\xfe\x00", b"{" * 3_000, b"\x1b[2J", b'{"specversion":"1.0"}'), 1):
        connection.execute(
            "INSERT INTO rejects (file, line, reason, detail, raw, raw_bytes) "
            "VALUES ('/a', %s, 'not_json', 'no', %s, %s)",
            (number, raw, len(raw)),
        )


def _odd_ids(connection: Connection, moved_to: UUID | None) -> list[UUID]:
    """Rows that the owner inserted with ids of his own."""
    ids = [*_LONG_AGO, *filter(None, [moved_to])]
    for number, event_id in enumerate(ids):
        _insert(connection, event_id, UUID(int=2000 + number))
    if moved_to:
        connection.execute("SELECT publish_horizon()")
    later = [event_id for event_id in (YEAR_5000, YEAR_10000, NEVER) if event_id != moved_to]
    for number, event_id in enumerate(later, len(ids)):
        _insert(connection, event_id, UUID(int=2000 + number))
    return [UUID(int=2000 + number) for number in range(len(ids) + len(later))]


def _insert(connection: Connection, event_id: UUID, order: UUID) -> None:
    connection.execute(
        f"INSERT INTO order_events {_ROW} VALUES (%s, %s, 1, 'OrderShipped', '{{}}', 5, '{{}}')",
        (event_id, order),
    )


def fingerprint(url: str) -> tuple[int, str]:
    """How many rows the log has, and a hash over every byte of them."""
    with psycopg.connect(url) as connection:
        number, digest = connection.execute(
            "SELECT count(*), md5(string_agg(md5(e::text), '' ORDER BY order_id, version)) "
            "FROM order_events e"
        ).fetchone() or (0, "")
    return number, digest


def waiting(url: str) -> int:
    """How many events lie above the horizon."""
    with psycopg.connect(url, autocommit=True) as connection:
        (published,) = connection.execute("SELECT publish_horizon()").fetchone() or (0,)
        ids = connection.execute("SELECT id FROM order_events").fetchall()
    return sum(event_id.int >> 80 > published for (event_id,) in ids)
