"""The functions of the database: those of the log in ``functions/``, a file a topic, then those of a domain.

Their files are the truth, and all are created anew where one has changed or a revision was run. Tables change
by revision (``versions``), and a function whose arguments or result change is dropped by the revision that
needs it.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, text

from eventstore.log.schema.splitting import modulus
from eventstore.log.schema.steps import execute

_HERE = Path(__file__).parent / "functions"
#: In the order in which they need one another.
_TOPICS = (
    "ids",
    "business_time",
    "payload",
    "event_is_valid",
    "limits",
    "append_only",
    "guards",
    "events_after",
    "append",
    "staging",
    "feed",
    "replicas",
    "holders",
    "consumers",
    "changes",
    "epochs",
    "snapshots",
    "orders_as_of",
    "order_as_of",
    "seals",
    "comments",
)
#: Functions that return rows of ``orders`` name its columns, whichever it has now.
COLUMNS_OF_ORDERS = "/* columns of orders */"
#: The number of buckets is a constant of one function, so that what asks for it is planned as with a number.
BUCKETS = "/* buckets */ 16"


def of_the_log() -> list[Path]:
    """Their files, in the order in which they are created."""
    return [_HERE / f"{topic}.sql" for topic in _TOPICS]


def of_a_domain(folder: Path) -> list[Path]:
    """The same for the functions that a domain brings: in the order of their names."""
    return sorted(folder.glob("*.sql"))


def create_functions(connection: Connection, revision: str, domain: Path | None = None) -> bool:
    """Bring the functions of a database at the newest ``revision`` up to date; False where they were.

    Without the folder of a ``domain``, its functions stay as they are.
    """
    created = _create(connection, "log", revision, of_the_log())
    if domain is not None:
        created = _create(connection, "domain", revision, of_a_domain(domain)) or created
    return created


def _create(connection: Connection, whose: str, revision: str, files: Sequence[Path]) -> bool:
    columns = execute(
        connection,
        "SELECT string_agg(format('h.%I', attname), ', ' ORDER BY attnum) FROM pg_attribute "
        "WHERE attrelid = 'orders'::regclass AND attnum > 0 AND NOT attisdropped",
    )
    buckets = str(modulus(connection))
    bodies = [
        file.read_text(encoding="utf-8").replace(COLUMNS_OF_ORDERS, columns).replace(BUCKETS, buckets)
        for file in files
    ]
    digest = hashlib.sha256("\0".join([revision, *bodies]).encode()).hexdigest()
    known = connection.execute(
        text("SELECT digest FROM schema_functions WHERE whose = :whose"), {"whose": whose}
    ).scalar()
    if known == digest:
        return False
    for body in bodies:
        execute(connection, body)
    connection.execute(
        text(
            "INSERT INTO schema_functions (whose, digest) VALUES (:whose, :digest) "
            "ON CONFLICT (whose) DO UPDATE SET digest = excluded.digest"
        ),
        {"whose": whose, "digest": digest},
    )
    return True
