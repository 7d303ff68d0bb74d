"""refresh, replay, promote, rollback: from the log to the read models.

A change of rules is one operation for all projections that fold by the same rules; a name means one of them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
import typer

from eventstore.engine.change import Change, change_of, promote_change, same_rules
from eventstore.engine.made_from import refresh_made_from
from eventstore.engine.preview import SAMPLE
from eventstore.engine.preview import preview as preview_promotion
from eventstore.engine.projection import Projection
from eventstore.engine.promote import Promoted, promotion_policy, set_promotion_policy
from eventstore.engine.promote import promote as promote_candidate
from eventstore.engine.refresh import Refreshed
from eventstore.engine.refresh import refresh as refresh_projection
from eventstore.engine.standing import events_left
from eventstore.face.cli.app import Json, app, fail, open_store
from eventstore.face.cli.keeping_up import keep_up
from eventstore.face.cli.output import console, print_fields, print_json, warn
from eventstore.face.cli.previewing import print_preview
from eventstore.face.cli.progress import event_progress
from eventstore.face.cli.replaying import replay_all
from eventstore.face.cli.stopping import told_when_stopped
from eventstore.kernel.buckets import MOST
from eventstore.kernel.counted import counted
from eventstore.kernel.folding import Folding
from eventstore.log.buckets import buckets_of
from eventstore.log.connection import Connection
from eventstore.orders.domain import DOMAIN

ProjectionName = Annotated[
    str | None,
    typer.Argument(metavar="PROJECTION", help="One projection; without it all that fold by these rules."),
]
Only = Annotated[str | None, typer.Option(metavar="NAME", help="One projection, as if it were named.")]
Projections = tuple[Projection[Any], ...]


@app.command()
def refresh(
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", help="Go on until Ctrl-C: an append is in every table a moment later."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Fold new events into orders and the other projections, and into what is made from them."""
    if follow:
        keep_up(as_json)
        return
    with open_store() as store, store.connection() as connection:
        results = {each.name: _refreshed(connection, each, as_json) for each in DOMAIN.projections}
        made = refresh_made_from(connection, DOMAIN, DOMAIN.projections)
    orders = results[DOMAIN.states.name]
    for name, result in results.items():
        if result.set_aside:
            warn(
                f"{name}: set aside {counted(result.set_aside, 'order')}, since the rules fail on an event: "
                "`eventstore quarantine` shows which and why"
            )
    if as_json:
        print_json(msgspec.structs.asdict(orders) | {"projections": results | made})
        return
    for name, result in results.items():
        print_fields(
            {
                "events": result.events,
                "rows": result.rows,
                "watermark": result.watermark,
                "lag_events": result.lag.events,
                "lag_seconds": result.lag.seconds,
            },
            title=name,
        )
    for name, done in made.items():
        print_fields(msgspec.structs.asdict(done), title=name)


@app.command()
def replay(
    name: ProjectionName = None,
    only: Only = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what the replay would change; promote nothing.")
    ] = False,
    sample: Annotated[
        int, typer.Option(min=0, help="How many orders --preview shows before and after.")
    ] = SAMPLE,
    bucket: Annotated[
        list[int] | None,
        typer.Option(min=0, max=MOST - 1, help="Only this bucket; may be repeated. Promotes nothing."),
    ] = None,
    go_on: Annotated[
        bool,
        typer.Option(
            "--continue", help="Only the buckets that do not stand yet; not after a change of the rules."
        ),
    ] = False,
    workers: Annotated[
        int,
        typer.Option(
            min=1, max=MOST, metavar="N", help="So many processes fold, side by side; a bucket each at most."
        ),
    ] = 1,
    as_json: Json = False,
) -> None:
    """Fold the whole log again and put the result in the place of the live tables, each in one step.

    All projections that fold by the same rules are replayed, then promoted one after the other; what is made
    from them follows.
    """
    one = _named(name, only)
    projections = (one,) if one else _all()
    with open_store() as store, store.connection() as connection:
        _refuse_beyond(buckets_of(connection), bucket or (), workers)
        replayed = replay_all(
            store,
            connection,
            projections,
            projections[0].current,
            quiet=as_json,
            only=bucket or (),
            go_on=go_on,
            workers=workers,
        )
        if bucket:
            _print(replayed, {}, one, as_json)
            if not as_json:
                stands = change_of(connection, projections).in_words
                console.print(f"{stands}; `eventstore promote{_argument(one)}` when all do.")
            return
        if preview:
            _preview(connection, projections, one, sample, as_json)
            return
        then = f"`eventstore promote{_argument(one)}` goes on"
        with told_when_stopped(f"stopped: the replay stands, what was promoted stays; {then}"):
            done = _promote(connection, projections, one)
        with told_when_stopped("stopped: all is promoted; `eventstore refresh` goes on"):
            results, made = _refresh(connection, projections, one)
    _print(
        {each: replayed[each] | _difference(done[each]) | results[each] for each in replayed},
        made,
        one,
        as_json,
    )


