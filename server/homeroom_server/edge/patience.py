"""How long the node waits for its clients: one coarse timer for all who owe a request or do not take an answer."""

import asyncio
from collections.abc import Callable, Hashable

from homeroom_server.settings import Settings
from homeroom_server.tally import Tally

_LOOKS_PER_LIMIT = 4
"""So that nobody has more than a quarter of the shortest limit beyond his own."""


class Patience:
    """Looks at those whom it was told to watch, and at nobody else: who is quick is never among them."""

    def __init__(self, settings: Settings, tally: Tally) -> None:
        self._stalled_seconds_max = settings.stalled_seconds_max
        shortest = min(settings.header_seconds_max, settings.body_seconds_max, settings.stalled_seconds_max)
        self._pause_seconds = shortest / _LOOKS_PER_LIMIT
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._watched: dict[Hashable, Callable[[float], None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, one: Hashable, look: Callable[[float], None]) -> None:
        """Call `look` with the loop's time now and then, until told to forget."""
        self._watched[one] = look
        if self._timer is None:
            self._timer = self._loop.call_later(self._pause_seconds, self._look)

    def watch_taking(self, transport: asyncio.Transport) -> None:
        """Abort a connection whose client takes nothing of what it was sent for too long."""
        if transport not in self._watched:
            taking = _Taking(transport, self._stalled_seconds_max, self._tally, self._loop.time())
            self.watch(transport, taking.look)

    def forget(self, one: Hashable) -> None:
        self._watched.pop(one, None)

    def _look(self) -> None:
        now = self._loop.time()
        for look in list(self._watched.values()):
            look(now)
        self._timer = self._loop.call_later(self._pause_seconds, self._look) if self._watched else None


class _Taking:
    """What a client has been sent and has not taken yet: slowly is well, not at all is not."""

    def __init__(self, transport: asyncio.Transport, seconds_max: float, tally: Tally, now: float) -> None:
        self._transport = transport
        self._seconds_max = seconds_max
        self._tally = tally
        self._left = transport.get_write_buffer_size()
        self._since = now

    def look(self, now: float) -> None:
        left = self._transport.get_write_buffer_size()
        if left != self._left:
            self._left, self._since = left, now
        elif now - self._since > self._seconds_max:
            self._tally.refusals["stalled_seconds_max"] += 1
            self._transport.abort()
