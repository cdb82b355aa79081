"""What statements run on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

Conn = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a task that lives as long as its program takes for bad weather: said, and tried again."""

_KEEPALIVE = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
"""A machine that lost its power holds what it worked on for a minute, not for hours."""
_SETTINGS = {"application_name": "homeroom merge", "search_path": "homeroom_merge", "jit": "off", **_KEEPALIVE}


async def connect(database_url: str) -> asyncpg.Connection:
    """A connection whose tables are the state's."""
    return await asyncpg.connect(database_url, timeout=10, server_settings=_SETTINGS)


@asynccontextmanager
async def pooled(database_url: str, connections_max: int) -> AsyncIterator[asyncpg.Pool]:
    """Such connections for tasks that need one now and then, made when they do."""
    async with asyncpg.create_pool(
        database_url,
        min_size=0,
        max_size=connections_max,
        timeout=10,
        command_timeout=60,
        server_settings=_SETTINGS,
    ) as pool:
        yield pool
