"""What is not an asset: steps that a person launches, or that only look."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg
import msgspec
from pydantic import Field

from eventstore.engine.candidate import candidate, discard
from eventstore.engine.change import same_rules
from eventstore.engine.made_from import refresh_made_from
from eventstore.engine.preview import preview
from eventstore.engine.preview_report import as_markdown
from eventstore.engine.proofs import proofs_of
from eventstore.engine.prover import budget_of, prove, proven
from eventstore.engine.rebuild import rebuild
from eventstore.engine.replay import replay_bucket
from eventstore.kernel.counted import counted
from eventstore.log.holders import end_holders, in_words, what, who
from eventstore.orders.domain import DOMAIN
from pipelines.assets import LIVE, REPLAYS
from pipelines.backfill import launch_backfill
from pipelines.checks import OVERLAPS, holders_result
from pipelines.metadata import ROWS, proofs_table, report_check
from pipelines.partitions import BUCKETS, refuse_other_buckets
from pipelines.resources import EventStore

_STATES = DOMAIN.states


@dg.op
def end_overdue_holders(context: dg.OpExecutionContext, store: EventStore) -> None:
    """End the sessions that have kept readers or writers waiting for longer than the setting `max_hold`.

    What cannot be ended here, such as a prepared transaction, stays in the check `holders` of `order_events`
    with the statement that ends it.
    """
    with store.connect() as connection:
        for holder in end_holders(connection):
            if holder.ended:
                context.log.warning(f"ended {who(holder)}, which {what(holder)}")
            else:
                context.log.error(in_words(holder))
        found = holders_result(connection)
    report_check(context.instance, found)


@dg.op(pool="snapshots")
def refresh_made_from_orders(context: dg.OpExecutionContext, store: EventStore) -> None:
    """Bring the snapshots and the derived tables of `orders` up to it and its rules."""
    with store.connect() as connection:
        for name in refresh_made_from(connection, DOMAIN, same_rules(DOMAIN, _STATES)):
            context.log.info(f"{name} follows the rules of {_STATES.name}")


@dg.op(pool="replay")
def prove_some(context: dg.OpExecutionContext, store: EventStore) -> None:
    """Go on with every proof, for as many events as `proof_budget` says; fail where anything is found."""
    _prove(context, store, whole=False)


@dg.op(pool="replay")
def prove_all(context: dg.OpExecutionContext, store: EventStore) -> None:
    """Prove everything from the beginning, whatever it takes; fail where anything is found."""
    _prove(context, store, whole=True)


def _prove(context: dg.OpExecutionContext, store: EventStore, *, whole: bool) -> None:
    with store.connect() as connection:
        proofs = [proof for proof in proofs_of(DOMAIN) if whole or proof.name != OVERLAPS]
        budget = None if whole else budget_of(connection, proofs_of(DOMAIN))
        runs = [prove(connection, proof, budget) for proof in proofs]
        states = [proven(connection, proof) for proof in proofs]
    for run in runs:
        context.log.info(
            f"{run.name}: {counted(run.events, 'event')} looked at, {counted(len(run.findings), 'finding')}"
        )
    metadata = {"proofs": proofs_table(states)}
    context.add_output_metadata(metadata)
    found = [f"{run.name}: {finding.subject}: {finding.what}" for run in runs for finding in run.findings]
    if found:
        raise dg.Failure(
            f"{counted(len(found), 'finding')}, the first: {found[0]}.",
            metadata={"findings": found[:ROWS], **metadata},
            allow_retries=False,
        )


@dg.op
def launch_replay(context: dg.OpExecutionContext, store: EventStore) -> None:
    """Launch the backfill that replays every bucket of the tables that fold by the rules of `orders`.

    After the last bucket it promotes, by the policy of each table. It goes on when this run has ended: the
    page Runs, tab Backfills, shows how far it is.
    """
    with store.connect() as connection:
        refuse_other_buckets(connection)
    names = [projection.name for projection in same_rules(DOMAIN, _STATES)]
    backfill = launch_backfill(
        context.instance,
        [asset for name in names for asset in (REPLAYS[name], LIVE[name])],
        title=f"Replay of {' and '.join(names)}",
    )
    context.log.info(f"Launched: {BUCKETS} buckets of {' and '.join(names)}; see /runs/b/{backfill}")
    context.add_output_metadata(
        {"backfill": dg.MetadataValue.path(f"/runs/b/{backfill}"), "buckets": BUCKETS * len(names)}
    )


class RebuildConfig(dg.Config):
    """How a rebuild begins."""

    anew: bool = Field(
        default=False, description="From the beginning, also where an earlier run was left unfinished."
    )


@dg.op(pool="replay")
def rebuild_everything(context: dg.OpExecutionContext, config: RebuildConfig, store: EventStore) -> None:
    """Make every read model anew from the log; goes on where an earlier run was left unfinished."""

    @contextmanager
    def logged(name: str, total: int) -> Iterator[Callable[[int], None]]:
        context.log.info(f"{name}: about {total:,} to look at")
        yield lambda _: None
        context.log.info(f"{name}: what was made anew is in its place")

    with store.connect() as connection:
        done = rebuild(connection, DOMAIN, anew=config.anew, shown=logged)
    context.add_output_metadata(
        {
            "went_on": done.went_on,
            "seconds": done.seconds,
            "tables": dg.MetadataValue.json(msgspec.to_builtins(done.tables)),
        }
    )


@dg.op(pool="replay")
def compare_with_replay(context: dg.OpExecutionContext, store: EventStore) -> None:
    """Replay everything beside the live table and fail where they differ; the replay is thrown away.

    Leaves a replay alone that waits for its promotion, and compares nothing while new rules wait for theirs.
    """
    with store.connect() as connection:
        found = candidate(connection, _STATES)
        if found.buckets or found.others:
            context.log.info("A replay waits for its promotion: nothing compared.")
            return
        for bucket in range(found.of):
            replay_bucket(connection, bucket, _STATES, for_preview=True)
        compared = preview(connection, _STATES)
        if compared is None:
            context.log.info("Another replay got in between: nothing compared.")
            return
        discard(connection, _STATES)
    context.add_output_metadata({"preview": dg.MetadataValue.md(as_markdown(compared))})
    if compared.live_version == compared.candidate_version and compared.differences:
        raise dg.Failure(
            f"{counted(compared.differences, 'order differs', 'orders differ')} from a replay of "
            "the log by the same rules.",
            metadata={"preview": dg.MetadataValue.md(as_markdown(compared))},
            allow_retries=False,
        )
