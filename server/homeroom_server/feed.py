"""What moved? Learns of commits on any node, finds the streams concerned, wakes who waits for them."""

import math
from collections.abc import Awaitable, Callable, Mapping

import anyio
import asyncpg
import structlog

from homeroom.errors import Code, error
from homeroom.protocol import NotificationType
from homeroom_server.auth import Directory
from homeroom_server.changes import Moved
from homeroom_server.hashes.version_hash import VersionHashes
from homeroom_server.held.bookmarks import Bookmarks
from homeroom_server.held.news import Changes, Movement, News
from homeroom_server.held.waiters import Waiters
from homeroom_server.reading import Reading
from homeroom_server.store import announcements, registry, streams, types
from homeroom_server.store.connection import FAILURES
from homeroom_server.store.types import Position, TypeRow
from homeroom_server.tracing.spans import Traces
from homeroom_server.trouble import advice_on

OTHER_HISTORY = "the database's history changed during this call; ask again"
_RECORDS_PER_READ_MAX = 10_000
_LOOK_POLLS_MAX = 5
"""While a look takes longer than so many polls, the database is too slow to be called ready."""
_PAUSE_SECONDS_MIN, _PAUSE_SECONDS_MAX = 0.001, 0.05
"""Between two looks at a standby that does not show yet what was announced."""

Connect = Callable[[], Awaitable[asyncpg.Connection]]
"""Opens a connection of its own to the primary, past any transaction pooler: LISTEN needs one."""

log = structlog.get_logger()


