"""Reaching a version that a client has seen and this node perhaps not yet (protocol 3, 5 and 7)."""

import anyio

from homeroom.errors import Code, error
from homeroom.protocol import NotificationType
from homeroom_server.services import Services
from homeroom_server.store import bulk, types
from homeroom_server.store.bulk import Position
from homeroom_server.store.connection import FAILURES


async def wait_until_seen(services: Services, notification_type: NotificationType, version: int) -> None:
    """Return when this node has seen that version of a type, or after a few seconds."""
    await services.feed.reach(notification_type, version, anyio.current_time() + services.settings.catch_up_seconds)


async def reach(services: Services, notification_type: NotificationType, version: int) -> Position:
    """Where the type stands, at that version or beyond.

    Raises ResyncNeeded 2003 for a version that was never given out, RetryLater 2002 if the node stays behind.
    """
    position = await _read(services, notification_type)
    if not await was_given_out(services, version, position.counter):
        raise error(Code.OTHER_HISTORY, "the Core never gave out a version this high")
    if version > position.watermark:
        await wait_until_seen(services, notification_type, version)
        position = await _read(services, notification_type)
    must_show(position, version)
    return position


def must_show(position: Position, version: int) -> None:
    """RetryLater 2002 unless a read shows a version."""
    if version > position.watermark:
        raise error(Code.NODE_BEHIND, "this node has not yet seen the version that the client holds")


async def was_given_out(services: Services, version: int, counter: int) -> bool:
    """Whether the Core ever gave out a version. Where a node reads, the counter may be behind: the primary knows."""
    if version <= counter:
        return True
    try:
        return version <= await services.primary_flights.read("counter", types.read_counter)
    except FAILURES:
        return True  # nobody knows while the primary is away


async def _read(services: Services, notification_type: NotificationType) -> Position:
    async with services.pool.acquire() as connection:
        return await bulk.read_type_position(connection, notification_type)
