"""The asset checks that every projection has."""

from typing import Any

import dagster as dg

from eventstore.engine.candidate import candidate
from eventstore.engine.change import change_of, same_rules
from eventstore.engine.preview import preview as preview_promotion
from eventstore.engine.preview_report import as_markdown
from eventstore.engine.projection import Projection
from eventstore.engine.rules_verdicts import judge_change
from eventstore.engine.standing import standing
from eventstore.kernel.counted import counted
from eventstore.kernel.moments import moment
from eventstore.orders.domain import DOMAIN
from pipelines.resources import EventStore
from pipelines.runbook import asset_check


def checks_of(projection: Projection[Any]) -> list[dg.AssetChecksDefinition]:
    """The checks of `<name>` and, where the table has a row per order, of `<name>_replay`."""
    asset = projection.name

    @asset_check(asset)
    def fold_version(store: EventStore) -> dg.AssetCheckResult:
        """Fails while the live table was folded by other rules than this code's; warns while a replay waits
        for its promotion, or while tables that fold by the same rules disagree.
        """
        together = same_rules(DOMAIN, projection)
        with store.connect() as connection:
            verdict = judge_change(connection, DOMAIN, together)
            live = {table.projection.name: table.live for table in change_of(connection, together).tables}
        said = verdict.sentence[0].upper() + verdict.sentence[1:]
        disagree = len(set(live.values()) - {None}) > 1
        if disagree:
            of_each = ", ".join(f"{name} {version}" for name, version in live.items())
            said = f"Two interpretations are live ({of_each}). {said}"
        return dg.AssetCheckResult(
            passed=verdict.level == "ok" and not disagree,
            severity=dg.AssetCheckSeverity.ERROR if verdict.level == "fail" else dg.AssetCheckSeverity.WARN,
            description=f"{said}.",
            metadata={"live": str(live[projection.name]), "code": projection.fold_version},
        )

    @asset_check(asset)
    def quarantined(store: EventStore) -> dg.AssetCheckResult:
        """Fails while an event of an order cannot be folded, or written: only those before it are shown."""
        with store.connect() as connection:
            poisoned = connection.execute(
                "SELECT order_id, version, error, since FROM quarantined_orders WHERE projection = %s "
                "ORDER BY since, order_id LIMIT 100",
                (projection.name,),
            ).fetchall()
            (number,) = connection.execute(
                "SELECT count(*) FROM quarantined_orders WHERE projection = %s", (projection.name,)
            ).fetchone() or (0,)
        return dg.AssetCheckResult(
            passed=not poisoned,
            description=(
                f"{counted(number, 'order shows', 'orders show')} only the events before one that "
                "cannot be folded: mend the rule; the "
                "next refresh folds them again."
                if poisoned
                else "Every event can be folded."
            ),
            metadata={
                "orders": {
                    str(order_id): {
                        "version": version,
                        "since": f"{moment(since)}",
                        "error": error,
                    }
                    for order_id, version, error, since in poisoned
                }
            },
        )

    @asset_check(asset)
    def ahead_of_log(store: EventStore) -> dg.AssetCheckResult:
        """Fails while the table holds an event that the log lacks, as after a restore: no run folds
        anything onto it before the job `rebuild`.
        """
        with store.connect() as connection:
            found = standing(connection, projection.name)
        is_ahead = found is not None and found.is_ahead
        return dg.AssetCheckResult(
            passed=not is_ahead,
            description="It holds events that the log lacks: launch the job rebuild, or `eventstore rebuild`."
            if is_ahead
            else "The log has what the table holds.",
            metadata={"watermark": str(found.watermark) if found else "never refreshed"},
        )

    @asset_check(f"{asset}_replay")
    def preview(store: EventStore) -> dg.AssetCheckResult:
        """What the promotion of the replay would change. Under unchanged rules it must be nothing."""
        with store.connect() as connection:
            found = preview_promotion(connection, projection)
            if found is None:
                stands = candidate(connection, projection)
                return dg.AssetCheckResult(
                    passed=True,
                    description=f"{stands.buckets} of {stands.of} parts are replayed; compared when all are.",
                )
        what = "orders" if len(projection.layout.key) == 1 else "rows"
        new_rules = found.live_version != found.candidate_version
        return dg.AssetCheckResult(
            passed=new_rules or not found.differences,
            description=(
                f"{found.added} {what} would be added, {found.changed} changed, {found.gone} gone "
                f"(rules {found.live_version} -> {found.candidate_version})."
            ),
            metadata={
                "preview": dg.MetadataValue.md(as_markdown(found)),
                "differences": found.differences,
                "watermark": str(found.watermark),
            },
        )

    return [fold_version, quarantined, ahead_of_log, preview]
