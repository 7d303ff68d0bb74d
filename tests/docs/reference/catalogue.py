"""``pipelines/catalogue.json``: what each table of an asset has, for its page before anything has run.

The comments of the database are the source; the fields of events come from their classes.
"""

import json
from typing import Any

import msgspec
import psycopg

from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.orders.domain import DOMAIN
from tests.docs.reference import events
from tests.docs.reference.lineage import LOG, lineages

Connection = psycopg.Connection[Any]

_SEALS = "seal_checkpoints"
_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum)
      FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


def catalogue(connection: Connection) -> str:
    """The text of the file."""
    made_of = lineages(connection, DOMAIN, SNAPSHOTS)
    projections = [projection.name for projection in DOMAIN.projections]
    names = [
        LOG,
        *projections,
        *(f"{name}_candidate" for name in projections),
        SNAPSHOTS,
        *(derived.name for derived in DOMAIN.derived),
        _SEALS,
    ]
    found = {
        table: {
            "columns": _columns(connection, table) + (_fields() if table == LOG else []),
            "made_of": {column: sorted(of) for column, of in made_of.get(table, {}).items()},
        }
        for table in names
    }
    tables = ",\n".join(f"{_json(table)}: {{\n{_lines(of)}\n}}" for table, of in found.items())
    return f"{{\n{tables}\n}}\n"


def _lines(table: dict[str, Any]) -> str:
    """A column a line, so that a difference shows which is another."""
    columns = ",\n".join(f"  {_json(column)}" for column in table["columns"])
    made_of = ",\n".join(f"  {_json(column)}: {_json(of)}" for column, of in table["made_of"].items())
    return f' "columns": [\n{columns}\n ],\n "made_of": {{\n{made_of}\n }}'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _columns(connection: Connection, table: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "type": kind, "required": required, "description": comment or ""}
        for name, kind, required, comment in connection.execute(_COLUMNS, (table,)).fetchall()
    ]


def _fields() -> list[dict[str, Any]]:
    """The fields of events: parts of the column event_data, by the type of the event."""
    return [
        {
            "name": f"{name}.{field.encode_name}",
            "type": events.type_of(field.type),
            "required": field.required,
            "description": _about(cls, name, field),
        }
        for name, cls in DOMAIN.events.types.items()
        for field in msgspec.structs.fields(cls)
    ]


def _about(cls: type[Any], name: str, field: msgspec.structs.FieldInfo) -> str:
    where = f"in event_data, where event_type is {name}"
    comment = events.comment(cls, field.name)
    return f"{comment}; {where}" if comment else where
