"""The functions run with their owner's rights: set-up fails where others could slip theirs in between."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from eventstore.log.schema import migrate
from eventstore.server.errors import ServerError
from tests.shipped import upgrade

Connection = psycopg.Connection[Any]


@contextmanager
def stranger(connection: Connection) -> Iterator[str]:
    name = f"eventstore_test_stranger_{uuid4().hex[:8]}"
    connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
    try:
        yield name
    finally:
        connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


@pytest.mark.parametrize(
    "allowed", ["GRANT CREATE ON SCHEMA public TO {}", "ALTER SCHEMA public OWNER TO {}"]
)
def test_a_role_that_may_create_in_public_is_named_with_the_remedy(
    new_database: Callable[..., str], allowed: str
) -> None:
    url = new_database(migrated=False)
    with psycopg.connect(url, autocommit=True) as admin, stranger(admin) as name:
        admin.execute(sql.SQL(allowed).format(sql.Identifier(name)))
        with pytest.raises(ServerError, match=name) as refused:
            upgrade(url)
        assert migrate.current(url) is None
        remedy = str(refused.value).partition("mends that with: ")[2]
        admin.execute(remedy)
        upgrade(url)


def test_public_may_create_nothing_after_set_up_even_where_it_could_before(
    new_database: Callable[..., str],
) -> None:
    url = new_database(migrated=False)
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        upgrade(url)
        assert admin.execute(
            "SELECT has_schema_privilege('eventstore_writer', 'public', 'CREATE')"
        ).fetchone() == (False,)
        admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        with pytest.raises(ServerError, match="REVOKE CREATE ON SCHEMA public FROM PUBLIC"):
            upgrade(url)


@pytest.mark.parametrize(
    "made",
    [
        "CREATE FUNCTION length(jsonb) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE PROCEDURE noted() LANGUAGE sql AS ''",
        "CREATE AGGREGATE total(bigint) (SFUNC = int8pl, STYPE = bigint)",
        "CREATE OPERATOR ~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
    ],
)
def test_what_a_stranger_left_in_public_is_named_with_the_remedy(
    new_database: Callable[..., str], made: str
) -> None:
    url = new_database(migrated=False)
    with psycopg.connect(url, autocommit=True) as admin, stranger(admin) as name:
        admin.execute(
            sql.SQL("GRANT CREATE ON SCHEMA public TO {0}; SET ROLE {0}").format(sql.Identifier(name))
        )
        admin.execute(made)
        admin.execute(
            sql.SQL("RESET ROLE; REVOKE CREATE ON SCHEMA public FROM {}").format(sql.Identifier(name))
        )
        with pytest.raises(ServerError, match=name) as refused:
            upgrade(url)
        admin.execute(str(refused.value).partition("mends that with: ")[2])
        upgrade(url)


def test_functions_of_another_superuser_such_as_those_of_extensions_are_nobodys_business(
    database_url: str,
) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin, stranger(admin) as name:
        admin.execute(
            sql.SQL(
                "ALTER ROLE {0} SUPERUSER; SET ROLE {0}; CREATE FUNCTION helper() RETURNS int "
                "LANGUAGE sql AS 'SELECT 1'; RESET ROLE"
            ).format(sql.Identifier(name))
        )
        upgrade(database_url)
