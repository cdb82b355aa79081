"""A pool of connections that lends in turn, and keeps nobody waiting for ever.

asyncpg's wakes the first who waits when a connection is given back; whoever asks before that one runs takes it, and the
woken one waits again, behind all others. Under load that left some waiting for seconds, for ever new ones to be served.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import anyio
import asyncpg
from asyncpg.pool import PoolAcquireContext, PoolConnectionProxy

_CLOSING_SECONDS_MAX = 5.0

Connect = Callable[..., Coroutine[Any, Any, asyncpg.Connection]]
"""Opens a connection; takes what asyncpg.connect takes, the URL apart."""


class BoundedPool(asyncpg.Pool):
    """`seconds_max` bounds each wait and each statement; TimeoutError beyond it.

    A connection whose server hangs is given up then: it is not waited for to be told that nobody wants its answer.
    """

    def __init__(self, connect: Connect, seconds_max: float, size_max: int, **options: Any) -> None:
        self.seconds_max = seconds_max
        self.turns = asyncio.Semaphore(size_max)
        super().__init__(
            connect=connect,
            min_size=0,
            max_size=size_max,
            max_queries=50_000,
            max_inactive_connection_lifetime=300.0,
            reset=_keep,
            loop=None,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            command_timeout=seconds_max,
            **options,
        )

    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext:
        """One connection, for an `async with`, in turn."""
        return _InTurn(self, timeout)

    async def release(self, connection: PoolConnectionProxy, *, timeout: float | None = None) -> None:
        await super().release(connection, timeout=self.seconds_max if timeout is None else timeout)

    async def close(self) -> None:
        """In good order, or after some seconds in any."""
        with suppress(TimeoutError), anyio.fail_after(_CLOSING_SECONDS_MAX):
            await super().close()  # which ends them anyhow where it fails


class _InTurn(PoolAcquireContext):
    pool: BoundedPool

    async def __aenter__(self) -> PoolConnectionProxy:
        seconds_max = self.pool.seconds_max if self.timeout is None else self.timeout
        if self.pool.turns.locked():
            async with asyncio.timeout(seconds_max):
                await self.pool.turns.acquire()
        else:
            await self.pool.turns.acquire()
        try:
            if not self.pool.get_idle_size():  # else nobody waits, and no time is spent on limiting it
                self.timeout = seconds_max
            return await super().__aenter__()
        except BaseException:
            self.pool.turns.release()
            raise

    async def __aexit__(self, *exc: object) -> None:
        try:
            await super().__aexit__(*exc)
        finally:
            self.pool.turns.release()


async def _keep(connection: object) -> None:
    """Nothing in a session outlives its transaction, so there is nothing to reset."""
