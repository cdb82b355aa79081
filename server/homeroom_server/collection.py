"""Forgets what has outlived its retention: tombstones, revocations, first answers to calls, counts. Any node may.

And what was noted of erased students a moment too late.
"""

import anyio
import asyncpg
import structlog

from homeroom_server import erasure
from homeroom_server.settings import Settings
from homeroom_server.store import access_triggers, audit, calls, client_traffic, collection, records, triggers
from homeroom_server.store import erasure as store
from homeroom_server.store.connection import FAILURES

_PAUSE_SECONDS = 600.0
"""Well below the hour of a version mark: none is left out while a node runs."""
_ROWS_AT_ONCE_MAX = 2_000
"""Tombstones and revocations in one transaction: writers of the type wait for some milliseconds."""
_CALLS_AT_ONCE_MAX = 10_000
_EVENTS_AT_ONCE_MAX = 10_000
_TRAFFIC_HOURS = 48

log = structlog.get_logger()


async def run(pool: asyncpg.Pool, settings: Settings) -> None:
    """Collect until cancelled; failures of the database wait for the next time."""
    while True:
        try:
            await end_leases_of_tomorrow(pool)
            await collect_gone(pool, settings.retention_days)
            await forget_late_mentions(pool)
            await collect_calls(pool, settings.idempotency_days)
            await collect_audit(pool, settings.audit_days)
            await collect_traffic(pool)
        except FAILURES as failure:
            log.warning("collection waits", kind=type(failure).__name__)
        await anyio.sleep(_PAUSE_SECONDS)


async def end_leases_of_tomorrow(pool: asyncpg.Pool) -> None:
    """Take up what waits for a moment that a clock which was ahead has put off."""
    async with pool.acquire() as connection:
        ended = await triggers.make_overdue_due(connection) + await access_triggers.end_overlong_leases(connection)
    if ended:
        log.warning("the database's clock was ahead: what it had put off is due now", count=ended)


async def collect_gone(pool: asyncpg.Pool, retention_days: int) -> None:
    """Mark the hour, and remove tombstones and revocations that are older than the retention."""
    async with pool.acquire() as connection:
        await collection.mark_version(connection)
        until = await collection.version_of_retention(connection, retention_days)
        numbers = await collection.types_to_collect(connection, until)
    for number in numbers:
        while await _collect_batch(pool, number, until) == _ROWS_AT_ONCE_MAX:
            pass
        async with pool.acquire() as connection, connection.transaction():
            await records.lock_type(connection, number)
            await collection.remove_erased(connection, number, until)


async def _collect_batch(pool: asyncpg.Pool, type_number: int, until: int) -> int:
    async with pool.acquire() as connection, connection.transaction():
        await records.lock_type(connection, type_number)
        return await collection.remove_gone(connection, type_number, until, _ROWS_AT_ONCE_MAX)


async def forget_late_mentions(pool: asyncpg.Pool) -> None:
    """Forget what nodes noted of erased records after these were gone: of what they had answered just before."""
    async with pool.acquire() as connection:
        keys = await store.read_erased(connection)
        if not keys:
            return
        secret = await store.read_secret(connection)
        async with connection.transaction():
            await audit.hide_ids(connection, {each: store.word_of(secret, each) for _, each in keys})
            await erasure.forget_mentions(connection, keys)


async def collect_calls(pool: asyncpg.Pool, days: int) -> None:
    """Forget the first answers to calls that are older than so many days."""
    async with pool.acquire() as connection:
        while await calls.collect_calls(connection, days, _CALLS_AT_ONCE_MAX) == _CALLS_AT_ONCE_MAX:
            pass


async def collect_audit(pool: asyncpg.Pool, days: int) -> None:
    """Forget events of the audit that are older than so many days."""
    async with pool.acquire() as connection:
        while await audit.collect(connection, days, _EVENTS_AT_ONCE_MAX) == _EVENTS_AT_ONCE_MAX:
            pass


async def collect_traffic(pool: asyncpg.Pool) -> None:
    """Forget what the calls of clients came to two days ago."""
    async with pool.acquire() as connection:
        await client_traffic.forget(connection, _TRAFFIC_HOURS)
