"""Those who keep the read models: refreshes, replays and promotions, snapshots and derived tables."""

import time
from datetime import date, timedelta
from typing import Any

from eventstore.engine.projection import Projection
from eventstore.orders.domain import DOMAIN
from tests.buckets import BUCKETS
from tests.chaos.happenings import DAYS
from tests.chaos.stage import Connection, Player
from tests.shipped import (
    build_snapshots,
    refresh,
    refresh_customers,
    refresh_daily_metrics,
    refresh_stale,
    replay_bucket,
)
from tests.shipped import promote_projection as promote

_FIRST_DAY = date(2026, 3, 1)


class Worker(Player):
    role = "worker"

    def act(self) -> None:
        if not self.stage.is_calm:
            self.work()
        time.sleep(self.chance.random() * 0.3)

    def work(self) -> None:
        raise NotImplementedError


class Refresher(Worker):
    def work(self) -> None:
        for projection in DOMAIN.projections:
            refresh(self.connection, projection)
            self.done(f"refresh {projection.name}")


class Replayer(Worker):
    """Bucket by bucket, in any order, some of them twice; then promotes, now and then too early."""

    def work(self) -> None:
        projection = self.chance.choice(DOMAIN.projections)
        for bucket in self.chance.sample(range(BUCKETS), BUCKETS):
            if not self.running or self.stage.is_calm:
                return
            replay_bucket(self.connection, bucket, projection)
            self.done(f"replay of a bucket of {projection.name}")
            if self.chance.random() < 0.1:
                self._promote(projection)
        self._promote(projection)

    def _promote(self, projection: Projection[Any]) -> None:
        if promote(self.connection, projection):
            self.done(f"promotion of {projection.name}")


class Deriver(Worker):
    """Snapshots of any days, customers, daily metrics."""

    def work(self) -> None:
        match self.chance.randrange(5):
            case 0:
                refresh_customers(self.connection)
                self.done("refresh customers")
            case 1 | 2:
                rebuild = self.chance.random() < 0.2
                refresh_daily_metrics(self.connection, rebuild=rebuild)
                self.done(f"{'rebuild' if rebuild else 'refresh'} daily_order_metrics")
            case 3:
                first = _FIRST_DAY + timedelta(days=self.chance.randrange(DAYS + 2))
                build_snapshots(self.connection, first, first + timedelta(days=self.chance.randrange(3)))
                self.done("snapshots of some days")
            case _:
                refresh_stale(self.connection)
                self.done("refresh order_snapshots")


def refresh_everything(connection: Connection) -> None:
    """What the schedules would do within minutes."""
    for projection in DOMAIN.projections:
        refresh(connection, projection)
    refresh_stale(connection)
    refresh_customers(connection)
    refresh_daily_metrics(connection)
