"""What statements run on."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import asyncpg
from asyncpg.transaction import Transaction

Conn = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Connect = Callable[..., Coroutine[Any, Any, asyncpg.Connection]]
"""Takes what asyncpg.connect takes."""
FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a task that lives as long as its program takes for bad weather: said, and tried again."""

_KEEPALIVE = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
"""A machine that lost its power holds what it worked on for a minute, not for hours."""
_PLANS = {"plan_cache_mode": "force_custom_plan", "jit": "off"}
"""Tables grow from nothing to all there is within a run: a plan made for the empty one would be kept to its end."""
_SETTINGS = {"application_name": "homeroom merge", "search_path": "homeroom_merge", **_PLANS, **_KEEPALIVE}


class _WholeTransaction(Transaction):
    """Begun and ended whole: a scope that was cancelled cancels each wait in it anew, its ROLLBACK's too."""

    async def __aenter__(self) -> None:
        with anyio.CancelScope(shield=True):
            await super().__aenter__()

    async def __aexit__(self, extype: object, ex: object, tb: object) -> None:
        with anyio.CancelScope(shield=True):
            await super().__aexit__(extype, ex, tb)


class _Connection(asyncpg.Connection):
    """Never left in a transaction that nobody ends."""

    def transaction(
        self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False
    ) -> _WholeTransaction:
        return _WholeTransaction(self, isolation, readonly, deferrable)


AWAY = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)
"""The database cannot be reached, or not now."""


async def connect(database_url: str) -> asyncpg.Connection:
    """A connection whose tables are the state's."""
    return await asyncpg.connect(database_url, timeout=10, server_settings=_SETTINGS, connection_class=_Connection)


@asynccontextmanager
async def pooled(
    database_url: str, connections_max: int, connect: Connect = asyncpg.connect
) -> AsyncIterator[asyncpg.Pool]:
    """Such connections for tasks that need one now and then, made when they do."""
    async with asyncpg.create_pool(
        database_url,
        connect=connect,
        min_size=0,
        max_size=connections_max,
        timeout=10,
        command_timeout=60,
        server_settings=_SETTINGS,
        connection_class=_Connection,
    ) as pool:
        yield pool


class Connections:
    """Connections that are used again, with all the statements that they know by then; one that is lost is not.

    Other than those of a pool, they can be asked whether they are lost.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._idle: list[asyncpg.Connection] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[asyncpg.Connection]:
        """For one task at a time, which leaves no lock behind."""
        connection = self._idle.pop() if self._idle else await connect(self._database_url)
        if connection.is_closed():
            connection = await connect(self._database_url)
        try:
            yield connection
        finally:
            try:
                await connection.reset(timeout=10)
                self._idle.append(connection)
            except FAILURES:
                connection.terminate()
            except BaseException:
                connection.terminate()
                raise

    def close(self) -> None:
        """Those that nobody uses; nobody asks any more."""
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()
