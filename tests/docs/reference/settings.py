"""The settings of a store, from their definitions."""

from typing import Any

import psycopg

from eventstore.log.settings import settings
from tests.docs.reference.markdown import MADE, sentence, table


def page(connection: psycopg.Connection[Any]) -> str:
    rows = [
        (f"`{each.name}`", f"`{each.value}`", sentence(each.description)) for each in settings(connection)
    ]
    return "\n".join(
        [
            "# Settings\n",
            MADE,
            "What a store is told once, for everybody who uses its database: `eventstore settings` lists "
            "them, `eventstore settings NAME VALUE` changes one.\n",
            table(("setting", "default", ""), rows),
            "What a machine is told, in its environment (`DATABASE_URL`, `EVENTSTORE_HOME`): "
            "[operating](../operating.md).\n",
        ]
    )
