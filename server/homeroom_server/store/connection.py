"""What statements run on: a connection of its own or one lent by a pool; and how it fails when nobody did wrong."""

import asyncpg
from asyncpg import Connection
from asyncpg.pool import PoolConnectionProxy

Conn = Connection | PoolConnectionProxy

FAILURES = (
    OSError,  # time-outs included
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection on which time ran out while its answer came
)
"""What a task that lives as long as its node takes for bad weather: said, and tried again."""


async def connections_allowed(connection: Conn) -> int:
    """How many sessions PostgreSQL takes beside those that it reserves."""
    return int(
        await connection.fetchval(
            """
            select current_setting('max_connections')::int
                 - current_setting('superuser_reserved_connections')::int
                 - coalesce(current_setting('reserved_connections', true), '0')::int  -- since 16
            """
        )
    )
