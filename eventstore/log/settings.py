"""Settings of a store that live in its database: columns of the table ``settings``, which has one row."""

import msgspec
import psycopg
from psycopg import sql

from eventstore.log.connection import Connection
from eventstore.log.errors import EventStoreError


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    value: str
    description: str


class SettingError(EventStoreError):
    """There is no such setting, or it cannot have this value."""


def settings(connection: Connection) -> list[Setting]:
    """All of them, as PostgreSQL writes their values."""
    rows = connection.execute(
        "SELECT a.attname, to_jsonb(s) ->> a.attname, col_description(a.attrelid, a.attnum) FROM settings s, "
        "pg_attribute a WHERE a.attrelid = 'settings'::regclass AND a.attnum > 0 AND NOT a.attisdropped "
        "AND a.attname <> 'only_row' ORDER BY a.attnum"
    ).fetchall()
    return [Setting(name=name, value=value, description=description) for name, value, description in rows]


def change_setting(connection: Connection, name: str, value: str) -> None:
    """Give a setting another value, as PostgreSQL reads it: ``10 minutes``. Raises SettingError."""
    known = [setting.name for setting in settings(connection)]
    if name not in known:
        raise SettingError(f"there is no setting {name!r}; there are: {', '.join(known)}")
    try:
        connection.execute(
            sql.SQL("UPDATE settings SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
        )
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        # A constraint is named as what it demands: max_hold_is_between_…
        demanded = (error.diag.constraint_name or "").removeprefix(f"{name}_").replace("_", " ")
        reason = f"it {demanded}" if demanded else error.diag.message_primary
        raise SettingError(f"{name} cannot be {value!r}: {reason}") from None
