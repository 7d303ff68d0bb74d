"""Drive the server with pgbench: a client so light that it is not what is measured."""

import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from eventstore.log.connection import Connection
from eventstore.server.cluster import program

#: The first event of a new order: a producer's event with its identity.
APPEND = """\\set r random(1, 9000000000000000)
SELECT * FROM append_events(gen_random_uuid(), format('[{"type": "OrderPaid", "created_at": 1767225600000, \
"data": {"amount": "12.50", "currency": "EUR"}, "source": "/payments", \
"source_id": "%s"}]', :r::bigint)::jsonb);
"""

#: The same row, in the yardstick's table.
_INSERT = """INSERT INTO plain_events
       (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
VALUES ({new_id}, {order_id}, 1, 'OrderPaid', '{{"amount": "12.50", "currency": "EUR"}}', 1767225600000,
        '/payments', {source_id}, '{{}}')
RETURNING id, version"""


def insert_row(connection: Connection, *, order_id: str, source_id: str) -> str:
    """The plain INSERT of an event, its id the cheapest uuidv7 that the server has."""
    has_uuidv7 = connection.info.server_version >= 180000
    new_id = "uuidv7()" if has_uuidv7 else "uuidv7_at(clock_ms(), 0)"
    return _INSERT.format(new_id=new_id, order_id=order_id, source_id=source_id)


def insert(connection: Connection) -> str:
    """The script of plain INSERTs for that server."""
    row = insert_row(connection, order_id="gen_random_uuid()", source_id="format('%s', :r::bigint)")
    return f"\\set r random(1, 9000000000000000)\n{row};\n"


def throughput(
    url: str, script: str, *, clients: int, seconds: float | None = None, transactions: int | None = None
) -> float:
    """Transactions per second."""
    length = ["-t", str(transactions)] if transactions else ["-T", str(max(1, round(seconds or 1)))]
    output, _ = _run(url, script, ["-c", str(clients), "-j", str(min(2, clients)), *length])
    found = re.search(r"^tps = ([0-9.]+)", output, re.MULTILINE)
    assert found, output
    return float(found[1])


def latencies(url: str, script: str, *, clients: int, rate: int, seconds: float) -> list[float]:
    """Milliseconds of each transaction when ``rate`` of them are due in a second, waiting included."""
    options = ["-c", str(clients), "-T", str(max(1, round(seconds))), "-R", str(rate), "-l"]
    _, lines = _run(url, script, options)
    return [int(line.split()[2]) / 1000 for line in lines]


def _run(url: str, script: str, options: list[str]) -> tuple[str, list[str]]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "script.sql"
        path.write_text(script)
        done = subprocess.run(
            [program("pgbench"), "-n", "-M", "prepared", "-f", path, *options, url],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        logs = [line for log in Path(folder).glob("pgbench_log.*") for line in log.read_text().splitlines()]
    return done.stdout, logs
