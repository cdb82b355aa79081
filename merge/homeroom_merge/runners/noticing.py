"""Everyone who notices that something of a feed moved, as its settings say."""

from collections.abc import MutableMapping

import anyio
import asyncpg

from homeroom_merge.feed_secrets import stored_secrets
from homeroom_merge.runners.debouncing import Debounce, Debouncer, Defer
from homeroom_merge.runners.watching_folder import DeferRun, watch_folder
from homeroom_merge.runners.watching_hub import watch_hub
from homeroom_merge.runners.webhook import Hooked, hooked
from homeroom_merge.settings.model import Settings


async def listen(settings: Settings, pool: asyncpg.Pool, defer: Defer, defer_run: DeferRun) -> None:
    """To the hub, and to the folder that files are dropped into: one worker of all does. As `take_calls` ends.

    Raises, perhaps in a group, what a person must mend: AssemblyError, MissingSecretError, SourceError, MappingFaults,
    OSError of a file that settings name.
    """
    if not settings.realtime.enabled:
        return
    debouncer = _debouncer(settings, defer)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(debouncer.run)
        tasks.start_soon(watch_hub, settings, pool, debouncer.notice)
        if settings.realtime.folder:
            tasks.start_soon(watch_folder, settings, pool, defer_run)


async def take_calls(settings: Settings, pool: asyncpg.Pool, defer: Defer, hooks: MutableMapping[str, Hooked]) -> None:
    """Of the SIS, by the `webhook_app` that has these hooks; until cancelled, at once over where nothing is enabled.

    Raises MissingSecretError, SealError.
    """
    feed = settings.feed.name
    if not (settings.realtime.enabled and settings.realtime.webhook):
        return
    debouncer = _debouncer(settings, defer)
    async with pool.acquire() as connection:
        hooks[feed] = hooked(settings, await stored_secrets(connection, feed), debouncer.notice)
    try:
        await debouncer.run()
    finally:
        hooks.pop(feed, None)


def _debouncer(settings: Settings, defer: Defer) -> Debouncer:
    said = settings.realtime
    return Debouncer(settings.feed.name, defer, Debounce(said.debounce_seconds, said.debounce_seconds_max))
