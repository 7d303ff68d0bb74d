"""The reference of the settings, docs/reference/settings.md, made from their definitions.

``python -m eventstore.face.settings_reference`` prints it, for the database that DATABASE_URL names.
"""

import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import inspect

from eventstore.face.settings import PROMOTION, as_toml, description, promotion_meaning
from eventstore.face.store import connect
from eventstore.log.connection import Connection
from eventstore.log.errors import EventStoreError
from eventstore.log.settings import settings
from eventstore.server.errors import ServerError
from eventstore.server.machine import FILE, Machine
from eventstore.server.settings import VARIABLES

_PAGE = """\
# Settings

<!-- Made by eventstore/face/settings_reference.py from the definitions of the settings: change those. -->

`eventstore settings` lists them all with their values, and where each comes from: `default`, `database`,
`{file}` or a variable of the environment.

## Of the store

They live in the database and hold for everybody, at once. `eventstore settings NAME VALUE` sets one.

{store}

## Of a machine

They stand in the file `{file}` in `EVENTSTORE_HOME`, in [TOML](https://toml.io). A variable wins where there
is one; without both the default holds. An unknown key, or a value that cannot be, is refused.

```toml
{example}
```

{machine}

## In the environment

{variables}

The database is the one of `DATABASE_URL`, else of `DATABASE_URL_FILE`, else of `database_url` in `{file}`.
Where none is named, a PostgreSQL of its own is started in `EVENTSTORE_HOME`, unless `embedded` is false.

Passwords come from the environment or from a file that only you can read: `DATABASE_URL`,
`DATABASE_URL_FILE`, or the `~/.pgpass` of PostgreSQL's own clients. In `{file}` one is refused.
"""
_TYPES = {"interval": "a time, such as `10 minutes`", "numeric": "a number", "bigint": "a whole number"}


def settings_reference(connection: Connection) -> str:
    """The page. Of a store the comments, defaults and constraints of its columns are read."""
    policy = [
        (
            f"`{each.name}`",
            f"`{each.default}`",
            ", ".join(filter(None, (_TYPES.get(each.type, each.type), each.demand.removeprefix("is ")))),
            each.description,
        )
        for each in settings(connection)
    ]
    policy.append(
        (
            f"`{PROMOTION}NAME`",
            "`auto`",
            "`auto` or `manual`",
            f"of a projection; {promotion_meaning(connection)}",
        )
    )
    keys = msgspec.structs.fields(Machine)
    machine = [
        (
            f"`{key.name}`",
            _default(key.default),
            _values(key.type),
            _variable(key.type),
            description(key.type),
        )
        for key in keys
    ]
    return _PAGE.format(
        file=FILE,
        store=_table(("setting", "default", "value", "meaning"), policy),
        example="\n".join(as_toml(key.name, Machine()) for key in keys),
        machine=_table(("key", "default", "value", "variable", "meaning"), machine),
        variables=_table(("variable", "meaning"), [(f"`{name}`", said) for name, said in VARIABLES.items()]),
    )


def _default(value: object) -> str:
    return "" if value is None else f"`{msgspec.json.encode(value).decode()}`"


def _values(annotated: Any) -> str:
    found = inspect.type_info(annotated)
    found = found.type if isinstance(found, inspect.Metadata) else found
    if isinstance(found, inspect.UnionType):  # with None, where nothing need be said
        [found] = [each for each in found.types if not isinstance(each, inspect.NoneType)]
        found = found.type if isinstance(found, inspect.Metadata) else found
    if isinstance(found, inspect.IntType):
        return f"a whole number from {found.ge} to {found.le}"
    if isinstance(found, inspect.LiteralType):
        return ", ".join(f'`"{value}"`' for value in found.values)
    return "true or false" if isinstance(found, inspect.BoolType) else "a text"


def _variable(annotated: Any) -> str:
    [meta] = annotated.__metadata__
    name = (meta.extra or {}).get("variable")
    return f"`{name}`" if name else ""


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    try:
        with connect() as store, store.connection() as opened:
            sys.stdout.write(settings_reference(opened))
    except (EventStoreError, ServerError) as error:
        sys.exit(f"error: {error}")
