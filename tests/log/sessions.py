"""Other people's sessions: logins of their own, forgotten transactions, waits."""

from typing import Any

import psycopg
from psycopg import sql
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

Connection = psycopg.Connection[Any]


def make_login(connection: Connection, name: str, *roles: str) -> str:
    """A login of this database alone that has the given roles; drop_logins() ends it."""
    login = f"{connection.info.dbname}_{name}"
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'hush'").format(sql.Identifier(login)))
    for role in roles:
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(login)))
    return login


def drop_logins(connection: Connection) -> None:
    mine = connection.execute(
        "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", (f"{connection.info.dbname}_",)
    ).fetchall()
    for (name,) in mine:
        end_sessions(connection, name)
        connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


def end_sessions(connection: Connection, role: str) -> None:
    """And wait for it: one that ends takes its temporary tables away, which DROP OWNED would trip over."""
    connection.execute(
        "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE usename = %s", (role,)
    )


@retry(retry=retry_if_result(lambda waits: not waits), wait=wait_fixed(0.01), stop=stop_after_delay(30))
def until_blocked(observer: Connection, pid: int) -> bool:
    row = observer.execute(
        "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", (pid,)
    ).fetchone()
    return row == (True,)


def is_alive(observer: Connection, session: Connection) -> bool:
    row = observer.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (session.info.backend_pid,)
    ).fetchone()
    return row == (1,)
