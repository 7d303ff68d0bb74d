"""What released revisions call. Frozen as they are: a test compares its digest with tests/log/released."""

from pathlib import Path

from sqlalchemy import Connection

_HERE = Path(__file__).parent


def run_sql(connection: Connection, revision: str, *names: str) -> None:
    """Execute files of ``sql/<revision>``, in the order given, exactly as they are."""
    cursor = connection.connection.cursor()
    try:
        for name in names:
            cursor.execute((_HERE / "sql" / revision / f"{name}.sql").read_text(encoding="utf-8"))
    finally:
        cursor.close()
