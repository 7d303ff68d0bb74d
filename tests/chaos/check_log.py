"""The log against the journals of those who sent: nothing lost, doubled, invented, torn or out of order."""

from pathlib import Path

from tests.chaos.clients import is_to_commit
from tests.chaos.findings import Findings
from tests.chaos.journal import KINDS, files, whole_lines
from tests.chaos.stage import Connection

#: Each finds what must not be; the rows are put into words by their columns.
_CHECKS = {
    "two events with one tag": """
        SELECT tag, count(*) AS times FROM chaos.log GROUP BY tag HAVING count(*) > 1""",
    "two events with one id": """
        SELECT id, count(*) AS times FROM chaos.log GROUP BY id HAVING count(*) > 1""",
    "two events with one identity": """
        SELECT order_id, source, source_id, count(*) AS times FROM chaos.log WHERE source_id IS NOT NULL
         GROUP BY 1, 2, 3 HAVING count(*) > 1""",
    "an event that nobody sent": """
        SELECT l.order_id, l.version, l.id, l.tag FROM chaos.log l LEFT JOIN chaos.sent s USING (tag)
         WHERE s.tag IS NULL""",
    "an event that differs from what was sent": """
        SELECT l.order_id, l.version, l.tag FROM chaos.log l JOIN chaos.sent s USING (tag)
         WHERE (l.order_id, l.event_type, l.event_data, l.source, l.source_id, l.created_at) IS DISTINCT FROM
               (s.order_id, s.event_type, s.event_data, s.source, s.source_id,
                coalesce(s.created_at, l.created_at))""",
    "acknowledged, and not in the log with that version and id": """
        SELECT r.tx AS "by", r.order_id, r.version, r.id, l.id AS "there is"
          FROM chaos.kept JOIN chaos.recorded r USING (tx)
          LEFT JOIN chaos.log l ON l.order_id = r.order_id AND l.version = r.version
         WHERE l.id IS DISTINCT FROM r.id ORDER BY r.id""",
    "acknowledged, and another event is in its place": """
        SELECT r.tx AS "by", r.order_id, r.version, s.tag, l.tag AS "there is"
          FROM chaos.kept JOIN chaos.recorded r USING (tx) JOIN chaos.sent s ON s.tag = r.tag
          JOIN chaos.log l ON l.order_id = r.order_id AND l.version = r.version AND l.id = r.id
         WHERE l.tag <> s.tag AND (l.source, l.source_id) IS DISTINCT FROM (s.source, s.source_id)""",
    "acknowledged, and not in the log": """
        SELECT s.tx AS "by", s.order_id, s.tag FROM chaos.kept JOIN chaos.sent s USING (tx)
          LEFT JOIN chaos.log l USING (tag) WHERE s.source_id IS NULL AND l.tag IS NULL""",
    "acknowledged, and nothing with its identity in the log": """
        SELECT s.tx AS "by", s.order_id, s.source, s.source_id FROM chaos.kept JOIN chaos.sent s USING (tx)
          LEFT JOIN chaos.log l USING (order_id, source, source_id)
         WHERE s.source_id IS NOT NULL AND l.id IS NULL""",
    "undone, and in the log": """
        SELECT s.tx AS "by", l.order_id, l.version, l.id
          FROM chaos.undone JOIN chaos.sent s USING (tx) JOIN chaos.log l USING (tag)""",
    "half a transaction": """
        SELECT s.tx AS "by", count(l.tag) AS there, count(*) AS sent
          FROM chaos.sent s LEFT JOIN chaos.log l USING (tag)
         WHERE s.source_id IS NULL GROUP BY s.tx HAVING count(l.tag) NOT IN (0, count(*))""",
    "versions with a gap": """
        SELECT order_id, min(version) AS first, max(version) AS last, count(*) AS events
          FROM chaos.log GROUP BY order_id HAVING (min(version), max(version)) <> (1, count(*))""",
    "an id that is not above the one before": """
        SELECT * FROM (SELECT order_id, version, id,
                              lag(id) OVER (PARTITION BY order_id ORDER BY version) AS before
                         FROM chaos.log) l WHERE id <= before""",
    "stamped by the database, before the order's last event": """
        SELECT order_id, version, created_at, before FROM (
               SELECT l.*, s.created_at AS given, max(l.created_at) OVER (
                          PARTITION BY l.order_id ORDER BY l.version
                          ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
                 FROM chaos.log l JOIN chaos.sent s USING (tag)) stamped
         WHERE given IS NULL AND created_at < before""",
    "shown to a consumer, not in the log": """
        SELECT consumer, s.id, s.order_id, s.version, r.tx AS "by"
          FROM chaos.shown s LEFT JOIN chaos.log l USING (id, order_id, version)
          LEFT JOIN chaos.recorded r ON r.id = s.id
         WHERE l.id IS NULL""",
    "a line of a file that was rejected": """
        SELECT file, line, reason, detail FROM rejects WHERE reason <> 'identity_conflict'""",
}


