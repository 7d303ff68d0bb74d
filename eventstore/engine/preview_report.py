"""The preview of a promotion as Markdown."""

from typing import Any

from eventstore.engine.preview import Preview
from eventstore.kernel.counted import counted


def as_markdown(found: Preview) -> str:
    """The preview as tables for a page."""
    lines = [
        f"Rules **{found.live_version}** → **{found.candidate_version}**, {counted(found.orders, 'order')}: "
        f"{found.added} added, {found.gone} gone, {found.changed} changed, "
        f"{found.quarantined} in quarantine.",
    ]
    if found.columns:
        lines += ["", "| column | orders that change |", "|---|---:|"]
        lines += [f"| {column} | {count} |" for column, count in found.columns.items()]
    if any(total.before != total.after for total in found.totals):
        lines += ["", "| total | currency | before | after |", "|---|---|---:|---:|"]
        lines += [
            f"| {total.column} | {total.currency or ''} | {total.before} | {total.after} |"
            for total in found.totals
            if total.before != total.after
        ]
    if found.sample:
        lines += ["", "| order | before | after |", "|---|---|---|"]
        lines += [
            f"| {pair.order_id} | {_cell(pair.before)} | {_cell(pair.after)} |" for pair in found.sample
        ]
    return "\n".join(lines)


def _cell(values: dict[str, Any] | None) -> str:
    if values is None:
        return "—"
    return "<br>".join(f"{column}: {_plain(value)}" for column, value in values.items())


def _plain(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