class Feed:
    """Fed by the node's own committer, by NOTIFY, and by a slow look at the watermarks that makes up for lost ones."""

    def __init__(
        self,
        reading: Reading,
        waiters: Waiters,
        bookmarks: Bookmarks,
        hashes: VersionHashes,
        directory: Directory,
        poll_seconds: float,
        traces: Traces,
    ) -> None:
        self._reading = reading
        self._connections = reading.connections("feed")
        self._to_primary = reading.connections_to_primary("feed")
        self._waiters = waiters
        self._bookmarks = bookmarks
        self._hashes = hashes
        self._directory = directory
        self._poll_seconds = poll_seconds
        self._traces = traces
        self._types: dict[int, NotificationType] = {}
        self._pending: dict[int, int] = {}
        self._learned_at: dict[int, float] = {}
        self._signalled = anyio.Event()
        self._look_now = anyio.Event()
        self._advanced = anyio.Event()
        self._trouble = "it has not begun"
        self._looking_since = math.inf

    @property
    def trouble(self) -> str:
        """Why the database cannot be read; empty: it can."""
        if anyio.current_time() - self._looking_since > _LOOK_POLLS_MAX * self._poll_seconds:
            return advice_on(TimeoutError())
        return self._trouble

    @property
    def alive(self) -> bool:
        return not self.trouble

    @property
    def behind_seconds(self) -> float:
        """For how long there has been something of which this node has not told everybody yet; 0: there is nothing."""
        now = anyio.current_time()
        return now - min(self._learned_at.values(), default=now)

    @property
    def epoch(self) -> str:
        return self._bookmarks.epoch

    def seen(self, notification_type: NotificationType) -> int:
        """The version up to which everyone who waits for this type has been woken."""
        return self._bookmarks.seen(notification_type)

    async def reach(self, notification_type: NotificationType, version: int, deadline: float) -> None:
        """Return when everyone who waits for this type has been woken up to a version, or at the deadline."""
        with anyio.CancelScope(deadline=deadline):
            while self._bookmarks.seen(notification_type) < version:
                await self._advanced.wait()

    async def start(self) -> None:
        """Take the watermarks as they are: whoever waits from now on reads after this."""
        async with self._connections.acquire() as connection:
            await streams.read_moved(connection, {}, _RECORDS_PER_READ_MAX)  # planned before anybody waits for it
        await self._directory.refresh()
        await self._look()
        self._trouble = ""

    def signal(self, moved: Moved) -> None:
        """This node has committed a batch."""
        self._meet(moved.row)
        self._note(moved.row.number, moved.high)

    async def announce(self, moved: Moved) -> None:
        """Tell every other node; a lost word costs them a poll, never a change."""
        try:
            async with self._to_primary.acquire() as connection:
                await announcements.notify_moved(connection, moved.row.number, moved.low, moved.high)
        except FAILURES as failure:
            log.warning("announcement lost", kind=type(failure).__name__)

    async def run(self, connect: Connect) -> None:
        """Listen, look and wake until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, connect)
            tasks.start_soon(self._poll)
            tasks.start_soon(self._wake)

    async def _listen(self, connect: Connect) -> None:
        while True:
            try:
                await self._listen_until_lost(connect)
                log.warning("the connection that listened was lost")
            except FAILURES as failure:
                log.warning("cannot listen", kind=type(failure).__name__)
                await anyio.sleep(self._poll_seconds)

    async def _listen_until_lost(self, connect: Connect) -> None:
        connection, lost = await connect(), anyio.Event()
        try:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(announcements.MOVED_CHANNEL, self._on_moved)
            await connection.add_listener(registry.DIRECTORY_CHANNEL, self._on_directory)
            self._look_now.set()  # for what was said while nobody listened
            await lost.wait()
        finally:
            connection.terminate()

    def _on_moved(self, connection: object, pid: int, channel: str, payload: object) -> None:
        number, _, high = (int(part) for part in str(payload).split(":"))
        if number in self._types:
            self._note(number, high)
        else:
            self._look_now.set()

    def _on_directory(self, connection: object, pid: int, channel: str, payload: object) -> None:
        self._look_now.set()

    async def _poll(self) -> None:
        while True:
            with anyio.move_on_after(self._poll_seconds):
                await self._look_now.wait()
            self._look_now = anyio.Event()
            self._looking_since = anyio.current_time()
            try:
                await self._look()
                self._trouble = ""
            except FAILURES as failure:
                self._trouble = advice_on(failure)
                log.warning("the database is away", kind=type(failure).__name__, reason=self._trouble)
            self._looking_since = math.inf

    async def _look(self) -> None:
        async with self._connections.acquire() as connection:
            position = await types.read_position(connection)
        if position.epoch != self._bookmarks.epoch:
            await self._begin_history(position)
        for row in position.types:
            self._meet(row)
            self._note(row.number, row.watermark)
        if position.directory_version > self._directory.version:
            try:
                await self._directory.refresh()
            except FAILURES as failure:
                log.warning("organizations and keys cannot be read", kind=type(failure).__name__)

    async def _begin_history(self, position: Position) -> None:
        """What was told in another history is no measure of this one, and no hash that agreed there agrees here."""
        async with self._reading.turn:
            another = bool(self._bookmarks.epoch)
            self._bookmarks.begin(position.epoch)
            self._pending.clear()
            self._learned_at.clear()
            for row in position.types:
                self._meet(row)
                self._bookmarks.advance(row.notification_type, row.watermark)
            if another:
                log.warning("the database has another history", epoch=position.epoch)
                self._waiters.refuse_all(error(Code.CORE_NOT_AVAILABLE, OTHER_HISTORY))
                await self._directory.refresh()

    def _meet(self, row: TypeRow) -> None:
        self._types[row.number] = row.notification_type
        self._bookmarks.numbers[row.notification_type] = row.number
        known = self._bookmarks.horizons.get(row.notification_type, 0)
        self._bookmarks.horizons[row.notification_type] = max(known, row.horizon)

    def _note(self, number: int, high: int) -> None:
        if high > self._bookmarks.seen(self._types[number]) and high > self._pending.get(number, 0):
            self._pending[number] = high
            self._learned_at.setdefault(number, anyio.current_time())
            self._signalled.set()

    async def _wake(self) -> None:
        pause_seconds = _PAUSE_SECONDS_MIN
        while True:
            await self._signalled.wait()
            self._signalled = anyio.Event()
            pending, self._pending = self._pending, {}
            try:
                async with self._reading.turn:
                    reached = await self._reached(pending)
                    await self._wake_up_to(reached)
            except FAILURES as failure:
                # Nobody is woken and no bookmark moves: the next look at the watermarks brings it again.
                log.warning("cannot tell who is concerned", kind=type(failure).__name__)
                continue
            advanced, self._advanced = self._advanced, anyio.Event()
            advanced.set()
            for number, high in pending.items():
                self._note(number, high)  # what a cut read has left, and what a standby does not show yet
            if reached.keys() == pending.keys():
                pause_seconds = _PAUSE_SECONDS_MIN
            else:
                await anyio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _PAUSE_SECONDS_MAX)

    async def _reached(self, pending: Mapping[int, int]) -> Mapping[int, int]:
        """Of the versions that were announced, those of which this node's reader shows something, and how much."""
        if self._reading.place.is_primary:
            return pending
        async with self._connections.acquire() as connection:
            shown = await types.read_types(connection, list(pending))
        return {
            number: min(high, shown[number].watermark)
            for number, high in pending.items()
            if number in shown and shown[number].watermark > self.seen(self._types[number])
        }

    async def _wake_up_to(self, reached: Mapping[int, int]) -> None:
        watched = {}
        learned_at = anyio.current_time()
        for number, high in reached.items():
            learned_at = min(learned_at, self._learned_at.pop(number, learned_at))
            notification_type = self._types[number]
            if self._waiters.watched(notification_type):
                watched[number] = self._bookmarks.seen(notification_type)
            else:
                self._hashes.moved_unseen(number, high)
                self._bookmarks.advance(notification_type, high)
        if watched:
            with self._traces.span("feed") as span:
                news = await self._read(watched)
                span.note("feed", {"homeroom.types": len(watched)})
            if news.epoch == self._bookmarks.epoch:
                await self._waiters.wake(news, learned_at)
            else:
                self._look_now.set()  # which begins the other history

    async def _read(self, since: Mapping[int, int]) -> News:
        async with self._connections.acquire() as connection:
            rows = await streams.read_moved(connection, since, _RECORDS_PER_READ_MAX)
        moved: dict[int, Movement] = {}
        for row in rows:
            movement = moved.setdefault(
                row.number, Movement(self._types[row.number], row.bookmark, cut=row.cut, lost=row.lost)
            )
            if row.ids is not None and row.versions is not None:
                movement.streams[row.viewer] = Changes(row.ids, row.versions)
                self._hashes.moved((row.number, row.viewer), row.bookmark)
            if row.lost:
                self._hashes.moved_unseen(row.number, row.bookmark)
        return News(rows[0].epoch, list(moved.values()))
