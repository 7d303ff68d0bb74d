"""Which pages are made, and from what."""

from typing import Any

import psycopg

from eventstore.face.settings_reference import settings_reference
from tests.docs.reference import commands, events, tables
from tests.docs.snippets import ROOT

FOLDER = ROOT / "docs" / "reference"


def pages(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """The text of each page by the name of its file; ``connection`` is to a migrated database."""
    return {
        "commands.md": commands.page(),
        "events.md": events.page(),
        "tables.md": tables.page(connection),
        "settings.md": settings_reference(connection),
    }
