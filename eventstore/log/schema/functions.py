"""The functions of the database in ``functions/``: a file a topic, created anew where one has changed.

Their files are the truth. Tables change by revision (``versions``), and a function whose arguments or result
change is dropped by the revision that needs it.
"""

import hashlib
from pathlib import Path

from sqlalchemy import Connection, text

from eventstore.log.schema.steps import execute

_HERE = Path(__file__).parent / "functions"
#: In the order in which they need one another.
_TOPICS = (
    "ids",
    "business_time",
    "event_is_valid",
    "limits",
    "append_only",
    "guards",
    "append",
    "staging",
    "feed",
    "replicas",
    "holders",
    "consumers",
    "epochs",
    "money",
    "snapshots",
    "orders_as_of",
    "order_as_of",
    "customers_as_of",
)
#: Functions that return rows of ``orders`` name its columns, whichever it has now.
_COLUMNS_OF_ORDERS = "/* columns of orders */"


def create_functions(connection: Connection) -> bool:
    """Bring the functions of a database at the newest revision up to date; False where they were."""
    columns = execute(
        connection,
        "SELECT string_agg(format('h.%I', attname), ', ' ORDER BY attnum) FROM pg_attribute "
        "WHERE attrelid = 'orders'::regclass AND attnum > 0 AND NOT attisdropped",
    )
    bodies = [
        (_HERE / f"{topic}.sql").read_text(encoding="utf-8").replace(_COLUMNS_OF_ORDERS, columns)
        for topic in _TOPICS
    ]
    digest = hashlib.sha256("\0".join(bodies).encode()).hexdigest()
    if execute(connection, "SELECT digest FROM schema_functions") == digest:
        return False
    for body in bodies:
        execute(connection, body)
    connection.execute(text("UPDATE schema_functions SET digest = :digest"), {"digest": digest})
    return True
