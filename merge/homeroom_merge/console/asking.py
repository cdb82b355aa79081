"""What people ask for and workers do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from procrastinate import App
from procrastinate.exceptions import ConnectorException

from homeroom_merge.console.host import Host
from homeroom_merge.refusal import RefusedError
from homeroom_merge.runners.queue import open_queue


@asynccontextmanager
async def asking(host: Host) -> AsyncIterator[App]:
    """The queue, opened for one request. RefusedError: it cannot be used."""
    try:
        async with open_queue(await host.database_url(), 1) as app:
            yield app
    except ConnectorException as failure:
        raise RefusedError(f"the queue cannot be used: {failure}") from failure
