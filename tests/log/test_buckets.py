"""The number of buckets: chosen while the log has no events, kept from then on, the same in every table."""

import time
from collections.abc import Callable

import psycopg

from tests.log.schema_objects import objects
from tests.shipped import upgrade


def test_probe(new_database: Callable[..., str]) -> None:
    url = new_database()
    with psycopg.connect(url, autocommit=True) as c:
        before = objects(c)
        for n in (256, 4, 16):
            t = time.monotonic()
            upgrade(url, buckets=n)
            print(n, time.monotonic() - t)
            t = time.monotonic()
            upgrade(url, buckets=n)
            print(n, time.monotonic() - t)
            print(
                c.execute(
                    "select log_buckets(), count(*) from pg_inherits where inhparent='order_events'::regclass"
                ).fetchone()
            )
        after = objects(c)
        for k in before.keys() | after.keys():
            if before.get(k) != after.get(k):
                print(k, before.get(k), after.get(k))
        assert before == after