def load_journals(connection: Connection, folder: Path) -> None:
    """Into tables of a schema of their own, beside the log."""
    connection.execute("CREATE SCHEMA chaos")
    for kind, columns in KINDS.items():
        connection.execute(f"CREATE UNLOGGED TABLE chaos.{kind} ({columns})")
        with connection.cursor() as cursor, cursor.copy(f"COPY chaos.{kind} FROM STDIN") as copy:
            for path in files(folder, kind):
                for lines in whole_lines(path):
                    copy.write(lines)
    connection.execute(
        "CREATE UNLOGGED TABLE chaos.log AS SELECT id, order_id, version, event_type, event_data, "
        "created_at, source, source_id, event_data ->> 'tag' AS tag FROM order_events"
    )
    for table, column in (("log", "tag"), ("log", "id"), ("sent", "tag"), ("sent", "tx"), ("recorded", "tx")):
        connection.execute(f"CREATE INDEX ON chaos.{table} ({column})")
    connection.execute("CREATE UNLOGGED TABLE chaos.kept (tx text)")
    connection.execute("CREATE UNLOGGED TABLE chaos.undone (tx text)")
    connection.execute("INSERT INTO chaos.kept SELECT tx FROM chaos.outcome WHERE what = 'acknowledged'")
    connection.execute("INSERT INTO chaos.undone SELECT tx FROM chaos.outcome WHERE what = 'undone'")
    # One that was prepared is decided, even where the answer to PREPARE TRANSACTION was never seen.
    prepared = connection.execute("SELECT tx FROM chaos.outcome WHERE what = 'prepared'").fetchall()
    _insert(connection, "kept", [tx for (tx,) in prepared if is_to_commit(tx)])
    tried = connection.execute("SELECT DISTINCT tx FROM chaos.sent WHERE tx LIKE 'prepared %'").fetchall()
    _insert(connection, "undone", [tx for (tx,) in tried if not is_to_commit(tx)])
    connection.execute("ANALYZE")


def _insert(connection: Connection, table: str, transactions: list[str]) -> None:
    connection.execute(f"INSERT INTO chaos.{table} SELECT unnest(%s::text[])", (transactions,))


def check_log(connection: Connection, findings: Findings) -> None:
    for kind, query in _CHECKS.items():
        cursor = connection.execute(f"SELECT *, count(*) OVER () AS total FROM ({query}) found LIMIT 5")
        columns = [column.name for column in cursor.description or ()][:-1]
        for number, row in enumerate(cursor.fetchall()):
            words = ", ".join(f"{name} {value}" for name, value in zip(columns, row[:-1], strict=True))
            findings.add(kind, words, count=row[-1] - 4 if number == 4 else 1)
    for what, query in {
        "events in the log": "SELECT count(*) FROM chaos.log",
        "events sent": "SELECT count(*) FROM chaos.sent",
        "transactions acknowledged": "SELECT count(*) FROM chaos.kept",
    }.items():
        [(findings.checked[what],)] = connection.execute(query).fetchall()
    troubles = connection.execute("SELECT process, what FROM chaos.trouble").fetchall()
    findings.add_all(
        "an error that nobody caused", (f"{process}: {_brief(what)}" for process, what in troubles)
    )


def _brief(trace: str) -> str:
    return " / ".join(line.strip() for line in trace.strip().splitlines()[-4:])[:600]
