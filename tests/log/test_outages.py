"""What the database answers when it goes away is told from what it has against a statement."""

from typing import Any

import psycopg
import pytest
from psycopg.errors import ObjectNotInPrerequisiteState
from psycopg.pq import DiagnosticField

from eventstore.log.errors import DatabaseUnavailableError
from eventstore.log.outages import is_outage, outage

Connection = psycopg.Connection[Any]
URL = "postgresql://nowhere/"


@pytest.mark.parametrize(
    "said", ["lost connection to parallel worker", "parallel worker failed to initialize"]
)
def test_a_parallel_worker_that_is_gone_went_with_the_server(said: str) -> None:
    """As the server sends it when it is killed at the right moment, which no test can choose."""
    fields: dict[int, bytes | None] = {
        DiagnosticField.SQLSTATE: b"55000",
        DiagnosticField.MESSAGE_PRIMARY: said.encode(),
        DiagnosticField.SOURCE_FILE: b"parallel.c",
    }
    error = ObjectNotInPrerequisiteState(said, info=fields)
    assert is_outage(error)
    explained = outage(error, URL)
    assert isinstance(explained, DatabaseUnavailableError)
    assert "the database server went away: run it again when the server is well" in str(explained)
    assert said in str(explained)


def test_a_function_that_wants_something_else_first_is_no_outage(connection: Connection) -> None:
    with pytest.raises(ObjectNotInPrerequisiteState, match="there is no staging table") as refused:
        connection.execute("SELECT append_staged()")
    assert not is_outage(refused.value)
    assert outage(refused.value, URL) is None
