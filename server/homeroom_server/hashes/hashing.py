"""How a version hash comes about: PostgreSQL computes it, or it is made from a hot stream (decision 10)."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import anyio
import anyio.to_thread
import structlog

from homeroom_server.hashes.hot_stream import RECORD_BYTES, HotStream, Inconsistent, unpacked
from homeroom_server.hashes.recent import Recent
from homeroom_server.settings import Settings
from homeroom_server.single_flight import Connection, Lender
from homeroom_server.store import hashes

Stream = tuple[int, int | None]
"""The number of a type, and the organisation that looks at it; None is everything of it."""

_LARGE_RECORDS_MIN = 100_001
"""Live records from which on a stream is read in the lane of large ones."""
_HOT_RECORDS_MIN = 2_000
"""Below, PostgreSQL hashes a stream in the time that reading its changes would take."""
_HOT_SHARE_MAX = 0.5
"""Of all memory for hot streams: what one may take."""
_CHANGES_MIN, _CHANGES_MAX = 1_000, 20_000
"""A stream of which more than a quarter has changed is loaded anew; never below the one, always above the other."""
_INLINE_RECORDS_MAX = 32_000
"""What is hashed between two turns of the event loop: half a millisecond."""
_CHANGE_RECORDS = 200
"""A change costs as much as so many records that are hashed."""
_UNLIMITED = 2**60

T = TypeVar("T")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Digest:
    """A stream's hash. Nothing of the stream up to version `upto` is missing in it; `top` is its highest version.

    `proven`: it is PostgreSQL's own.
    """

    epoch: str
    upto: int
    top: int
    records: int
    md5: bytes
    proven: bool


class _Lane:
    """A pool of which hashes take so many connections at once, however many are waited for."""

    def __init__(self, pool: Lender, at_once_max: int) -> None:
        self._pool = pool
        self._turns = anyio.CapacityLimiter(at_once_max)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        async with self._turns, self._pool.acquire() as connection:
            yield connection


class Hashing:
    """Computes hashes; of one stream never two at once. Keeps hot streams, those used last."""

    def __init__(self, pool: Lender, bulk_pool: Lender, settings: Settings) -> None:
        self._usual = _Lane(pool, max(1, settings.read_connections_max // 2))
        self._large = _Lane(bulk_pool, 1)
        self._hot_bytes_max = settings.hot_streams_bytes_max
        self._hot: Recent[Stream, HotStream] = Recent(self._hot_bytes_max, lambda hot: hot.size)

    async def compute(self, stream: Stream, last: Digest | None) -> Digest:
        """A stream's hash, given the last one known.

        The first is PostgreSQL's: most streams of a node that has just started will not move soon. One that has
        moved since will move again, and is loaded.
        """
        hot = self._hot.take(stream)  # nobody else's now, and forgotten if anything fails
        if hot is not None:
            hot = await self._refreshed(stream, hot)
        if hot is None and last is not None and self._is_worth_keeping(last.records):
            hot = await self._load(stream, last.records)
        if hot is None:
            return await self._by_postgresql(stream, last)
        digest = Digest(hot.epoch, hot.upto, hot.top, len(hot), await _work(len(hot), hot.md5), False)
        self._hot.put(stream, hot)
        return digest

    async def prove(self, stream: Stream, last: Digest | None) -> Digest:
        """PostgreSQL's own hash. A hot stream that contradicts it, with nothing moved between, is forgotten."""
        digest = await self._by_postgresql(stream, last)
        if last is not None and last.epoch == digest.epoch and digest.top <= last.upto and digest.md5 != last.md5:
            log.error("a hot stream was wrong", type_number=stream[0], viewer=stream[1])
            self._hot.take(stream)
        return digest

    def _is_worth_keeping(self, records: int) -> bool:
        return records >= _HOT_RECORDS_MIN and records * RECORD_BYTES <= self._hot_bytes_max * _HOT_SHARE_MAX

    async def _refreshed(self, stream: Stream, hot: HotStream) -> HotStream | None:
        """The same with what has changed since; None if it has to be loaded anew.

        A horizon above what it has: tombstones that it has not seen are gone.
        """
        limit = min(max(len(hot) // 4, _CHANGES_MIN), _CHANGES_MAX)
        async with self._usual.connection() as connection:
            changes = await hashes.read_changes(connection, *stream, hot.seed, hot.upto, limit + 1)
        ids, versions = unpacked(changes.ids), unpacked(changes.versions)
        if changes.epoch != hot.epoch or changes.horizon > hot.upto or len(ids) > limit:
            return None
        try:
            await _work(len(hot) + _CHANGE_RECORDS * len(ids), lambda: hot.apply(changes.watermark, ids, versions))
        except Inconsistent as inconsistent:
            log.warning("a hot stream is loaded anew", why=str(inconsistent))
            return None
        return hot

    async def _load(self, stream: Stream, records: int) -> HotStream:
        """A seed of its own each time: nobody can choose ids whose hashes are the same."""
        seed = random.SystemRandom().getrandbits(63)
        lane = self._large if records >= _LARGE_RECORDS_MIN else self._usual
        async with lane.connection() as connection:
            row = await hashes.read_versions(connection, *stream, seed)
        numbers = row.packed, row.ids, row.versions
        return await _work(records, lambda: HotStream.of(row.epoch, seed, row.watermark, row.top, *numbers))

    async def _by_postgresql(self, stream: Stream, last: Digest | None) -> Digest:
        if last is None or last.records < _LARGE_RECORDS_MIN:
            async with self._usual.connection() as connection:
                row = await hashes.read_digest(connection, *stream, _LARGE_RECORDS_MIN - 1)
            if row.records < _LARGE_RECORDS_MIN:
                return _digest(row)
        async with self._large.connection() as connection:
            return _digest(await hashes.read_digest(connection, *stream, _UNLIMITED))


def _digest(row: hashes.DigestRow) -> Digest:
    return Digest(row.epoch, row.watermark, row.top, row.records, bytes.fromhex(row.version_hash), True)


async def _work(records: int, work: Callable[[], T]) -> T:
    """Large work beside the event loop; hashing leaves the interpreter to others."""
    return work() if records <= _INLINE_RECORDS_MAX else await anyio.to_thread.run_sync(work)
