"""Where a node reads: on a hot standby that keeps up, else on the primary; at one place at a time (decision 13).

What a node has told its clients may never be ahead of what it reads. So the place changes only between two wakes, and a
connection to a standby is lent only once it shows all that was told by then: one that has just restarted may not.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import anyio
import asyncpg
import structlog
from asyncpg.pool import PoolAcquireContext

from homeroom_server import database
from homeroom_server.held.bookmarks import Bookmarks
from homeroom_server.lending import Connect
from homeroom_server.primary import Primary
from homeroom_server.settings import Settings
from homeroom_server.store import types
from homeroom_server.store.connection import FAILURES
from homeroom_server.store.types import Position

_LOOKS_PAUSE_SECONDS = 0.01
_MARKS_MAX = 64

Lane = Literal["usual", "bulk", "console", "feed"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Place:
    """A server to read from, with a pool for each kind of reading."""

    name: str
    is_primary: bool
    pools: Mapping[Lane, asyncpg.Pool]


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where the primary stood at a moment."""

    read_at: float
    position: Position


class Connections:
    """Lends connections of one lane, as a pool does: to where the node reads at the moment, or to one place always."""

    def __init__(self, reading: "Reading", lane: Lane, place: Place | None = None) -> None:
        self._reading = reading
        self._lane = lane
        self._place = place

    def acquire(self) -> PoolAcquireContext:
        return (self._place or self._reading.place).pools[self._lane].acquire()

    async def elsewhere(self) -> bool:
        """After a failure: whether the node reads elsewhere by now, so that it is worth while to try again."""
        return self._place is None and await self._reading.elsewhere()


class Reading:
    """One place at a time, chosen among standbys in their order, with the primary as the last resort."""

    def __init__(self, primary: Place, standbys: Sequence[Place], settings: Settings) -> None:
        self.primary = primary
        self.place = standbys[0] if standbys else primary
        self.turn = anyio.Lock()
        """Held by who wakes clients, from his read to the last bookmark that moves."""
        self.trouble = ""
        self._standbys = standbys
        self._falls_back = settings.primary_read_connections_max > 0
        self._behind_seconds_max = settings.standby_behind_seconds_max
        self._poll_seconds = settings.feed_poll_seconds
        self._marks: list[_Mark] = []
        self._judge_now = anyio.Event()
        self._judged = anyio.Event()

    def connections(self, lane: Lane) -> Connections:
        """To where the node reads."""
        return Connections(self, lane)

    def connections_to_primary(self, lane: Lane) -> Connections:
        """To the primary, wherever the node reads."""
        return Connections(self, lane, self.primary)

    async def start(self) -> None:
        """Choose the first place."""
        if self._standbys:
            await self._judge()

    async def run(self) -> None:
        """Judge again every second, and when a read has failed, until cancelled."""
        while self._standbys:
            with anyio.move_on_after(self._poll_seconds):
                await self._judge_now.wait()
            self._judge_now = anyio.Event()
            await self._judge()
            judged, self._judged = self._judged, anyio.Event()
            judged.set()

    async def elsewhere(self) -> bool:
        """Whether a read that has just failed should be tried again: another place was chosen."""
        if not self._standbys:
            return False
        before, judged = self.place, self._judged
        self._judge_now.set()
        with anyio.move_on_after(self._behind_seconds_max):
            await judged.wait()
        return self.place is not before

    async def _judge(self) -> None:
        """Stay where it is good; else the first standby that keeps up, else the primary if it may be used."""
        stands = await _position(self.primary)
        if stands is not None:
            self._marks = [*self._marks[1 - _MARKS_MAX :], _Mark(anyio.current_time(), stands)]
        first = self.place if not self.place.is_primary else None
        for standby in sorted(self._standbys, key=lambda place: place is not first):
            if await self._keeps_up(standby, reached=stands is not None):
                self.trouble = ""
                await self._take(standby)
                return
        if stands is not None and self._falls_back:
            self.trouble = ""
            await self._take(self.primary)
        else:
            self.trouble = "no standby can be read from: none answers, or none keeps up with the primary"

    async def _keeps_up(self, standby: Place, *, reached: bool) -> bool:
        """Whether it shows all that the primary showed a moment ago. Nobody can tell while the primary is away."""
        position = await _position(standby)
        if position is None:
            return False
        since = anyio.current_time() - max(self._behind_seconds_max, 2 * self._poll_seconds)
        return not reached or any(
            mark.read_at >= since and covers(position, mark.position) for mark in reversed(self._marks)
        )

    async def _take(self, place: Place) -> None:
        if place is self.place:
            return
        async with self.turn:
            for pool in place.pools.values():
                await pool.expire_connections()  # those made from now on show all that was told
            self.place = place
        log.warning("reads have moved", place=place.name)


@asynccontextmanager
async def open_reading(primary: Primary, settings: Settings, bookmarks: Bookmarks) -> AsyncIterator[Reading]:
    """Where a node with these settings reads."""
    standbys = settings.read_database_url.split()
    sizes = database.PoolSizes.usually(settings)
    async with AsyncExitStack() as stack:

        async def opened(name: str, connect: Connect, sizes: database.PoolSizes, *, is_primary: bool) -> Place:
            pools: dict[Lane, asyncpg.Pool] = {
                "usual": await stack.enter_async_context(database.open_read_pool(connect, settings, sizes.usual)),
                "bulk": await stack.enter_async_context(database.open_read_pool(connect, settings, sizes.bulk)),
                "console": await stack.enter_async_context(database.open_console_pool(connect, settings)),
                "feed": await stack.enter_async_context(database.open_feed_pool(connect, settings)),
            }
            return Place(name, is_primary, pools)

        first = await opened("primary", primary.connect, database.PoolSizes.at_primary(settings), is_primary=True)
        others = []
        for number, url in enumerate(standbys, 1):
            connect = _caught_up(database.connector(url), bookmarks, settings.standby_behind_seconds_max)
            others.append(await opened(f"standby {number}", connect, sizes, is_primary=False))
        reading = Reading(first, others, settings)

        async def renew() -> None:
            for pool in first.pools.values():
                await pool.expire_connections()

        primary.moved.append(renew)
        yield reading


def covers(position: Position, other: Position) -> bool:
    """Whether a position shows all that another one does."""
    if position.epoch != other.epoch:
        return False
    watermarks = {row.number: row.watermark for row in position.types}
    return all(watermarks.get(row.number, -1) >= row.watermark for row in other.types)


def _caught_up(connect: Connect, bookmarks: Bookmarks, seconds_max: float) -> Connect:
    """Connections that show all that this node has told by the time they are made; TimeoutError if it takes longer."""

    async def connected(*arguments: object, **options: object) -> asyncpg.Connection:
        connection = await connect(*arguments, **options)
        try:
            with anyio.fail_after(seconds_max):
                while True:
                    if _shows(await types.read_position(connection), bookmarks):
                        return connection
                    await anyio.sleep(_LOOKS_PAUSE_SECONDS)
        except BaseException:
            connection.terminate()
            raise

    return connected


def _shows(position: Position, bookmarks: Bookmarks) -> bool:
    watermarks = {row.notification_type: row.watermark for row in position.types}
    return all(watermarks.get(known, 0) >= bookmarks.seen(known) for known in bookmarks.numbers)


async def _position(place: Place) -> Position | None:
    """Where it stands; None if it does not say so soon."""
    try:
        with anyio.fail_after(1.0):
            async with place.pools["feed"].acquire() as connection:
                return await types.read_position(connection)
    except FAILURES:
        return None
