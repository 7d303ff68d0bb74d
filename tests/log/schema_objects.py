"""Every object of a database's schema with all that it is, as text: to compare one database with another."""

import re
from pathlib import Path
from typing import Any

import psycopg

_HERE = Path(__file__).parent
_IN_DETAIL = re.split(r"^-- kind: (.+)$", (_HERE / "schema_objects.sql").read_text(), flags=re.MULTILINE)[1:]
_ALL_NAMES = (_HERE / "all_names.sql").read_text()


def objects(connection: psycopg.Connection[Any]) -> dict[tuple[str, str], str]:
    """How each object is, by its kind and name."""
    (all_names,) = connection.execute(_ALL_NAMES.encode()).fetchone() or ("",)
    queries = dict(zip(_IN_DETAIL[::2], _IN_DETAIL[1::2], strict=True)) | {"object": all_names}
    found: dict[tuple[str, str], str] = {}
    for kind, query in queries.items():
        rows = connection.execute(f"SELECT q.name::text, q.how::text FROM ({query}) q (name, how)".encode())
        for name, how in rows.fetchall():
            assert (kind, name) not in found, f"two of them: {kind} {name}"
            found[kind, name] = how
    return found
