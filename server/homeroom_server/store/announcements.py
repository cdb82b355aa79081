"""What nodes tell each other after a commit."""

from homeroom_server.store.connection import Conn

MOVED_CHANNEL = "homeroom_moved"


async def notify_moved(connection: Conn, type_number: int, low: int, high: int) -> None:
    """One word per batch, outside the write transaction: a type and the versions low < v <= high it took."""
    await connection.execute("select pg_notify($1, $2)", MOVED_CHANNEL, f"{type_number}:{low}:{high}")
