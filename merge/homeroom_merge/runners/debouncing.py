"""Many notices of one entity become one call."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Never

import anyio
import structlog

log = structlog.get_logger()

Defer = Callable[[str, str], Awaitable[None]]
"""Asks for a drain of (feed, entity)."""
Notice = Callable[[str], None]
"""Says of an entity of a feed that it has something dirty, which is stored by then."""


@dataclass(frozen=True, slots=True)
class Debounce:
    """A call is due once nothing was noticed for `quiet_seconds`, and at the latest `seconds_max` after the first."""

    quiet_seconds: float
    seconds_max: float


@dataclass(frozen=True, slots=True)
class Burst:
    """Notices that are to be one call, by the first and the last of them."""

    first_at: float
    last_at: float

    def due_at(self, debounce: Debounce) -> float:
        return min(self.last_at + debounce.quiet_seconds, self.first_at + debounce.seconds_max)


class Bursts:
    """What was noticed and not called for yet. Times come as arguments."""

    def __init__(self, debounce: Debounce) -> None:
        self._debounce = debounce
        self._bursts: dict[str, Burst] = {}

    def notice(self, entity: str, now: float) -> None:
        burst = self._bursts.get(entity)
        self._bursts[entity] = Burst(now, now) if burst is None else replace(burst, last_at=now)

    def take_due(self, now: float) -> list[str]:
        """Those whose call is due: whatever is noticed from now on is another burst."""
        due = [entity for entity, burst in self._bursts.items() if burst.due_at(self._debounce) <= now]
        for entity in due:
            del self._bursts[entity]
        return due

    def next_at(self) -> float | None:
        """When the next call is due; None if nothing was noticed."""
        return min((burst.due_at(self._debounce) for burst in self._bursts.values()), default=None)


class Debouncer:
    """Of one feed. `notice` never waits; `run` makes the calls."""

    def __init__(self, feed: str, defer: Defer, debounce: Debounce) -> None:
        self._feed, self._defer = feed, defer
        self._bursts = Bursts(debounce)
        self._noticed = anyio.Event()

    def notice(self, entity: str) -> None:
        """Something of an entity is dirty, and stored."""
        self._bursts.notice(entity, anyio.current_time())
        self._noticed.set()

    async def run(self) -> Never:
        """Until it is cancelled. A call that fails is made again: what is dirty stays so meanwhile."""
        while True:
            self._noticed = anyio.Event()
            at = self._bursts.next_at()
            with anyio.CancelScope(deadline=float("inf") if at is None else at):
                await self._noticed.wait()
            for entity in self._bursts.take_due(anyio.current_time()):
                try:
                    await self._defer(self._feed, entity)
                except Exception as failure:  # whatever a queue fails by: only the call is to be made again
                    log.warning("drain not deferred", feed=self._feed, entity=entity, error=repr(failure))
                    self.notice(entity)
