"""A school's system, as small as it can be: a replica that follows, and somebody who looks into its file."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from homeroom import Client, NotificationType, Replica

_WAIT_SECONDS = 3
"""Short, so that a file that was tampered with is found out soon: the hash goes with each question."""


class School:
    """Keeps a file in step with the Core. `arrived` is told (type, id, version) of each change that it sees there."""

    def __init__(
        self, client: Client, path: Path, types: Sequence[str], arrived: Callable[[str, str, int], None]
    ) -> None:
        self.path = path
        self.types = types
        self.replica = Replica(path, client, types, wait_seconds=_WAIT_SECONDS)
        self._arrived = arrived

    async def watch(self) -> None:
        """For ever: tell of every change."""
        async for change in self.replica.changes("demo"):
            self._arrived(change.type, change.id, change.version)

    def versions(self, type_name: str) -> dict[str, int]:
        """Live records, by id, as any tool may read them."""
        with closing(sqlite3.connect(self.path)) as file:
            rows = file.execute(f"select id, version from {_view(type_name)}")  # noqa: S608
            return dict(rows.fetchall())

    def tamper(self, type_name: str, drop: str, stale: str) -> None:
        """What must not happen: one record gone, another silently old."""
        with closing(sqlite3.connect(self.path)) as file, file:
            file.execute(f"delete from records_{_view(type_name)} where id = ?", (drop,))  # noqa: S608
            file.execute(f"update records_{_view(type_name)} set version = 1 where id = ?", (stale,))  # noqa: S608


def _view(type_name: str) -> str:
    return str(NotificationType.parse(type_name)).replace(".", "_")
