"""Settings of a store that live in its database: columns of the table ``settings``, which has one row.

A setting is defined by its column: type and default, a comment that says what it means, a constraint whose
name says what is demanded.
"""

from datetime import timedelta
from decimal import Decimal

import msgspec
import psycopg
from psycopg import sql

from eventstore.log.connection import Connection
from eventstore.log.errors import EventStoreError

_COLUMNS = """
    SELECT a.attname, to_jsonb(s) ->> a.attname, format_type(a.atttypid, a.atttypmod),
           pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum),
           (SELECT min(o.conname) FROM pg_constraint o
             WHERE o.conrelid = a.attrelid AND o.contype = 'c' AND o.conkey = ARRAY[a.attnum])
      FROM settings s, pg_attribute a
      LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
     WHERE a.attrelid = 'settings'::regclass AND a.attnum > 0 AND NOT a.attisdropped
       AND a.attname <> 'only_row'
     ORDER BY a.attnum
"""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the store is told, as its code reads it: a field for each column."""

    max_hold: timedelta
    max_lag: timedelta
    max_file_wait: timedelta
    max_odd_share: Decimal
    max_unsealed: timedelta
    verify_events: int
    proof_budget: int
    max_derived_lag: timedelta
    max_snapshot_lag: timedelta
    max_age: timedelta
    max_proof_age: timedelta
    alert_warnings: bool
    keep_runs: timedelta


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting as people read it; values as PostgreSQL writes them."""

    name: str
    value: str
    default: str
    type: str
    demand: str  #: what its value must be, in words; empty where any will do
    description: str


class SettingError(EventStoreError):
    """There is no such setting, or it cannot have this value."""


def policy(connection: Connection) -> Policy:
    """What holds now."""
    fields = Policy.__struct_fields__
    columns = sql.SQL(", ").join(map(sql.Identifier, fields))
    row = connection.execute(sql.SQL("SELECT {} FROM settings").format(columns)).fetchone()
    assert row is not None, "the table has one row, always"
    return Policy(**dict(zip(fields, row, strict=True)))


def settings(connection: Connection) -> list[Setting]:
    """All of them, in the order of their columns."""
    rows = connection.execute(_COLUMNS).fetchall()
    defaults = _defaults(connection, {name: expression for name, _, _, expression, _, _ in rows})
    return [
        Setting(
            name=name,
            value=value,
            default=defaults[name],
            type=type_,
            demand=_demand(name, constraint),
            description=description or "",
        )
        for name, value, type_, _, description, constraint in rows
    ]


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
        demanded = _demand(name, error.diag.constraint_name)
        reason = f"it {demanded}" if demanded else error.diag.message_primary
        raise SettingError(f"{name} cannot be {value!r}: {reason}") from None
    except UnicodeEncodeError:
        raise SettingError(f"{name} cannot be {value!r}: it is no text") from None


def _demand(name: str, constraint: str | None) -> str:
    """A constraint is named as what it demands: max_hold_is_between_…"""
    return (constraint or "").removeprefix(f"{name}_").replace("_", " ")


def _defaults(connection: Connection, expressions: dict[str, str]) -> dict[str, str]:
    """What the expressions come to, which are those of the schema."""
    columns = [
        sql.SQL("{} AS {}").format(sql.SQL(expression), sql.Identifier(name))
        for name, expression in expressions.items()
    ]
    row = connection.execute(
        sql.SQL("SELECT key, value FROM jsonb_each_text((SELECT to_jsonb(d) FROM (SELECT {}) d))").format(
            sql.SQL(", ").join(columns)
        )
    )
    return dict(row.fetchall())
