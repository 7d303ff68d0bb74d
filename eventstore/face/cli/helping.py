"""What ``--help`` shows beside the texts of the commands: tasks, examples, words in place of types."""

from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandInfo

from eventstore.face.cli.stopping import STANDS, telling_what_stands

#: What people come for, and the commands that do it.
TASKS = {
    "Begin": ("init", "doctor", "settings", "url", "down"),
    "Write": ("append", "ingest", "rejects"),
    "Read": ("orders", "show", "history", "tail", "consumers"),
    "Keep up to date": ("refresh", "snapshots", "status", "quarantine", "alerts"),
    "Change the rules": ("replay", "promote", "promotion", "rollback"),
    "Prove": ("check", "prove", "seal", "verify", "prove-consistency", "verify-proof", "seal-key"),
    "Survive": ("backup", "restore", "rebuild", "epochs", "horizon"),
}
_ORDER = "$ORDER"
EXAMPLES = {
    "append": (
        f'eventstore append {_ORDER} OrderPaid \'{{"amount": "12.50", "currency": "EUR"}}\'',
        f"eventstore append {_ORDER} OrderShipped --source /shop --source-id 4711",
    ),
    "ingest": ("eventstore ingest orders.ndjson.gz", "eventstore ingest exports/ --json"),
    "orders": (
        "eventstore orders --status Paid --since '2 days ago'",
        "eventstore orders --anomaly any",
        "eventstore orders 0190a6",
    ),
    "show": (f"eventstore show {_ORDER}", f"eventstore show {_ORDER} --at 2026-03-03 --known 2026-03-04"),
    "history": (
        f"eventstore history {_ORDER}",
        f"eventstore history {_ORDER} --diff 2026-03-01 '2 hours ago'",
    ),
    "tail": ("eventstore tail --limit 10", "eventstore tail --follow --consumer billing"),
    "replay": ("eventstore replay --preview", "eventstore replay orders", "eventstore replay --bucket 3"),
    "promotion": ("eventstore promotion manual", "eventstore promotion auto"),
    "refresh": ("eventstore refresh", "eventstore refresh --follow"),
    "status": ("eventstore status", "eventstore status --check || mail -s eventstore us@example.com"),
    "settings": ("eventstore settings", "eventstore settings max_hold '10 minutes'"),
    "seal": ("eventstore seal",),
    "verify": ("eventstore verify", "eventstore verify --since '7 days ago'"),
    "backup": ("eventstore backup /backups",),
}


class _Words:
    """Flags take no value, so no type stands behind them; what others take is named by a word."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters with what stands for their values. See ``click.Command.get_params``."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if param.metavar is None and param.param_type_name == "option":
                takes = param.type_descriptor.annotation
                param.metavar = "" if param.is_flag else "N" if takes in (int, list[int]) else "TEXT"
            elif param.param_type_name == "argument":
                param.display_type_rich = _nothing  # its name says it
        return params

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """``ORDER_ID``, as everywhere, not ``{ORDER_ID}``."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]  # type: ignore[misc]


class Command(_Words, TyperCommand):
    """A command whose help speaks in words."""


class Group(_Words, TyperGroup):
    """A group of commands whose help speaks in words."""


class Root(Group):
    """All commands, in the order of the tasks."""

    def list_commands(self, ctx: Any) -> list[str]:
        """See ``click.Group.list_commands``."""
        tasks = [name for names in TASKS.values() for name in names]
        return sorted(super().list_commands(ctx), key=lambda name: name in tasks and tasks.index(name))


def arrange(app: typer.Typer) -> None:
    """Put the commands under their tasks, with examples. Called when all are registered."""
    app.info.cls = Root
    task_of = {name: task for task, names in TASKS.items() for name in names}
    for command in app.registered_commands:
        name = command.name or _named(command.callback)
        _dress(command, name)
        command.rich_help_panel = task_of.get(name)
        command.epilog = _examples(name)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        group.cls = Group
        group.rich_help_panel = task_of.get(str(group.name))
        by_itself = group.typer_instance.registered_callback
        if by_itself and by_itself.callback and group.name in STANDS:
            by_itself.callback = telling_what_stands(by_itself.callback, group.name)
        for command in group.typer_instance.registered_commands:
            _dress(command, f"{group.name} {command.name or _named(command.callback)}")


def _dress(command: CommandInfo, name: str) -> None:
    command.cls = Command
    text = cleandoc(command.help or str(getattr(command.callback, "__doc__", None) or ""))
    command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    assert command.callback is not None
    command.callback = telling_what_stands(command.callback, name)


def _nothing(ctx: Any) -> None:
    return None


def _named(callback: Any) -> str:
    return str(callback.__name__).replace("_", "-")


def _examples(name: str) -> str | None:
    lines = EXAMPLES.get(name)
    return "\n\n".join(("Examples:", *(f"  {line}" for line in lines))) if lines else None
