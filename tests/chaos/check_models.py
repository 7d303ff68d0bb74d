"""Every read model against the naive fold, in one pass over the log."""

from contextlib import ExitStack
from random import Random
from typing import Any
from uuid import UUID

import eventstore
from eventstore.orders.domain import DOMAIN
from tests.buckets import BUCKETS
from tests.chaos import naive
from tests.chaos.findings import Findings
from tests.chaos.naive import Event, Order
from tests.chaos.plan import Plan
from tests.chaos.rows import Beside, Row, as_time, differences, row_of, rows, streams
from tests.chaos.stage import Connection
from tests.shipped import promote_projection as promote
from tests.shipped import refresh_daily_metrics, replay_bucket

_LOG = "SELECT * FROM order_events ORDER BY order_id, created_at, version"
_KEPT = "SELECT * FROM {} ORDER BY order_id, until_at, until_version"
_AS_OF = "SELECT * FROM orders_as_of(%(at)s, %(known)s) ORDER BY order_id"
_ONE_AS_OF = "SELECT row_to_json(o)::text FROM order_as_of(%s::uuid, %s, %s) o"


class ModelCheck:
    """Compares order by order what the store says with what the events say."""

    def __init__(self, connection: Connection, url: str, plan: Plan, findings: Findings) -> None:
        self._connection, self._url, self._plan, self._findings = connection, url, plan, findings
        self._chance = Random(f"{plan.seed} questions")
        self._customers, self._metrics = naive.Customers(), naive.DailyMetrics()
        self._built = {str(day) for (day,) in connection.execute("SELECT day FROM order_snapshot_days")}
        row = connection.execute("SELECT count(DISTINCT order_id) FROM order_events").fetchone()
        self._share = min(1.0, plan.questions / (2 * max(1, row[0] if row else 0)))

    def run(self) -> None:
        moments = self._moments(3)
        with ExitStack() as stack:
            store = stack.enter_context(eventstore.connect(self._url))
            stack.enter_context(self._connection.transaction())

            def read(query: str, **parameters: Any) -> Any:
                return stack.enter_context(rows(self._connection, query, parameters))

            orders = Beside(read("SELECT * FROM orders ORDER BY order_id"))
            snapshots, checkpoints = (
                Beside(read(_KEPT.format(table))) for table in ("order_snapshots", "order_checkpoints")
            )
            then = [
                (at, known, Beside(read(_AS_OF, at=as_time(at), known=as_time(known))))
                for at, known in moments
            ]
            for order_id, events in streams(read(_LOG)):
                now = naive.fold(events)
                self._compare("orders", order_id, now, orders)
                for at, known, found in then:
                    self._compare("orders_as_of", order_id, naive.as_of(events, at, known), found)
                self._compare_kept(order_id, events, snapshots.of(order_id)[0], checkpoints.of(order_id)[0])
                if self._chance.random() < self._share:
                    self._ask(store, order_id, events)
                if now:
                    self._customers.add(now)
                    self._metrics.add(now, [event for event, _ in naive.states(events)])
            for name, left in (("orders", orders), ("order_snapshots", snapshots)):
                self._findings.add_all(f"{name}: a row of no order", map(str, left.rest()))
        self._compare_table("customers", self._customers.rows, ("customer_id", "currency"))
        self.check_metrics()

    def check_metrics(self) -> None:
        self._compare_table("daily_order_metrics", self._metrics.rows, ("day", "currency"))

    def _moments(self, number: int) -> list[tuple[int, int]]:
        """A business time and a recorded time, of events here and there."""
        found = self._connection.execute(
            "SELECT created_at, id::text FROM order_events ORDER BY md5(id::text) LIMIT %s", (2 * number,)
        ).fetchall()
        known = [naive.recorded_ms({"id": event_id}) for _, event_id in found[number:]]
        return list(zip([at for at, _ in found[:number]], known, strict=False))

    def _compare(self, what: str, order_id: str, expected: Order | None, beside: Beside) -> None:
        found, strays = beside.of(order_id)
        self._findings.add_all(f"{what}: a row of no order", map(str, strays))
        self._say(what, f"order {order_id}", expected, found)

    def _say(self, what: str, which: str, expected: Row | None, found: list[Row]) -> None:
        """Count the comparison, and put into words what differs."""
        self._findings.checked[f"rows of {what}"] += 1
        if len(found) != (expected is not None):
            self._findings.add(f"{what}: {len(found)} rows where there must be {int(bool(expected))}", which)
        elif expected and (wrong := differences(expected, found[0])):
            self._findings.add(f"{what}: a row that is wrong", f"{which}: {wrong}")

    def _compare_kept(
        self, order_id: str, events: list[Event], snapshots: list[Row], checkpoints: list[Row]
    ) -> None:
        """A kept row is the fold of the events up to its position; there is one a built day with events."""
        limit = next((event["created_at"] for event in events if naive.fails(event)), None)
        days = {naive.day_of(event["created_at"]) for event in events} & self._built
        if limit is not None:  # what is kept from there on is not laid down
            days = {day for day in days if day < naive.day_of(limit)}
            snapshots = [row for row in snapshots if row["day"] < naive.day_of(limit)]
            checkpoints = [row for row in checkpoints if row["until_at"] < limit]
        if days != {row["day"] for row in snapshots}:
            self._findings.add(
                "order_snapshots: other days than it must have",
                f"order {order_id}: {sorted(row['day'] for row in snapshots)} instead of {sorted(days)}",
            )
        for what, kept in (("order_snapshots", snapshots), ("order_checkpoints", checkpoints)):
            for row in kept:
                position = (row["until_at"], row["until_version"])
                held = [event for event in events if (event["created_at"], event["version"]) <= position]
                expected = naive.fold(held)
                if expected:
                    expected["events"] = len(held)
                self._say(what, f"order {order_id}, {row['day']}", expected, [row])

    def _ask(self, store: eventstore.Store, order_id: str, events: list[Event]) -> None:
        """About one order: now, and at two random pairs of times, in SQL and in Python."""
        chance = self._chance
        for _ in range(2):
            at = chance.choice(events)["created_at"] + chance.choice((-1, 0, 0, 1, 3_600_000))
            known = naive.recorded_ms(chance.choice(events)) + chance.choice((-1, 0, 0, 1, 500))
            expected = naive.as_of(events, at, known)
            which = f"order {order_id} at {at} known {known}"
            texts = self._connection.execute(_ONE_AS_OF, (order_id, as_time(at), as_time(known))).fetchall()
            self._say("order_as_of", which, expected, [row_of(text) for (text,) in texts])
            if not any(map(naive.fails, events)):
                state = store.state(order_id, at=as_time(at), known=as_time(known))
                self._say("Store.state", which, expected, [_as_row(state)] if state else [])
        if not any(map(naive.fails, events)):
            now = store.current(UUID(order_id))
            self._say("Store.current", f"order {order_id}", naive.fold(events), [_as_row(now)] if now else [])

    def _compare_table(self, table: str, expected: dict[tuple[str, ...], Row], key: tuple[str, ...]) -> None:
        with self._connection.transaction(), rows(self._connection, f"SELECT * FROM {table}") as found:
            there = {tuple(str(row[name]) for name in key): row for row in found}
        for name in expected.keys() | there.keys():
            row = there.get(name)
            self._say(table, " ".join(name), expected.get(name), [row] if row else [])


def check_rebuild(connection: Connection, check: ModelCheck, findings: Findings) -> None:
    """Folded anew from the first event, every read model is what it was."""
    for projection in DOMAIN.projections:
        for bucket in range(BUCKETS):
            replay_bucket(connection, bucket, projection)
        done = promote(connection, projection)
        findings.checked[f"replays of all of {projection.name}, to be promoted without a change"] += 1
        if done is None or (done.added, done.changed, done.gone) != (0, 0, 0):
            findings.add(f"{projection.name}: a replay that changes it under the same rules", str(done))
    refresh_daily_metrics(connection, rebuild=True)
    check.check_metrics()


def _as_row(state: Any) -> Row:
    """A state of the Python API as a row is here."""
    row: Row = {}
    for name in state.__struct_fields__:
        value = getattr(state, name)
        if isinstance(value, UUID):
            value = str(value)
        elif isinstance(value, tuple):
            value = list(value)
        elif name.endswith("_at") and value is not None:
            value = round(value.timestamp() * 1000)
        row[name] = value
    return row
