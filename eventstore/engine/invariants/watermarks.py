"""What must hold of whoever follows the log: that nobody stands where the log has not been."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from psycopg import sql

from eventstore.engine.prover import Finding, Proof, Share
from eventstore.engine.standing import ahead_of_log
from eventstore.log.connection import Connection

_ABOVE = (Path(__file__).parent / "sql" / "above_horizon.sql").read_bytes()


_TABLES = {"read model": "projections", "consumer": "consumers", "replay": "replay_buckets"}


def watermarks_proof(read_models: Sequence[str]) -> Proof:
    """Of read models, consumers and replays: no watermark is above the horizon. Of read models also: the
    event that their watermark names is in the log, and none has rows without a watermark.
    """
    find = partial(_find, read_models)
    return Proof(
        name="watermarks",
        description="Nothing that follows the log is ahead of it.",
        prove=lambda connection, _, __: Share(None, 0, find(connection)),
        again=lambda connection, _: find(connection),
        total=lambda _: 0,
        kind="above_horizon",
        table="projections",
        is_cheap=True,
    )


def _find(read_models: Sequence[str], connection: Connection) -> list[Finding]:
    found = [
        Finding(
            name,
            f"the watermark of this {what} is above the horizon: {_remedy(what, name)}",
            table=_TABLES[what],
        )
        for name, what in connection.execute(_ABOVE)
    ]
    above = {finding.subject for finding in found}
    found += [
        Finding(
            name, "it holds an event that the log does not have: run `eventstore rebuild`", "ahead_of_log"
        )
        for name in ahead_of_log(connection)
        if name not in above
    ]
    known = {name for (name,) in connection.execute("SELECT name FROM projections")}
    for name in read_models:
        if name not in known and _has_rows(connection, name):
            found.append(
                Finding(name, "it has rows, and no watermark: run `eventstore rebuild`", "watermark_missing")
            )
    return found


def _remedy(what: str, name: str) -> str:
    if what == "consumer":
        return f"run `eventstore consumers reset {name} --to …`"
    return "run `eventstore rebuild`" if what == "read model" else "replay it again"


def _has_rows(connection: Connection, table: str) -> bool:
    row = connection.execute(
        sql.SQL(
            "SELECT EXISTS (SELECT FROM {}) AND NOT EXISTS (SELECT FROM projections WHERE name = %s)"
        ).format(sql.Identifier(table)),
        (table,),
    ).fetchone()
    return bool(row and row[0])
