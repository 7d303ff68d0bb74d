"""How many buckets the log of the tests has: 16, or as many as ``pytest --buckets`` says."""

import pytest

from eventstore.kernel.buckets import label, table_of
from eventstore.server.settings import buckets

BUCKETS = buckets()
KEYS = [label(bucket, BUCKETS) for bucket in range(BUCKETS)]

#: For tests that append enough events for whole tiles of the seals in 16 buckets, not in many more.
wants_whole_tiles = pytest.mark.skipif(BUCKETS > 16, reason="so few events fill no tile of so many buckets")


def part(table: str, bucket: int) -> str:
    """The table of a bucket of the log, or of a candidate."""
    return table_of(table, bucket, BUCKETS)


PARTS_OF_THE_LOG = [part("order_events", bucket) for bucket in range(BUCKETS)]
