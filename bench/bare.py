"""What PostgreSQL alone takes from a commit to those who listen: the least a wake can take."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def bare_round_trip(database_url: str) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """Each call: milliseconds from a commit of one row to its NOTIFY on another connection."""
    writer, listener = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    heard = asyncio.Event()
    await listener.add_listener("bench", lambda *_: heard.set())

    async def once() -> float:
        heard.clear()
        begun = time.perf_counter()
        await writer.execute("update notification_type set watermark = watermark where number = 1")
        await writer.execute("select pg_notify('bench', '')")
        await heard.wait()
        return (time.perf_counter() - begun) * 1000

    try:
        yield once
    finally:
        await writer.close()
        await listener.close()
