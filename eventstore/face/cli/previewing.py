"""How a preview looks: what a promotion would change in a table."""

from typing import Any

from rich.table import Table

from eventstore.engine.preview import Difference, Preview
from eventstore.engine.projection import Projection
from eventstore.face.cli.output import console, print_fields
from eventstore.kernel.moments import moment


def print_preview(found: Preview, projection: Projection[Any], title: str | None) -> None:
    rows = "orders" if len(projection.layout.key) == 1 else "rows"
    print_fields(
        {
            "rules": f"{found.live_version} -> {found.candidate_version}",
            rows: found.orders,
            "added": found.added,
            "gone": found.gone,
            "changed": found.changed,
            "quarantined": found.quarantined,
        },
        title=title,
    )
    if not found.differences:
        console.print("No differences.")
        return
    columns = Table("column", f"{rows} that change", box=None, pad_edge=False)
    for column, count in found.columns.items():
        columns.add_row(column, f"{count:,}")
    totals = Table("total", "currency", "before", "after", box=None, pad_edge=False)
    for total in found.totals:
        if total.before != total.after:
            totals.add_row(total.column, total.currency or "", f"{total.before:,}", f"{total.after:,}")
    pairs = Table("order", "before", "after", box=None, pad_edge=False)
    for pair in found.sample:
        pairs.add_row(_which(pair), _values(pair.before), _values(pair.after))
    for table in (columns, totals, pairs):
        if table.row_count:
            console.print(table, markup=False)


def _which(pair: Difference) -> str:
    return "\n".join(
        [
            str(pair.order_id),
            *(f"{column} {moment(value, exact=True)}" for column, value in pair.which.items()),
        ]
    )


def _values(values: dict[str, Any] | None) -> str:
    return "—" if values is None else ", ".join(f"{column} {value}" for column, value in values.items())
