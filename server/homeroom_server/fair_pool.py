"""A pool of connections that serves those who wait in the order in which they came.

asyncpg's wakes the first of them when a connection is given back; whoever asks before that one runs takes it, and the
woken one waits again, behind all others. Under load that left some waiting for seconds, for ever new ones to be served.
"""

import asyncio
from typing import Any

import asyncpg
from asyncpg.pool import PoolAcquireContext, PoolConnectionProxy


class FairPool(asyncpg.Pool):
    """As `asyncpg.create_pool` makes it."""

    def __init__(self, *, max_size: int, **options: Any) -> None:
        super().__init__(
            max_size=max_size,
            max_queries=50_000,
            max_inactive_connection_lifetime=300.0,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            setup=None,
            init=None,
            loop=None,
            **options,
        )
        self.turns = asyncio.Semaphore(max_size)

    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext:
        """One connection, for an `async with`, in turn."""
        return _InTurn(self, timeout)


class _InTurn(PoolAcquireContext):
    pool: FairPool

    async def __aenter__(self) -> PoolConnectionProxy:
        await self.pool.turns.acquire()
        try:
            return await super().__aenter__()
        except BaseException:
            self.pool.turns.release()
            raise

    async def __aexit__(self, *exc: object) -> None:
        try:
            await super().__aexit__(*exc)
        finally:
            self.pool.turns.release()
