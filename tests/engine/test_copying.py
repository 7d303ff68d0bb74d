"""What goes through COPY comes back as it was, whatever the text."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.engine.writing import copy_rows

texts = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12
) | st.sampled_from(
    [
        "null",
        "NULL",
        "",
        "\\",
        '"',
        "\\.",
        "a,b",
        "{}",
        '{"a"}',
        "\n",
        "\r\n",
        "\t",
        "\\n",
        "é",
        "\u2028",
        "[",
        "]\n[",
        "[]",
    ]
)
rows = st.tuples(
    st.uuids(),
    texts | st.none(),
    st.lists(texts, max_size=3).map(tuple),
    st.decimals(min_value=-(10**8), max_value=10**8, places=2, allow_nan=False) | st.none(),
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)),
    st.integers(-(2**31), 2**31 - 1),
)
COLUMNS = ("id", "words", "list", "amount", "at", "number")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, max_size=5))
def test_every_row_comes_back_as_it_was(connection: psycopg.Connection[Any], given: list[Any]) -> None:
    connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS copied (id uuid, words text, list text[], "
        "amount decimal(12,2), at timestamptz, number int, position serial)"
    )
    connection.execute("TRUNCATE copied")
    assert copy_rows(connection, "copied", COLUMNS, given) == len(given)
    found = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM copied ORDER BY position").fetchall()
    assert [(*row[:2], tuple(row[2]), *row[3:]) for row in found] == given


def test_a_list_may_stand_where_the_first_row_has_none(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TEMPORARY TABLE copied (word text, list text[])")
    given: list[tuple[str, tuple[str, ...] | None]] = [("a", None), ("[b]", ("x", "null", "y z")), ("c", ())]
    assert copy_rows(connection, "copied", ("word", "list"), given) == 3
    rows = connection.execute("SELECT * FROM copied").fetchall()
    assert [(word, found if found is None else tuple(found)) for word, found in rows] == given


def test_more_rows_than_a_batch(connection: psycopg.Connection[Any]) -> None:
    connection.execute("CREATE TEMPORARY TABLE copied (id uuid, amount decimal)")
    ids: list[UUID] = [uuid4() for _ in range(1234)]
    assert copy_rows(connection, "copied", ("id", "amount"), ((one, Decimal(1)) for one in ids)) == 1234
    assert {one for (one,) in connection.execute("SELECT id FROM copied")} == set(ids)
