"""One database read for all who ask the same before it begins."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

import anyio
import anyio.abc
import asyncpg

from homeroom.errors import Code, error
from homeroom_server.store.connection import FAILURES

T = TypeVar("T")
U = TypeVar("U")
Connection = asyncpg.pool.PoolConnectionProxy


class Lender(Protocol):
    """Lends connections to where the node reads."""

    def acquire(self) -> AbstractAsyncContextManager[Connection]:
        """One connection, as a pool does."""

    async def elsewhere(self) -> bool:
        """After a failure: whether the node reads elsewhere by now, so that it is worth while to try again."""


class Paced:
    """A lender that lends no sooner than so many seconds after the last time.

    Under a SingleFlight, those who ask meanwhile are answered by one read together.
    """

    def __init__(self, lender: Lender, pause_seconds: float) -> None:
        self._lender = lender
        self._pause_seconds = pause_seconds
        self._next_at = -math.inf

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        await anyio.sleep_until(self._next_at)
        async with self._lender.acquire() as connection:
            self._next_at = anyio.current_time() + self._pause_seconds
            yield connection

    async def elsewhere(self) -> bool:
        return await self._lender.elsewhere()


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.result: T
        self.failure: Exception | None = error(Code.CORE_NOT_AVAILABLE, "the node is stopping")


class SingleFlight:
    """A read is joined only by those who asked before it began: what it returns is never older than the question."""

    def __init__(self, lender: Lender, tasks: anyio.abc.TaskGroup) -> None:
        self._lender = lender
        self._tasks = tasks
        self._boarding: dict[Hashable, _Flight[Any]] = {}

    async def read(self, key: Hashable, read: Callable[[Connection], Awaitable[T]]) -> T:
        """What `read` returns or raises; it runs once for every caller that waits under the same `key`."""
        return await self.read_then(key, read, _as_it_is)

    async def read_then(
        self, key: Hashable, read: Callable[[Connection], Awaitable[T]], then: Callable[[T], Awaitable[U]]
    ) -> U:
        """As `read`, with the rest of the work shared too: `then` runs after the connection has been given back."""
        flight: _Flight[U] | None = self._boarding.get(key)
        if flight is None:
            flight = self._boarding[key] = _Flight()
            self._tasks.start_soon(self._fly, key, flight, read, then)
        await flight.landed.wait()
        if flight.failure is not None:
            raise flight.failure
        return flight.result

    async def _fly(
        self,
        key: Hashable,
        flight: _Flight[U],
        read: Callable[[Connection], Awaitable[T]],
        then: Callable[[T], Awaitable[U]],
    ) -> None:
        try:
            try:
                found = await self._read(key, flight, read)
            except FAILURES:
                if not await self._lender.elsewhere():
                    raise
                found = await self._read(key, flight, read)
            flight.result = await then(found)
            flight.failure = None
        except Exception as failure:  # handed to those who asked; the node goes on
            if self._boarding.get(key) is flight:
                del self._boarding[key]
            flight.failure = failure
        finally:
            flight.landed.set()

    async def _read(self, key: Hashable, flight: _Flight[Any], read: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._lender.acquire() as connection:
            if self._boarding.get(key) is flight:
                del self._boarding[key]
            return await read(connection)


async def _as_it_is(found: T) -> T:
    return found
