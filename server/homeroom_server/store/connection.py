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

STALLED = (
    TimeoutError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
"""It did not do in time what it was asked."""

AWAY = (
    *STALLED,
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidTransactionStateError,  # the transaction ran into a time-out, or may not write
    asyncpg.SerializationError,  # a standby ends a read that stands in the way of what it replays
    asyncpg.PostgresSystemError,  # its disk fails
)
"""What a caller is told to try again for: it is the database's fault, or its machine's."""


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
