"""The `homeroom-merge` command.

Exit codes: 0 done (what needs somebody is named on stderr), 1 refused, failed or no data, 2 wrong usage, 3 held, 130
cancelled.
"""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

_ROOMS = {
    "runs": ("run", "plan", "approve", "discard", "undo", "restore"),
    "backups": ("backups",),
    "erasure": ("erase-student",),
    "inbox": ("conflicts", "decide", "lost"),
    "own": ("explain", "sticky", "rule"),
    "health": ("health",),
    "reports": ("runs", "report"),
    "worker": ("worker", "jobs", "cancel"),
    "migrating": ("migrate",),
    "console": ("console",),
    "settings": ("settings",),
    "secrets": ("secrets",),
    "formatter": ("formatter",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


class _Commands(TyperGroup):
    """Commands whose rooms are loaded when they are asked for: few need all that the others stand on."""

    def list_commands(self, ctx: object) -> list[str]:
        return list(_ROOM_OF)

    def get_command(self, ctx: object, cmd_name: str) -> Any:
        room = _ROOM_OF.get(cmd_name)
        if room is None:
            return None
        group = get_group(import_module(f"homeroom_merge.command.{room}").app)
        group.name = cmd_name
        return group.commands.get(cmd_name, group)


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _merge() -> None:
    """Keep a school's own system and the hub in step, both ways."""


def main() -> None:
    """Entry point."""
    app()
