"""A database of its own for each example, and none left of those before."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest
from psycopg import sql


@pytest.fixture
def fresh(new_database: Callable[..., str], server_url: str) -> Callable[[], AbstractContextManager[str]]:
    """``with fresh() as url``: a new migrated database, dropped at the end."""

    @contextmanager
    def make() -> Iterator[str]:
        url = new_database()
        try:
            yield url
        finally:
            name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
            with psycopg.connect(server_url, autocommit=True) as server:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(name))))

    return make
