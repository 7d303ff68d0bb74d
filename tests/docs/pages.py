"""Which files are made, and from what."""

from pathlib import Path
from typing import Any

import psycopg

from eventstore.face.settings_reference import settings_reference
from tests.docs.reference import commands, events, tables
from tests.docs.reference.catalogue import catalogue
from tests.docs.snippets import ROOT

FOLDER = ROOT / "docs" / "reference"


def made(connection: psycopg.Connection[Any]) -> dict[Path, str]:
    """The text of each file; ``connection`` is to a migrated database."""
    return {
        **{FOLDER / name: text for name, text in pages(connection).items()},
        ROOT / "pipelines" / "catalogue.json": catalogue(connection),
    }


def pages(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """The text of each page of the reference, by the name of its file."""
    return {
        "commands.md": commands.page(),
        "events.md": events.page(),
        "tables.md": tables.page(connection),
        "settings.md": settings_reference(connection),
    }
