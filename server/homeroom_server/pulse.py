"""How the nodes are, for people who look: each says so every two seconds, and reads what all said if one watches."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import anyio
import asyncpg
import structlog

from homeroom_server.committer import Committer
from homeroom_server.held.bookmarks import Bookmarks
from homeroom_server.held.waiters import Waiters
from homeroom_server.reading import Reading
from homeroom_server.settings import Settings
from homeroom_server.store import pulse
from homeroom_server.store.connection import FAILURES
from homeroom_server.store.pulse import NodeRow, Point, Sample, Waiting
from homeroom_server.trouble import Troubles

SAMPLE_SECONDS = 2.0
SILENT_SECONDS = 15
"""A node that was not heard of for so long has died, or cannot reach the database."""
MINUTES = 10
POINT_SECONDS = 5
"""Two samples of every node at least: neither a node that is late nor one that is early makes a dent."""
_BEATS_BETWEEN_COLLECTIONS = 30
_LEAVE_SECONDS_MAX = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Picture:
    """All nodes as they were at one moment. `sample`: the newest number that is in it."""

    sample: int
    taken_at: datetime
    nodes: Sequence[NodeRow]
    points: Sequence[Point]


class Pulse:
    """This node's beat, and the people who wait for the next picture of all."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        reading: Reading,
        bookmarks: Bookmarks,
        waiters: Waiters,
        committer: Committer,
        settings: Settings,
        troubles: Troubles,
    ) -> None:
        self._pool = pool
        self._connections = reading.connections_to_primary("console")  # a standby that trails would show it late
        self._reading = reading
        self._bookmarks = bookmarks
        self._waiters = waiters
        self._committer = committer
        self._troubles = troubles
        self._watchers_max = settings.console_watchers_max
        self._node = uuid4()
        self._name = name_of_node(settings)
        self._started_at = datetime.now(UTC)
        self._before = (anyio.current_time(), 0, 0)
        self._watched_until = 0.0
        self._picture: Picture | None = None
        self._told = anyio.Event()
        self.ended = False
        self.watchers = 0
        self.waiting = Waiting(0, 0)
        """As of the last beat."""

    @property
    def takes_watchers(self) -> bool:
        """Whether one more may watch here; no: there are too many, or the node drains."""
        return not self.ended and self.watchers < self._watchers_max

    async def look(self) -> Picture:
        """All nodes as they are."""
        async with self._connections.acquire() as connection:
            nodes = await pulse.read_nodes(connection, SILENT_SECONDS)
            points = await pulse.read_points(connection, MINUTES, POINT_SECONDS)
        newest = max((node.sample or 0 for node in nodes), default=0)
        return Picture(newest, datetime.now(UTC), nodes, points)

    async def after(self, sample: int, wait_seconds: float) -> Picture | None:
        """A picture with something newer in it than that sample, as soon as there is one; None: not within the wait."""
        picture = self._picture
        if picture is not None and self._is_watched and picture.sample > sample:
            return picture
        self._watch()
        self.watchers += 1
        picture = None
        try:
            with anyio.move_on_after(wait_seconds):
                await self._told.wait()
                picture = self._picture
        finally:
            self.watchers -= 1
            self._watch()  # until it has had the time to ask again
        return None if self.ended else picture

    def end(self) -> None:
        """Whoever watches goes elsewhere; nobody watches here any more."""
        self.ended = True
        self._told.set()

    async def run(self) -> None:
        """Beat until cancelled, then leave."""
        beats = 0
        try:
            while True:
                await anyio.sleep(SAMPLE_SECONDS)
                try:
                    await self.beat()
                    beats += 1
                    if beats % _BEATS_BETWEEN_COLLECTIONS == 1:
                        await self._forget()
                except FAILURES as failure:
                    log.warning("a pulse was lost", kind=type(failure).__name__, reason=self._troubles.met(failure))
        finally:
            with anyio.move_on_after(_LEAVE_SECONDS_MAX, shield=True):
                await self._leave()

    async def beat(self) -> None:
        """Say how this node is, and show those who watch how all are: one read for all of them."""
        seen = {number: self._bookmarks.seen(each) for each, number in self._bookmarks.numbers.items()}
        sample = self._sample()
        async with self._pool.acquire() as connection, connection.transaction():
            await pulse.wait_for_no_disk(connection)
            place = self._reading.place.name
            await pulse.say(connection, self._node, self._name, self._started_at, place, seen)
            await pulse.add_sample(connection, self._node, sample)
            self.waiting = await pulse.count_waiting(connection)
        if self._is_watched:
            self._picture = await self.look()
            told, self._told = self._told, anyio.Event()
            told.set()

    @property
    def _is_watched(self) -> bool:
        return self.watchers > 0 or anyio.current_time() < self._watched_until

    def _watch(self) -> None:
        self._watched_until = anyio.current_time() + 2 * SAMPLE_SECONDS

    def _sample(self) -> Sample:
        now = (anyio.current_time(), self._committer.changes, self._committer.commits)
        seconds, changes, commits = (new - old for new, old in zip(now, self._before, strict=True))
        self._before = now
        wakes = self._waiters.wake_times.take()
        return Sample(max(seconds, 0.001), self._waiters.held, int(changes), int(commits), *wakes)

    async def _forget(self) -> None:
        async with self._pool.acquire() as connection:
            await pulse.forget(connection)

    async def _leave(self) -> None:
        try:
            async with self._pool.acquire() as connection:
                await pulse.leave(connection, self._node)
        except FAILURES as failure:
            log.warning("this node will be missed", kind=type(failure).__name__)


def name_of_node(settings: Settings) -> str:
    """How a node is called where people look."""
    return f"{socket.gethostname()}:{settings.port}/{os.getpid()}"
