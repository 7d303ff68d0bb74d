"""What the page of an asset shows before anything has run: its columns, what they are made of, docs."""

import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import dagster as dg

from eventstore.server import settings
from eventstore.server.errors import ServerError
from eventstore.server.machine import Machine

#: Made by `make docs` from the comments in the database, which are the truth.
_FILE = Path(__file__).with_name("catalogue.json")
ROOT = Path(__file__).parents[1]
_DOCUMENTATION = "Documentation"
_LINKS = ("docs", "see_also")


@cache
def _tables() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return found


def about(table: str, *pages: str) -> dict[str, Any]:
    """The metadata of the asset whose table this is, with links to pages of ``docs``.

    A table that `make docs` has not seen yet shows its columns after its first run.
    """
    known = _tables().get(table, {"columns": [], "made_of": {}})
    links = {label: link(page) for label, page in zip(_LINKS, pages, strict=False)}
    if not known["columns"]:
        return links
    return {
        **links,
        "dagster/table_name": f"public.{table}",
        "dagster/column_schema": schema(
            table,
            map(_told, known["columns"]),
        ),
        **made_of(table),
    }


def made_of(table: str) -> dict[str, dg.TableColumnLineage]:
    """From which columns, and fields of events, the columns of a table are computed."""
    known = _tables().get(table, {"made_of": {}})["made_of"]
    if not known:
        return {}
    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            deps_by_column={
                column: [dg.TableColumnDep(dg.AssetKey(asset), name) for asset, name in of]
                for column, of in known.items()
            }
        )
    }


def schema(table: str, columns: Iterable[tuple[str, str, bool, str | None]]) -> dg.TableSchema:
    """Columns by name, type, whether they are required, and comment; each with what it is made of."""
    origins = _tables().get(table, {"made_of": {}})["made_of"]
    return dg.TableSchema(
        [
            dg.TableColumn(
                name,
                type=kind,
                description=_with_origins(comment or "", origins.get(name, [])),
                constraints=dg.TableColumnConstraints(nullable=not required),
            )
            for name, kind, required, comment in columns
        ]
    )


def fields_of_events(table: str) -> list[tuple[str, str, bool, str]]:
    """What the page of a table shows besides its columns: of the log, the fields that event_data has."""
    known = _tables().get(table, {"columns": []})["columns"]
    return [_told(each) for each in known if "." in each["name"]]


def _told(column: dict[str, Any]) -> tuple[str, str, bool, str]:
    return column["name"], column["type"], column["required"], column["description"]


def _with_origins(comment: str, origins: list[tuple[str, str]]) -> str:
    """The free web pages draw no lineage of columns: the words have to say it."""
    said = ", ".join(f"`{_origin(asset, column)}`" for asset, column in origins)
    return f"{comment}  \nfrom {said}" if said else comment


def _origin(asset: str, column: str) -> str:
    return column if "." in column else f"{asset}.{column}"


def owners() -> list[str]:
    """Who answers for the tables, as eventstore.toml says; what else is wrong there, `make up` says."""
    try:
        return settings.machine().each_owner()
    except ServerError:
        return Machine().each_owner()


def link(page: str) -> dg.MetadataValue[Any]:
    """Where the page of the docs is: a URL where the package names one, else its place in the repository."""
    said = dict(
        str(each).split(", ", 1)
        for each in metadata("eventstore").get_all("Project-URL") or ()
        if ", " in each
    )
    base = said.get(_DOCUMENTATION)
    return dg.MetadataValue.url(f"{base.rstrip('/')}/{page}") if base else dg.MetadataValue.path(page)
