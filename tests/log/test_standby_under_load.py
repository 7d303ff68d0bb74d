"""Sixteen writers on the primary, a reader on a hot standby, kill -9 of either: each event is read once."""

from collections import Counter
from pathlib import Path

from eventstore.log import feed
from tests.log import journals
from tests.log.standbys import primary_server, standby_of
from tests.log.under_load import log_of, run


def test_each_acknowledged_event_is_read_once_on_a_standby_whichever_server_is_killed(tmp_path: Path) -> None:
    with primary_server() as primary, standby_of(primary) as standby:
        seen, plain = run(primary, standby, tmp_path, kills=6)
        log = log_of(primary)
    acknowledged = journals.acknowledged(tmp_path)
    assert len(acknowledged) > 500
    assert acknowledged <= set(log)
    assert Counter(seen) == Counter(log)
    assert set(log) - set(plain), "the plain reader lost nothing: this test could not fail"


def test_the_published_horizon_alone_would_lose_events_on_a_standby(tmp_path: Path) -> None:
    with primary_server() as primary:
        with primary.connect() as connection:
            row = connection.execute("SELECT pg_get_functiondef('note_horizon'::regproc)").fetchone()
            assert row is not None
            scan = "scanned := horizon_ms()"
            assert scan in row[0]
            connection.execute(row[0].replace(scan, "scanned := pg_sequence_last_value('feed_horizon')"))
            feed.publish_horizon(connection)
        with standby_of(primary) as standby:
            seen, _ = run(primary, standby, tmp_path, kills=0)
            assert set(log_of(primary)) - set(seen)
