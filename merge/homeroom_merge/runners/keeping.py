"""One task for each feed that lives as long as the feed's settings: anew when they change, and when it fails."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import NamedTuple

import anyio
import structlog

from homeroom_merge.runners.work import REFUSALS
from homeroom_merge.sealing import Sealed
from homeroom_merge.settings.model import Settings
from homeroom_merge.store.settings import Pushed

log = structlog.get_logger()

_AGAIN_SECONDS = 60.0


class InForce(NamedTuple):
    """Settings, as they were pushed, and the secrets that the state keeps for them: either may change."""

    settings: Settings
    pushed: Pushed
    secrets: Mapping[str, Sealed]

    def is_as(self, other: "InForce") -> bool:
        return (self.pushed, self.secrets) == (other.pushed, other.secrets)


class Keeper:
    """`work`: what is done for a feed until it is cancelled; whoever has nothing to do returns."""

    def __init__(self, work: Callable[[Settings], Awaitable[None]], again_seconds: float = _AGAIN_SECONDS) -> None:
        self._work, self._again_seconds = work, again_seconds
        self._kept: dict[str, tuple[InForce, asyncio.Task[None]]] = {}

    def keep(self, feeds: Mapping[str, InForce]) -> None:
        """Just these feeds, by these settings, from now on."""
        for feed, (in_force, task) in list(self._kept.items()):
            if feed not in feeds or not feeds[feed].is_as(in_force):
                task.cancel()
                del self._kept[feed]
        for feed in feeds.keys() - self._kept.keys():
            in_force = feeds[feed]
            self._kept[feed] = in_force, asyncio.create_task(self._keep_on(in_force.settings))

    async def close(self) -> None:
        """Nothing is done for any feed."""
        tasks = [task for _, task in self._kept.values()]
        self._kept.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_on(self, settings: Settings) -> None:
        while True:
            try:
                await self._work(settings)
            except Exception as fault:  # whatever it is, other feeds go on, and this one is tried again
                causes = list(_leaves(fault))
                log.error(
                    "nobody_listens",
                    feed=settings.feed.name,
                    because="; ".join(str(each) or type(each).__name__ for each in causes),
                    again_seconds=self._again_seconds,
                    exc_info=not all(isinstance(each, REFUSALS) for each in causes),
                )
                await anyio.sleep(self._again_seconds)
            else:
                return


def _leaves(fault: BaseException) -> Iterator[BaseException]:
    if isinstance(fault, BaseExceptionGroup):
        for each in fault.exceptions:
            yield from _leaves(each)
    else:
        yield fault
