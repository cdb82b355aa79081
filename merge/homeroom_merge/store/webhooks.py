"""Webhook calls that were taken: each once."""

from datetime import datetime

from homeroom_merge.store.connection import Conn


async def take(connection: Conn, signature: bytes, now: datetime, forget_at: datetime) -> bool:
    """Whether it comes for the first time; in the transaction that raises what it says. Forgets those that are over."""
    await connection.execute("delete from webhook_call where forget_at < $1", now)
    taken = await connection.execute(
        "insert into webhook_call (signature, forget_at) values ($1, $2) on conflict do nothing", signature, forget_at
    )
    return not taken.endswith(" 0")
