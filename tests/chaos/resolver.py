"""Commits or rolls back prepared transactions, some at once, some after a while."""

import time

import psycopg
from psycopg import sql

from tests.chaos.clients import is_to_commit
from tests.chaos.stage import Player

_GONE_OR_BUSY = {"42704", "55000", "55006"}


class Resolver(Player):
    role = "resolver"

    def act(self) -> None:
        self.resolve(1 if self.stage.is_calm else 0.3)  # else the feed would not move in the calm
        time.sleep(0.1)

    def resolve(self, share: float) -> None:
        rows = self.connection.execute(
            "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
        ).fetchall()
        for (gid,) in rows:
            if self.chance.random() < share:
                ending = "COMMIT" if is_to_commit(gid) else "ROLLBACK"
                try:
                    self.connection.execute(sql.SQL(ending + " PREPARED {}").format(gid))
                except psycopg.Error as error:
                    if error.sqlstate not in _GONE_OR_BUSY:
                        raise
                else:
                    self.done(f"{ending} PREPARED")
