"""What statements run on."""

import asyncpg

Conn = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy


async def connect(database_url: str) -> asyncpg.Connection:
    """A connection whose tables are the state's."""
    settings = {"application_name": "homeroom merge", "search_path": "homeroom_merge", "jit": "off"}
    return await asyncpg.connect(database_url, timeout=10, server_settings=settings)
