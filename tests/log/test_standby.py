"""A standby sees no open appends, so it must answer no reader."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from eventstore.log.append import append_json
from eventstore.server import embedded
from eventstore.server.cluster import program
from eventstore.server.urls import with_database

Connection = psycopg.Connection[Any]


@retry(
    retry=retry_if_exception_type(psycopg.OperationalError), wait=wait_fixed(0.1), stop=stop_after_delay(60)
)
def connected(url: str) -> Connection:
    return psycopg.connect(url, autocommit=True)


@pytest.fixture
def standby(connection: Connection, database_url: str, tmp_path: Path) -> Iterator[Connection]:
    """A session of a hot standby with the database as it is now."""
    if os.environ["EVENTSTORE_TEST_SERVER"]:
        pytest.skip("makes a standby of the embedded server only")
    data = tmp_path / "postgres"
    options = ["--checkpoint=fast", "--write-recovery-conf"]
    subprocess.run(
        [program("pg_basebackup"), "-d", database_url, "-D", data, *options], check=True, capture_output=True
    )
    owner = Path(str(connection.info.host)).stat()
    for path in [data, *data.rglob("*")]:
        shutil.chown(path, owner.st_uid, owner.st_gid)
    try:
        url = embedded.start(tmp_path)
        with connected(with_database(url, connection.info.dbname)) as session:
            yield session
    finally:
        embedded.stop(tmp_path)


def test_on_a_standby_the_horizon_is_neither_published_nor_told(
    connection: Connection, standby: Connection
) -> None:
    assert standby.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    with connection.transaction():
        append_json(connection, uuid4(), [{"type": "OrderShipped", "data": {}}])
        for call, said in (
            ("horizon_ms()", "feed cannot be read on a standby"),
            ("read_events(NULL, 1)", "feed cannot be read on a standby"),
            ("publish_horizon()", "horizon cannot be published on a standby"),
        ):
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=said):
                standby.execute(f"SELECT {call}")
