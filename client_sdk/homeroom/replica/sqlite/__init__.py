"""A replica in a SQLite file."""

from homeroom.replica.sqlite.file import connect_to_read, held_lock
from homeroom.replica.sqlite.store import SqliteStorage

__all__ = ["SqliteStorage", "connect_to_read", "held_lock"]
