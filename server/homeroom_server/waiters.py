"""Who waits for which stream. Found by stream, never by scanning."""

import random
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import anyio

from homeroom.errors import Code, error
from homeroom.protocol import NotificationType

Stream = tuple[NotificationType, int | None]
"""What one organisation sees of a type; None is everything of it."""


class Watch:
    """One held request's eye on its streams. Reset, read, then wait: what moves after the reset is not missed."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.streams = list(streams)
        self._over = anyio.Event()
        self._moved = False
        self._closed = False

    def reset(self) -> None:
        self._moved = False
        self._over = anyio.Event()
        if self._closed:
            self._over.set()

    def wake(self) -> None:
        self._moved = True
        self._over.set()

    def close(self) -> None:
        """The node drains: the wait is over, whatever has moved."""
        self._closed = True
        self._over.set()

    async def wait_until(self, deadline: float) -> bool:
        """True if a stream has moved since the reset; False at the deadline (event loop time) or when the node drains.

        False means that nothing was missed: a move that comes together with the end of the wait is True.
        """
        with anyio.CancelScope(deadline=deadline):
            await self._over.wait()
        return self._moved


class Waiters:
    """All watches of this node, and how many requests are held."""

    def __init__(self, per_client_max: int, per_node_max: int) -> None:
        self._watches: dict[NotificationType, dict[int | None, set[Watch]]] = {}
        self._per_client_max = per_client_max
        self._per_node_max = per_node_max
        self._held_by_client: Counter[int] = Counter()
        self.held = 0
        self.draining = False

    @contextmanager
    def watch(self, streams: Sequence[Stream]) -> Iterator[Watch]:
        """A watch that is woken from now on until the block ends."""
        watch = Watch(streams)
        if self.draining:
            watch.close()
        for stream in streams:
            self._add(watch, stream)
        try:
            yield watch
        finally:
            for stream in watch.streams:
                self._discard(watch, stream)

    def watch_also(self, watch: Watch, stream: Stream) -> None:
        """Wake a watch for one more stream."""
        watch.streams.append(stream)
        self._add(watch, stream)

    @contextmanager
    def hold(self, client: int) -> Iterator[None]:
        """Count a request as held while the block runs.

        Raises RetryLater: 2004 over the client's limit, 2001 over the node's.
        """
        if self._held_by_client[client] >= self._per_client_max:
            detail = f"this client holds {self._per_client_max} requests (held_requests_per_client_max)"
            raise error(Code.CLIENT_LIMIT, detail)
        if self.held >= self._per_node_max:
            detail = f"this node holds {self._per_node_max} requests (held_requests_per_node_max)"
            raise error(Code.CORE_NOT_AVAILABLE, detail)
        self._held_by_client[client] += 1
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1
            self._held_by_client[client] -= 1
            if not self._held_by_client[client]:
                del self._held_by_client[client]

    def has_viewers(self, notification_type: NotificationType) -> bool:
        """Whether anyone waits for a single organisation's stream of a type."""
        return any(viewer is not None for viewer in self._watches.get(notification_type, ()))

    def wake(self, notification_type: NotificationType, viewers: Collection[int]) -> None:
        """Wake those who see everything of a type, and those who look as one of `viewers`."""
        by_viewer = self._watches.get(notification_type, {})
        for viewer in (None, *viewers):
            for watch in by_viewer.get(viewer, ()):
                watch.wake()

    async def drain(self, seconds: float) -> None:
        """Release every held request within `seconds`, at random moments, and hold no more."""
        self.draining = True
        everyone = {w for by_viewer in self._watches.values() for watches in by_viewer.values() for w in watches}
        release_at = sorted((random.uniform(0, seconds), id(watch), watch) for watch in everyone)
        begun = anyio.current_time()
        for after, _, watch in release_at:
            await anyio.sleep_until(begun + after)
            watch.close()

    def _add(self, watch: Watch, stream: Stream) -> None:
        notification_type, viewer = stream
        self._watches.setdefault(notification_type, {}).setdefault(viewer, set()).add(watch)

    def _discard(self, watch: Watch, stream: Stream) -> None:
        notification_type, viewer = stream
        by_viewer = self._watches[notification_type]
        by_viewer[viewer].discard(watch)
        if not by_viewer[viewer]:
            del by_viewer[viewer]
        if not by_viewer:
            del self._watches[notification_type]
