"""The tables, views and documented functions of a migrated database, with their comments."""

import re
from typing import Any

import psycopg

from eventstore.orders.domain import DOMAIN
from tests.docs.reference.markdown import MADE, sentence, table

Connection = psycopg.Connection[Any]

_RELATIONS = """
    SELECT c.relname, c.relkind = 'v', obj_description(c.oid, 'pg_class')
      FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
       AND c.relname NOT LIKE '%\\_candidate' AND c.relname <> 'alembic_version'
     ORDER BY c.relname"""
_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull AND c.relkind <> 'v',
           pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum),
           EXISTS (SELECT FROM pg_constraint k
                    WHERE k.conrelid = a.attrelid AND k.contype = 'p' AND a.attnum = ANY (k.conkey))
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum"""
_FUNCTIONS = """
    SELECT p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
           obj_description(p.oid, 'pg_proc')
      FROM pg_proc p
     WHERE p.pronamespace = 'public'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NOT NULL
     ORDER BY p.proname"""


def page(connection: Connection) -> str:
    relations = {name: (view, comment) for name, view, comment in connection.execute(_RELATIONS).fetchall()}
    first = [name for name in _of_the_domain() if name in relations]
    others = [name for name in relations if name not in first]
    states = _columns(connection, DOMAIN.states.name)

    def relation(name: str) -> str:
        view, comment = relations[name]
        columns = _columns(connection, name)
        about = ["A view."] if view else []
        about += [sentence(comment)] if comment else []
        if name != DOMAIN.states.name and states.keys() <= columns.keys():
            columns = {column: row for column, row in columns.items() if column not in states}
            about += [f"The columns of `{DOMAIN.states.name}`, and:"]
        return "\n".join(
            [
                f"## {name}\n",
                *([" ".join(about) + "\n"] if about else []),
                *([table(("column", "type", ""), columns.values())] if columns else []),
            ]
        )

    return "\n".join(
        [
            "# Tables\n",
            MADE,
            "Read them with the role `eventstore_reader`; nobody but the store writes them. Beside each "
            "projection stands `<name>_candidate` with the same columns, which a replay fills. Bold columns "
            "are the key.\n",
            *map(relation, first),
            "# What the store needs for itself\n",
            *map(relation, others),
            "# Functions\n",
            table(("function", "returns", ""), _functions(connection)),
        ]
    )


def _of_the_domain() -> list[str]:
    """The log, then what is made from it."""
    return [
        "order_events",
        *(projection.name for projection in DOMAIN.projections),
        "order_snapshots",
        *(derived.name for derived in DOMAIN.derived),
    ]


def _columns(connection: Connection, relation: str) -> dict[str, tuple[str, str, str]]:
    """The rows of a table on the page, by the name of the column."""
    found = connection.execute(_COLUMNS, (relation,)).fetchall()
    return {
        name: (f"**`{name}`**" if key else f"`{name}`", _short(kind), _about(comment, default, may_be_null))
        for name, kind, may_be_null, default, comment, key in found
    }


def _about(comment: str | None, default: str | None, may_be_null: bool) -> str:
    notes = [comment or "", f"default `{_short(default)}`" if default else ""]
    if may_be_null and "null" not in (comment or "").lower():
        notes.append("may be null")
    return "; ".join(filter(None, notes))


def _functions(connection: Connection) -> list[tuple[str, str, str]]:
    return [
        (f"`{name}({_short(arguments)})`", f"`{_short(result)}`", sentence(comment))
        for name, arguments, result, comment in connection.execute(_FUNCTIONS).fetchall()
    ]


def _short(text: str) -> str:
    """As one writes it: no casts of constants, the short names of types."""
    text = re.sub(r"('[^']*'|NULL)::[a-z][a-z ]*", r"\1", text)
    return text.replace("timestamp with time zone", "timestamptz")
