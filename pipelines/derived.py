"""Assets behind `orders`: snapshots by business day, and every derived table with its checks."""

from datetime import date

import dagster as dg
from pydantic import Field

from eventstore.engine.derived import Check, Derived, refresh_derived
from eventstore.engine.snapshots.build import build_snapshots
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.engine.standing import lag_of
from eventstore.kernel.counted import counted
from eventstore.log.counting import count_rows
from eventstore.orders.domain import DOMAIN
from pipelines.assets import LIVE, order_events
from pipelines.catalogue import about, owners
from pipelines.freshness import NIGHTLY, by_schedule
from pipelines.metadata import ROWS, numbers, table, table_name
from pipelines.partitions import days
from pipelines.resources import EventStore
from pipelines.runbook import asset_check
from pipelines.telling import told


@dg.asset(
    group_name="snapshots",
    kinds={"python", "postgres"},
    owners=owners(),
    metadata=about(SNAPSHOTS, "docs/howto/past.md"),
    deps=[order_events],
    partitions_def=days,
    # One run for any range of days: a day is read from the log once, however many days are asked for.
    backfill_policy=dg.BackfillPolicy.single_run(),
    code_version=DOMAIN.states.fold_version,
    freshness_policy=NIGHTLY,
    pool="snapshots",
)
def order_snapshots(context: dg.AssetExecutionContext, store: EventStore) -> None:
    """The state of each order at the end of each business day (UTC) on which it changed.

    Each night builds the day before; soon after the first start the week up to the newest event is built.
    Events that arrive late are taken into the days that they belong to by every run. Other days: select them
    under *Materialize*, or `build_snapshots` in Python.
    """
    keys = sorted(context.partition_keys)
    with store.connect() as connection:
        done = build_snapshots(
            connection,
            DOMAIN.states,
            date.fromisoformat(keys[0]),
            date.fromisoformat(keys[-1]),
            told(context, "folding snapshots", None, unit="order"),
        )
        context.log.info(
            f"{counted(done.rows, 'snapshot')} written, {counted(done.refreshed.orders, 'order')} "
            "with late events "
            "folded again"
        )
        lag, all_rows = lag_of(connection, done.watermark), count_rows(connection, SNAPSHOTS).rows
        for key in keys:
            rows = done.days.get(date.fromisoformat(key), 0)
            context.add_asset_metadata(
                {
                    **numbers(rows=rows, seconds=done.seconds, lag=lag),
                    "dagster/partition_row_count": rows,
                    "dagster/row_count": all_rows,
                    "dagster/table_name": table_name(connection, SNAPSHOTS),
                    "refolded": done.refreshed.orders,
                    "watermark": str(done.watermark),
                },
                partition_key=key,
            )


class DerivedConfig(dg.Config):
    """How a derived table is refreshed."""

    rebuild: bool = Field(default=False, description="Compute every group, not only those that have changed.")


def _derived_asset(derived: Derived) -> dg.AssetsDefinition:
    """A table that follows the rows of a projection, group by group."""

    @dg.asset(
        name=derived.name,
        description=f"{derived.description}\n\nMade from `{derived.source.name}`: a run computes what has "
        "changed there since the last one.",
        group_name="metrics",
        kinds={"sql", "postgres"},
        owners=owners(),
        metadata=about(derived.name, "docs/reference/tables.md", "docs/extending.md"),
        deps=[LIVE[derived.source.name]],
        freshness_policy=by_schedule(derived.schedule),
        pool="metrics",
    )
    def asset(
        context: dg.AssetExecutionContext, config: DerivedConfig, store: EventStore
    ) -> dg.MaterializeResult[None]:
        with store.connect() as connection:
            done = refresh_derived(connection, derived, rebuild=config.rebuild)
            context.log.info(f"{counted(done.written, 'row')} written, {done.gone:,} gone")
            return dg.MaterializeResult(
                metadata={
                    **numbers(
                        rows=done.written, seconds=done.seconds, lag=lag_of(connection, done.watermark)
                    ),
                    "gone": done.gone,
                    "watermark": str(done.watermark),
                    **table(connection, derived.name),
                }
            )

    return asset


def _derived_check(derived: Derived, check: Check) -> dg.AssetChecksDefinition:
    """Fails while the query of the check finds a row."""

    @asset_check(derived.name, name=check.name, description=check.description, runbook="derived-check")
    def found(store: EventStore) -> dg.AssetCheckResult:
        with store.connect() as connection:
            cursor = connection.execute(check.query.encode())
            columns = [column.name for column in cursor.description or ()]
            rows = [dict(zip(columns, map(str, row), strict=True)) for row in cursor.fetchmany(ROWS)]
        return dg.AssetCheckResult(
            passed=not rows,
            description=check.description if rows else "Nothing was found.",
            metadata={"rows": rows},
        )

    return found


DERIVED = {derived.name: _derived_asset(derived) for derived in DOMAIN.derived}
CHECKS = [_derived_check(derived, check) for derived in DOMAIN.derived for check in derived.checks]
ALL = [order_snapshots, *DERIVED.values()]