def _refuse_beyond(buckets: int, only: Sequence[int], workers: int) -> None:
    if beyond := [bucket for bucket in only if bucket >= buckets]:
        raise typer.BadParameter(
            f"there is no bucket {beyond[0]}: the log has {buckets}, from 0 on", param_hint="--bucket"
        )
    if workers > buckets:
        raise typer.BadParameter(
            f"the log has {counted(buckets, 'bucket')}: more processes have nothing to do",
            param_hint="--workers",
        )


@app.command()
def promote(name: ProjectionName = None, only: Only = None, as_json: Json = False) -> None:
    """Make a complete replay, for example of `replay --preview`, the live table.

    All that fold by the same rules change one after the other, and only where all of their replays stand. One
    that was interrupted is gone on with.
    """
    one = _named(name, only)
    projections = (one,) if one else _all()
    with open_store() as store, store.connection() as connection:
        promoted = promote_change(connection, projections, by_hand=True)
        if promoted is None:
            raise fail(_why_not(change_of(connection, projections), one), 1)
        made: dict[str, msgspec.Struct] = {}
        if one is None:
            for each in projections:
                refresh_projection(connection, each)
            made = refresh_made_from(connection, DOMAIN, projections)
    if as_json:
        first, *_ = promoted.values()
        everything: dict[str, object] = {**promoted, **made}
        print_json(msgspec.structs.asdict(first) | ({} if one else {"projections": everything}))
    else:
        _print({each: _difference(done) for each, done in promoted.items()}, made, one, as_json)


@app.command()
def promotion(
    policy: Annotated[str | None, typer.Argument(metavar="auto|manual", help="The new policy.")] = None,
    name: ProjectionName = None,
    only: Only = None,
    as_json: Json = False,
) -> None:
    """Show or set who promotes a complete replay: the next refresh (auto) or a person (manual).

    Where one of those that fold by the same rules waits for a person, all of them do.
    """
    one = _named(name, only)
    projections = (one,) if one else _all()
    with open_store() as store, store.connection() as connection:
        if policy is not None:
            try:
                for each in projections:
                    set_promotion_policy(connection, each, policy)
            except ValueError as error:
                raise fail(str(error)) from None
        now = {each.name: promotion_policy(connection, each) for each in projections}
    first, *_ = now.values()
    if as_json:
        print_json({"promotion": first} | ({} if one else {"projections": now}))
    else:
        print_fields({"promotion": first} if one or len(set(now.values())) == 1 else now)


@app.command()
def rollback(name: ProjectionName = None, only: Only = None, as_json: Json = False) -> None:
    """Replay by the rules before the current ones and promote that."""
    one = _named(name, only)
    projections = (one,) if one else _all()
    first = projections[0]
    if len(first.foldings) < 2:
        raise fail(
            f"this release knows only the rules {first.fold_version}: install the release before it "
            f"and run `eventstore replay{_argument(one)}` there",
            1,
        )
    before = first.foldings[-2]
    with open_store() as store, store.connection() as connection:
        replayed = replay_all(
            store, connection, projections, before, quiet=as_json, how_to_go_on="run it again: it begins anew"
        )
        done = _promote(connection, projections, one, before)
        results, made = _refresh(connection, projections, one)
    _print(
        {
            each: {"rules": before.version} | replayed[each] | _difference(done[each]) | results[each]
            for each in replayed
        },
        made,
        one,
        as_json,
    )


