"""What runs report of themselves, in the forms that Dagster's pages know how to show."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from eventstore.engine.prover import Proven
from eventstore.engine.standing import Lag
from eventstore.ingestion.chunks import FileIngested
from eventstore.ingestion.files import NotRead, printable
from eventstore.ingestion.landing import Waiting
from eventstore.kernel.verdicts import Level, Verdict
from eventstore.log.connection import Connection
from eventstore.log.counting import count_rows
from pipelines import catalogue

#: Longer tables hold up the page of a run.
ROWS = 1000

#: How a check shows a verdict.
SEVERITY: dict[Level, dg.AssetCheckSeverity] = {
    "ok": dg.AssetCheckSeverity.WARN,
    "warn": dg.AssetCheckSeverity.WARN,
    "fail": dg.AssetCheckSeverity.ERROR,
}


def in_words(verdicts: Sequence[Verdict]) -> str:
    """What is so and what to do, of what is not well; where all is, what is so."""
    bad = [verdict for verdict in verdicts if verdict.level != "ok"]
    said = [f"{each.sentence}{f' → {each.next}' if each.next and bad else ''}" for each in bad or verdicts]
    return " ".join(f"{each[:1].upper()}{each[1:]}." for each in said)


def numbers(
    *, seconds: float, events: int | None = None, rows: int | None = None, lag: Lag | None = None
) -> dict[str, Any]:
    """What runs of every asset report under the same names, for Dagster to plot.

    ``events`` that the run took in, ``rows`` that it wrote, the ``seconds`` that it took; and after it
    ``lag_events`` that still wait, the oldest of them for ``lag_seconds``.
    """
    found: dict[str, Any] = {"seconds": round(seconds, 3)}
    if events is not None:
        found |= {"events": events, "events_per_second": per_second(events, seconds)}
    if rows is not None:
        found["rows"] = rows
    if lag is not None:
        found |= {"lag_events": lag.events, "lag_seconds": round(lag.seconds, 1)}
    return found


def per_second(events: int, seconds: float) -> float:
    return round(events / seconds, 1) if seconds else 0.0


def count_by(what: str, counts: Mapping[str, int]) -> dg.TableMetadataValue:
    """Counts as a table of two columns, the largest first."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dg.MetadataValue.table(
        [dg.TableRecord({what: name, "count": count}) for name, count in rows],
        schema=dg.TableSchema([dg.TableColumn(what, "string"), dg.TableColumn("count", "int")]),
    )


def with_reasons(files: Sequence[NotRead]) -> dg.TableMetadataValue:
    """The first of these files, with their reasons."""
    return dg.MetadataValue.table(
        [dg.TableRecord({"file": each.file, "reason": each.reason}) for each in files[:ROWS]],
        schema=dg.TableSchema([dg.TableColumn("file", "string"), dg.TableColumn("reason", "string")]),
    )


def failed_files(files: Sequence[Waiting]) -> dg.TableMetadataValue:
    """How often the first of these files were tried, why they failed, and when they are tried again."""
    columns = ("file", "string"), ("attempts", "int"), ("last_error", "string"), ("next_try_at", "string")
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "file": printable(each.found.path),
                    "attempts": each.attempts,
                    "last_error": each.last_error or "",
                    "next_try_at": each.next_try_at.isoformat(timespec="seconds") if each.next_try_at else "",
                }
            )
            for each in files[:ROWS]
        ],
        schema=dg.TableSchema([dg.TableColumn(name, type=kind) for name, kind in columns]),
    )


def moved_files(moved: Mapping[str, str]) -> dg.TableMetadataValue:
    """Where the first of these files went."""
    return dg.MetadataValue.table(
        [dg.TableRecord({"file": file, "moved_to": to}) for file, to in list(moved.items())[:ROWS]],
        schema=dg.TableSchema([dg.TableColumn("file", "string"), dg.TableColumn("moved_to", "string")]),
    )


def lines_by_file(files: Sequence[FileIngested]) -> dg.TableMetadataValue:
    """What became of the lines of the first of these files."""
    counts = ("read", "appended", "duplicates", "rejected")
    return dg.MetadataValue.table(
        [
            dg.TableRecord({"file": each.file} | {name: getattr(each, name) for name in counts})
            for each in files[:ROWS]
        ],
        schema=dg.TableSchema(
            [dg.TableColumn("file", "string"), *(dg.TableColumn(name, "int") for name in counts)]
        ),
    )


def proofs_table(states: Sequence[Proven]) -> dg.TableMetadataValue:
    """How far each proof is: when a share was last proven, when all was, and will have been again."""

    def when(at: datetime | None) -> str:
        return at.isoformat(sep=" ", timespec="seconds") if at else ""

    columns = ("proof", "last_proven", "of_this_round", "all_proven", "all_proven_again_by")
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "proof": state.name,
                    "last_proven": when(state.proven_at) or "never",
                    "of_this_round": f"{state.share:.1%}",
                    "all_proven": when(state.whole_at) or "not yet",
                    "all_proven_again_by": when(state.whole_by),
                    "findings": state.findings,
                }
            )
            for state in states
        ],
        schema=dg.TableSchema(
            [*(dg.TableColumn(name, "string") for name in columns), dg.TableColumn("findings", "int")]
        ),
    )


def table_name(connection: Connection, name: str) -> str:
    return f"{connection.info.dbname}.public.{name}"


def table(connection: Connection, name: str) -> dict[str, Any]:
    """Where a table is, about how many rows it has, what its columns are, and of what they are made."""
    counted = count_rows(connection, name)
    columns = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum) "
        "FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (name,),
    )
    return {
        "dagster/table_name": table_name(connection, name),
        "dagster/row_count": counted.rows,
        **({} if counted.exact else {"row_count_is": "an estimate, as of any large table"}),
        "dagster/column_schema": catalogue.schema(
            name, [*columns.fetchall(), *catalogue.fields_of_events(name)]
        ),
        **catalogue.made_of(name),
    }


def report_check(instance: dg.DagsterInstance, found: dg.AssetCheckResult) -> None:
    """Show on the page what a check says now, although no run of its asset evaluated it."""
    assert found.asset_key is not None
    assert found.check_name is not None
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=found.asset_key,
            check_name=found.check_name,
            passed=found.passed,
            metadata=found.metadata,
            severity=found.severity,
            description=found.description,
        )
    )
