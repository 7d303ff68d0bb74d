"""The rules that questions about single orders are answered by."""

from eventstore.domain.folding import Folding
from eventstore.log.connection import Connection
from eventstore.readmodels.projection import ORDERS


def rules_in_force(connection: Connection) -> Folding:
    """The rules of the table `orders`: newer ones of this code hold once a replay by them is promoted.

    Where this code does not have the table's rules any more, its current ones.
    """
    row = connection.execute(
        "SELECT fold_version FROM projections WHERE name = %s", (ORDERS.name,)
    ).fetchone()
    return rules_of(row[0] if row else None)


def rules_of(fold_version: str | None) -> Folding:
    """The rules of that version of the table, None where there is no table yet."""
    return (ORDERS.folding(fold_version) if fold_version else None) or ORDERS.current
