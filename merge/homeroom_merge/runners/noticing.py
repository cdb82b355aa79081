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


async def notice_all(
    settings: Settings, pool: asyncpg.Pool, defer: Defer, defer_run: DeferRun, hooks: MutableMapping[str, Hooked]
) -> None:
    """Until cancelled; at once over where realtime is not enabled. `hooks`: those of the one `webhook_app`.

    Raises, perhaps in a group, what a person must mend: AssemblyError, MissingSecretError, SourceError, MappingFaults,
    OSError of a file that settings name.
    """
    said, feed = settings.realtime, settings.feed.name
    if not said.enabled:
        return
    debouncer = Debouncer(feed, defer, Debounce(said.debounce_seconds, said.debounce_seconds_max))
    if said.webhook:
        async with pool.acquire() as connection:
            hooks[feed] = hooked(settings, await stored_secrets(connection, feed), debouncer.notice)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(debouncer.run)
            tasks.start_soon(watch_hub, settings, pool, debouncer.notice)
            if said.folder:
                tasks.start_soon(watch_folder, settings, pool, defer_run)
    finally:
        hooks.pop(feed, None)