def _refreshed(connection: Connection, projection: Projection[Any], quiet: bool) -> Refreshed:
    left = partial(events_left, connection, projection.name)
    with event_progress(f"folding into {projection.name}", left, quiet=quiet, transient=True) as advance:
        return refresh_projection(connection, projection, advance)


def _all() -> Projections:
    """Those that fold by the rules of the states."""
    return same_rules(DOMAIN, DOMAIN.states)


def _named(name: str | None, only: str | None) -> Projection[Any] | None:
    """The one projection that is meant; None: all that fold by the same rules."""
    if name is not None and only is not None and name != only:
        raise fail(f"{name} or {only}? Give one name")
    which = name if name is not None else only
    if which is None:
        return None
    try:
        return DOMAIN.projection(which)
    except ValueError as error:
        raise fail(str(error)) from None


def _argument(one: Projection[Any] | None) -> str:
    """What follows the command that means this projection, or all."""
    return f" {one.name}" if one else ""


def _why_not(change: Change, one: Projection[Any] | None) -> str:
    replay = f"`eventstore replay{_argument(one)} --preview`"
    waiting = [table.projection.name for table in change.tables if table.waits]
    alone = f", or promote one alone: `eventstore promote --only {waiting[0]}`" if waiting else ""
    return f"nothing to promote: {change.in_words}; run {replay}{alone}"


def _promote(
    connection: Connection, projections: Projections, one: Projection[Any] | None, to: Folding | None = None
) -> dict[str, Promoted]:
    if one:
        alone = promote_candidate(connection, one, by_hand=True, folding=to)
        promoted = {one.name: alone} if alone else None
    else:
        promoted = promote_change(connection, projections, by_hand=True, folding=to)
    if promoted is None:
        raise fail("another replay got in between: run it again", 1)
    return promoted


def _refresh(
    connection: Connection, projections: Projections, one: Projection[Any] | None
) -> tuple[dict[str, dict[str, Any]], dict[str, msgspec.Struct]]:
    """Bring the promoted tables up to the log; of a whole change also what is made from them."""
    results = {
        each.name: {"watermark": refresh_projection(connection, each).watermark} for each in projections
    }
    return results, {} if one else refresh_made_from(connection, DOMAIN, projections)


def _print(
    results: dict[str, dict[str, Any]],
    made: dict[str, msgspec.Struct],
    one: Projection[Any] | None,
    as_json: bool,
) -> None:
    """What was done to each table; in JSON that of the first one is also on top."""
    first, *_ = results.values()
    if as_json:
        print_json(first | ({} if one else {"projections": results | made}))
        return
    for name, result in results.items():
        print_fields(result, title=None if one else name)
    if made:
        console.print(f"{', '.join(made)}: brought up to these rules.")


def _preview(
    connection: Connection, projections: Projections, one: Projection[Any] | None, sample: int, as_json: bool
) -> None:
    found = {each.name: preview_promotion(connection, each, sample=sample) for each in projections}
    previews = {name: preview for name, preview in found.items() if preview is not None}
    if len(previews) < len(found):
        raise fail("another replay got in between: run it again", 1)
    if as_json:
        first, *_ = previews.values()
        print_json(msgspec.structs.asdict(first) | ({} if one else {"projections": previews}))
        return
    for each in projections:
        print_preview(previews[each.name], each, None if one else each.name)
    if any(preview.differences for preview in previews.values()):
        console.print(f"Nothing is promoted yet: `eventstore promote{_argument(one)}` does.")


def _difference(promoted: Promoted) -> dict[str, Any]:
    return {"added": promoted.added, "changed": promoted.changed, "gone": promoted.gone}
