"""Version hashes of streams: computed when asked for, once for as long as a stream does not move (protocol 4).

What differs from a hash made in memory is held against PostgreSQL's before a client is told so: memory saves work,
nothing rests on it.
"""

import struct
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import anyio
import anyio.abc
import structlog

from homeroom.errors import Code, error
from homeroom_server.hashes.hashing import Digest, Hashing, Stream
from homeroom_server.hashes.recent import Recent

_DIGESTS_MAX = 200_000
"""Streams whose last hash is kept: under 200 bytes each."""
_AT_ONCE_MAX = 64
"""Computations with a task of their own; a herd's others wait in a queue, at a fraction of the memory."""
_DIGEST = struct.Struct(">QQQ16s?")

log = structlog.get_logger()
Compute = Callable[[Stream, Digest | None], Awaitable[Digest]]


@dataclass(frozen=True, slots=True)
class Question:
    """A client's hash, and the stream as a look saw it: nothing of it has changed after `changed_upto`."""

    stream: Stream
    epoch: str
    changed_upto: int
    watermark: int
    md5: bytes


class _Computation:
    """Queued or under way for one stream, never two at once. `moved`: up to where it has moved meanwhile."""

    __slots__ = ("calls", "compute", "digest", "failure", "moved")

    def __init__(self, compute: Compute) -> None:
        self.compute = compute
        self.digest: Digest | None = None
        self.failure: Exception | None = None
        self.calls: list[Callable[[], None]] = []
        self.moved = 0


class VersionHashes:
    """The last known hash of each stream, and what is being computed."""

    def __init__(self, hashing: Hashing, tasks: anyio.abc.TaskGroup) -> None:
        self._hashing = hashing
        self._tasks = tasks
        self._epoch = ""
        self._last: Recent[Stream, bytes] = Recent(_DIGESTS_MAX, lambda _: 1)
        self._under_way: dict[Stream, _Computation] = {}
        self._queue: deque[Stream] = deque()
        self._workers = 0
        self._unseen: dict[int, int] = {}

    def differs(self, question: Question) -> bool | None:
        """Whether the client's hash is not the stream's; None while that is not known, and is being computed.

        A stream that has moved on since the look does not differ: nobody can tell any more.
        """
        last = self._last_of(question.stream)
        if last is None or last.epoch != question.epoch or last.upto < question.changed_upto:
            self._begin(question.stream, self._hashing.compute)
            return None
        if last.top > question.watermark or last.md5 == question.md5:
            return False
        if not last.proven:
            self._begin(question.stream, self._hashing.prove)
            return None
        return True

    def moved_on(self, question: Question) -> bool:
        """Whether the stream has changed since the look."""
        last = self._last_of(question.stream)
        return last is not None and last.epoch == question.epoch and last.top > question.watermark

    def moved(self, stream: Stream, version: int) -> None:
        """The feed has seen a stream move."""
        if stream in self._under_way:
            self._under_way[stream].moved = version
        last = self._last_of(stream)
        if last is not None:
            self._keep(stream, last, version)

    def moved_unseen(self, type_number: int, version: int) -> None:
        """Which streams of a type have moved up to a version is not known."""
        self._unseen[type_number] = version

    def in_step(self, stream: Stream, epoch: str, cursor: int, md5: bytes) -> bool:
        """Whether a client holds the stream as far as the feed has seen it; False if that is not known here."""
        last = self._last_of(stream)
        if last is None or last.epoch != epoch or last.md5 != md5:
            return False
        return last.top <= min(cursor, last.upto) and self._unseen.get(stream[0], 0) <= last.upto

    async def landed(self, stream: Stream) -> Digest:
        """What is being computed for a stream, once it is there; raises what made it fail."""
        computation = self._under_way[stream]
        landed = anyio.Event()
        computation.calls.append(landed.set)
        try:
            await landed.wait()
        finally:
            with suppress(ValueError):
                computation.calls.remove(landed.set)
        if computation.digest is None:
            raise computation.failure or error(Code.CORE_NOT_AVAILABLE, "the node is stopping")
        return computation.digest

    def when_landed(self, stream: Stream, call: Callable[[], None]) -> None:
        """Call once, when what is being computed for a stream is there or has failed; at once if nothing is."""
        if stream in self._under_way:
            self._under_way[stream].calls.append(call)
        else:
            call()

    def _last_of(self, stream: Stream) -> Digest | None:
        packed = self._last.get(stream)
        return None if packed is None else Digest(self._epoch, *_DIGEST.unpack(packed))

    def _begin(self, stream: Stream, compute: Compute) -> None:
        if stream in self._under_way:
            return
        self._under_way[stream] = _Computation(compute)
        self._queue.append(stream)
        if self._workers < _AT_ONCE_MAX:
            self._workers += 1
            self._tasks.start_soon(self._work)

    async def _work(self) -> None:
        try:
            while self._queue:
                await self._run(self._queue.popleft())
        finally:
            self._workers -= 1
            if not self._workers:
                while self._queue:  # the node is stopping
                    self._land(self._queue.popleft())

    async def _run(self, stream: Stream) -> None:
        computation = self._under_way[stream]
        try:
            computation.digest = await computation.compute(stream, self._last_of(stream))
            self._keep(stream, computation.digest, computation.moved)
        except Exception as failure:  # handed to those who wait; who was put off asks again
            log.warning("a version hash cannot be computed", kind=type(failure).__name__)
            computation.failure = failure
        finally:
            self._land(stream)

    def _land(self, stream: Stream) -> None:
        for call in self._under_way.pop(stream).calls:
            call()

    def _keep(self, stream: Stream, digest: Digest, moved: int) -> None:
        """Where it is known to have moved beyond the digest, that is what is kept as its top."""
        if digest.epoch != self._epoch:  # of another history: what was known says nothing any more
            self._last.clear()
            self._epoch = digest.epoch
        top = digest.top if moved <= digest.upto else moved
        self._last.put(stream, _DIGEST.pack(digest.upto, top, digest.records, digest.md5, digest.proven))
