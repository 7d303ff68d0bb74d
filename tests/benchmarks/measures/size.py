"""What an event takes on the disk."""

from collections.abc import Iterator

from eventstore.log.connection import open_connection
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row

_PARTS = """
    SELECT coalesce(substring(c.relname FROM '^order_events_[0-9]+_(.*)$'), 'rows') AS part,
           sum(CASE c.relkind WHEN 'i' THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END)::bigint
      FROM pg_partition_tree('order_events') t
      JOIN pg_class c ON c.oid = t.relid
                      OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = t.relid)
     WHERE t.isleaf
     GROUP BY 1 ORDER BY 2 DESC"""


def size(bench: Bench) -> Iterator[Row]:
    log = bench.log(bench.events)
    with open_connection(log.url) as connection:
        parts = {part: total / log.events for part, total in connection.execute(_PARTS).fetchall()}
    yield Row(
        measure=f"the log, {log.size:,} events",
        unit="bytes an event",
        ours=[sum(parts.values())],
        target=("<=", 410),
        note=", ".join(f"{part} {of_it:.0f}" for part, of_it in parts.items()),
    )
